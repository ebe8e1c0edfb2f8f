"""What this server serves: one version of the release, with its towers, as models."""
