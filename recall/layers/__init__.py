"""Keras layers of the user tower."""
