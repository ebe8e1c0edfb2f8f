"""For all tests."""

import logging
import os
import signal

import pytest

import recall  # noqa: F401  chooses the Keras of TensorFlow, so it comes before it

# The tests' own clients ask servers of this machine, also where a proxy is the way out.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"

# What a shell starts in its background ignores Ctrl-C, and so would all processes of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_LOGGERS = ("", "absl", "recall", "serving", "pipelines")


@pytest.fixture(autouse=True)
def log_levels():
    """Puts the levels back that a command set, which is one for the whole process."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
