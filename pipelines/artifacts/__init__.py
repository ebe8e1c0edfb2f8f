"""What one job leaves for the next, read back: records, held-out users, a trained model."""
