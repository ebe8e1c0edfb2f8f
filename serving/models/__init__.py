"""A model server that knows nothing of recall: versions, policies, labels, reload, SavedModels."""
