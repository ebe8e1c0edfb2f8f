"""Access records as lines of text and of JSON, and ids of requests."""

import json
import logging

import pytest

from serving.monitoring.access_log import (
    JSON,
    OFF,
    TEXT,
    RequestLog,
    RequestRecord,
    choose_request_id,
    show_path,
)
from serving.monitoring.json_log import JsonFormatter, TextFormatter

RECORD = RequestRecord(
    door="REST",
    method="POST",
    path="/recall",
    model="recall",
    status=200,
    is_error=False,
    bytes_in=27,
    bytes_out=512,
    start_s=1_700_000_000.25,
    seconds=0.0123,
    peer="127.0.0.1",
    request_id="abc",
)
FIELDS = {
    "door": "REST",
    "method": "POST",
    "path": "/recall",
    "model": "recall",
    "status": 200,
    "bytes_in": 27,
    "bytes_out": 512,
    "ms": 12.3,
    "peer": "127.0.0.1",
    "request_id": "abc",
}
TIME = "2023-11-14T22:13:20.250Z"


def test_a_line_of_text(caplog):
    RequestLog(TEXT).record(RECORD)
    assert caplog.messages == [
        f"{TIME} door=REST method=POST path=/recall model=recall status=200 bytes_in=27 "
        "bytes_out=512 ms=12.3 peer=127.0.0.1 request_id=abc"
    ]


def test_a_line_of_json(caplog):
    RequestLog(JSON).record(RECORD)
    assert json.loads(caplog.messages[0]) == {"time": TIME, **FIELDS}


def test_what_is_missing_is_a_dash(caplog):
    RequestLog(TEXT).record(RECORD._replace(model=""))
    assert " model=- status=" in caplog.messages[0]


def test_off_writes_nothing_but_listeners_hear(caplog):
    assert not RequestLog(OFF).is_on
    heard = []
    log = RequestLog(OFF, (heard.append,))
    assert log.is_on
    log.record(RECORD)
    assert heard == [RECORD]
    assert caplog.messages == []


def test_formatters(caplog):
    RequestLog(TEXT).record(RECORD)
    logging.getLogger("serving.x").warning("read %s", "a\nb")
    access, other = caplog.records
    access.created = other.created = 1_700_000_000.25
    line = JsonFormatter().format(access)
    assert json.loads(line) == {
        "time": TIME,
        "level": "INFO",
        "logger": "serving.access",
        **FIELDS,
    }
    line = JsonFormatter().format(other)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": TIME,
        "level": "WARNING",
        "logger": "serving.x",
        "message": "read a\nb",
    }
    assert TextFormatter().format(access).startswith(f"{TIME} door=REST ")
    assert TextFormatter().format(other).endswith(":20 read a\nb")


def test_a_traceback_stays_in_its_line(caplog):
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("serving.x").exception("failed")
    line = JsonFormatter().format(caplog.records[0])
    assert "\n" not in line
    assert "ValueError: why" in json.loads(line)["exception"]


@pytest.mark.parametrize(
    "sent", ["a", "0af7651916cd43dd-8448eb211c80319c", "A_b.c:/+=@-9", "x" * 128]
)
def test_ids_that_are_taken_over(sent):
    assert choose_request_id(sent) == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a\nb", 'a"b', "\u00e9", "a;b"])
def test_ids_that_are_made(sent):
    made = choose_request_id(sent)
    assert made != sent
    assert len(made) == 32
    assert set(made) <= set("0123456789abcdef")
    assert choose_request_id(sent) != made


def test_paths_are_cut_and_printable():
    assert show_path("/a\nb\x1b\u00e9") == "/a?b??"
    assert show_path("/" + "x" * 5000) == "/" + "x" * 199 + "..."
