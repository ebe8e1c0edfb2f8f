"""What ranks the whole catalogue without a model, and the exact ranking itself."""
