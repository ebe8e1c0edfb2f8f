"""Declared features: what they are called, and how their values become numbers."""
