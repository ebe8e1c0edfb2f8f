"""The sections of `RecallConfig`, a file each; `recall.config` puts them together."""
