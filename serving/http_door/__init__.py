"""The HTTP door: requests in, answers out, within bounds of time and size."""
