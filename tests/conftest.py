"""For all tests."""

import logging

import pytest

import recall  # noqa: F401  chooses the Keras of TensorFlow, so it comes before it

_LOGGERS = ("", "absl", "recall", "serving", "pipelines")


@pytest.fixture(autouse=True)
def log_levels():
    """Puts the levels back that a command set, which is one for the whole process."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
