"""Requests of several threads run as one batch."""
