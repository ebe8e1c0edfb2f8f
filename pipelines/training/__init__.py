"""`recall train`: examples to the best checkpoint."""
