"""Batch jobs: each reads and writes artifact folders and has a thin main."""

import recall  # noqa: F401  (selects Keras 2 before TensorFlow is imported)
