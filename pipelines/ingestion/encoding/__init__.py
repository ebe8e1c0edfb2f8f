"""Bytes of example files, made for many examples at once, and files between steps."""
