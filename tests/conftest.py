"""For all tests."""

import gc
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import recall  # noqa: F401  chooses the Keras of TensorFlow, so it comes before it

if TYPE_CHECKING:
    from tests.s3_faults import Door
    from tests.s3_server import S3Server

# The tests' own clients ask servers of this machine, also where a proxy is the way out.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"

# A disk is waited for at each fsync, 5 ms each, thousands of times. Where memory has little room,
# as in a container, files lie on the disk.
_MEMORY, _ROOM_BYTES = Path("/dev/shm"), 4 << 30
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

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


@pytest.fixture(scope="session")
def s3_server() -> "Iterator[S3Server]":
    """One S3 server for all tests of a process."""
    from tests import s3_server  # A second of imports, which few tests need.

    with s3_server.running() as server:
        yield server


@pytest.fixture
def s3(s3_server, monkeypatch) -> "S3Server":
    """The server, in an environment that leads to it."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def bucket(s3) -> str:
    """`s3://` and the name of an empty bucket."""
    return f"s3://{s3.new_bucket()}"


@pytest.fixture
def door(s3, monkeypatch) -> "Iterator[Door]":
    """A door before the server, through which the environment leads, and which may go wrong."""
    from tests import s3_faults

    monkeypatch.setattr("serving.stores.filesystems._RETRIES", 0)
    monkeypatch.setattr("serving.stores.attempts.PAUSE_S", 0.0)
    with s3_faults.opened(s3.url) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """See `tests.distribution`; other kinds of `--dist` are xdist's."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests import distribution  # Not everybody who runs a test has xdist.

    return distribution.ByFileOrRun(config, log)


# Imports make no garbage, and a full collection in the midst of them takes most of a second.
gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Takes what is there for good out of the collector's sight."""
    if "tensorflow" in sys.modules and not any(map(_is_slow, session.items)):
        _leave_graphs_as_they_are()
    _freeze()
    gc.enable()


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def _leave_graphs_as_they_are() -> None:
    """Without Grappler, which takes a quarter of a start of a server and is made for long runs.

    Slow tests have it, and all processes that tests start: those of the commands in
    `tests/end_to_end`, of servers and of trials.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same after each file, for what it imported and what TensorFlow keeps of its graphs.

    A server that drops a model asks for a full collection, and with the objects of all files
    before each would take a second: they were a third of what tests of servers cost.
    """
    if nextitem is None or nextitem.path != item.path:
        _freeze()


def _freeze() -> None:
    gc.collect()
    gc.freeze()
