"""`recall ingest`: a log to training examples and held-out targets."""
