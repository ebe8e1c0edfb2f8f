"""Losses: pure functions of tensors, unreduced unless they say otherwise."""
