"""Completion scripts for shells, made from what the commands declare."""
