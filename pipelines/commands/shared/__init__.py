"""Flags that several commands have, and what they say."""
