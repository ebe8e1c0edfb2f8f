"""What is said between servers and clients in TensorFlow Serving's words: tensors, JSON,
signatures, errors, deadlines.
"""
