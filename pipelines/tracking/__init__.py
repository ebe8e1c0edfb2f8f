"""Finished runs: what made them and what they are worth, listed, compared, sent to MLflow."""
