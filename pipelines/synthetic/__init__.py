"""Logs with planted interests."""
