"""What code that is not Python writes to the standard error is dropped, or shown."""

import logging
import os

import pytest

from pipelines.publishing import native_log


@pytest.fixture(autouse=True)
def usual_level():
    """Other tests may have asked for everything."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.WARNING)
    yield
    logging.getLogger().setLevel(level)


def write_past_python(text: str) -> None:
    os.write(2, text.encode())


def test_native_code_is_quiet_inside_the_block_only(capfd):
    write_past_python("before ")
    with native_log.quiet_native_code():
        write_past_python("inside ")
    write_past_python("after")
    assert capfd.readouterr().err == "before after"


def test_native_code_is_heard_again_after_an_error(capfd):
    with pytest.raises(RuntimeError), native_log.quiet_native_code():
        raise RuntimeError
    write_past_python("after")
    assert capfd.readouterr().err == "after"


def test_everything_is_shown_to_those_who_ask_for_it(capfd):
    logging.getLogger().setLevel(logging.DEBUG)
    with native_log.quiet_native_code():
        write_past_python("inside")
    assert capfd.readouterr().err == "inside"
