"""Trainable models: towers and losses put together."""
