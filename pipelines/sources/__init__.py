"""Interaction logs and items, read from files and TensorFlow Datasets as checked Arrow batches."""
