"""Metrics over retrieved ids, in numpy: how right the lists are and how diverse."""
