"""Benchmarks: `python -m tests.benchmarks.<name>` prints JSON."""

import recall  # noqa: F401  (selects Keras 2 before TensorFlow is imported)
