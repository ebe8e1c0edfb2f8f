"""Whether a log is fit to be trained on: what changed since an earlier run, within limits."""
