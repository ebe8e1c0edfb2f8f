"""`recall query` and `recall items`: what is asked of a running server."""
