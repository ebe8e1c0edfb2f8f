"""`recall export`, `index`, `push` and `run`: a trained model to a published release."""
