"""What people see on the standard error."""

import json
import logging

import pytest

from pipelines.commands.shared import console_log


@pytest.fixture(autouse=True)
def usual_level():
    """Other tests may have asked for everything."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.WARNING)
    yield
    logging.getLogger().setLevel(level)


def test_lines_of_json(capsys):
    console_log.set_up(0)
    (handler,) = (
        h for h in logging.getLogger().handlers if isinstance(h, console_log.StderrHandler)
    )
    usual = handler.formatter
    try:
        console_log.log_json()
        handler.handle(logging.LogRecord("x", logging.ERROR, "x.py", 1, "a %s", ("b",), None))
    finally:
        handler.setFormatter(usual)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "x", "a b")
