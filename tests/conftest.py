"""For all tests."""

import recall  # noqa: F401  chooses the Keras of TensorFlow, so it comes before it
