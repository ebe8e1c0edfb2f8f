"""One record per request of either door: the access log, and who else listens.

Imports no TensorFlow and no gRPC. A record has sizes, times and names, never what
was asked: no history, no item. A door makes one only when `RequestLog.is_on`, so
that a server without a log pays nothing.
"""

import datetime
import json
import logging
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

LOGGER = logging.getLogger("serving.access")
"""Access records carry their fields as `record.fields`, for a formatter of JSON lines."""

OFF, TEXT, JSON = "off", "text", "json"
MODES = (OFF, TEXT, JSON)

REQUEST_ID_HEADER = "x-request-id"
"""HTTP header and gRPC metadata key, in a request and in its answer."""

TRACE_HEADER = "traceparent"
"""HTTP header and gRPC metadata key of W3C Trace Context."""

MAX_SHOWN_PATH = 200
"""Characters of a path in a record or an error."""

_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
"""What is taken over from a client: nothing that could break a log line."""

_UNPRINTABLE = re.compile(r"[^!-~]")


class RequestRecord(NamedTuple):
    """A request that was answered, or refused.

    Attributes:
        door: `REST` or `GRPC`, as the metrics name them.
        method: Of HTTP; for gRPC the call, for example `Predict`.
        path: Of HTTP, without the query string; of gRPC `/service/method`.
        model: Asked for, "" where there is none.
        status: HTTP status, or the name of the gRPC code.
        is_error: Whether the server is to blame: 5xx, INTERNAL and the like.
        bytes_in: Size of the message or body, as sent.
        bytes_out: Size of the answer.
        start_s: When it began, seconds since 1970.
        seconds: How long it took.
        peer: Address of the client.
        request_id: See `choose_request_id`.
        trace_parent: W3C Trace Context of the caller, None without one.
    """

    door: str
    method: str
    path: str
    model: str
    status: int | str
    is_error: bool
    bytes_in: int
    bytes_out: int
    start_s: float
    seconds: float
    peer: str
    request_id: str
    trace_parent: str | None = None

    def fields(self) -> dict[str, Any]:
        """What a line of JSON says."""
        return {
            "door": self.door,
            "method": self.method,
            "path": show_path(self.path),
            "model": show_path(self.model),
            "status": self.status,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "ms": round(self.seconds * 1e3, 3),
            "peer": self.peer,
            "request_id": self.request_id,
        }

    def text(self) -> str:
        """A line of text: `key=value`, or `-` for what there is not."""
        return " ".join(
            f"{key}={'-' if value == '' else value}" for key, value in self.fields().items()
        )


class RequestLog:
    """Where the doors put their records; safe to use from several threads."""

    def __init__(
        self, mode: str = OFF, listeners: tuple[Callable[[RequestRecord], None], ...] = ()
    ):
        """Starts a log.

        Args:
            mode: `off`, or how a line is written: `text`, `json`.
            listeners: Get every record too, for example to make spans of them.
        """
        self._mode = mode
        self._listeners = listeners
        self.is_on = mode != OFF or bool(listeners)
        if mode != OFF:
            LOGGER.setLevel(logging.INFO)

    def record(self, record: RequestRecord) -> None:
        """Writes a line and tells the listeners."""
        if self._mode != OFF:
            text = _json_line(record) if self._mode == JSON else _text_line(record)
            LOGGER.info("%s", text, extra={"fields": record.fields()})
        for listener in self._listeners:
            listener(record)


NO_LOG = RequestLog()
"""Writes nothing and tells nobody."""


def choose_request_id(sent: str | None) -> str:
    """The client's id where it is fit for a log line, else one of ours (32 hex digits)."""
    if sent is not None and _REQUEST_ID.fullmatch(sent):
        return sent
    return os.urandom(16).hex()


def show_path(path: str) -> str:
    """A path or name for a log line or an error text: cut short, printable, without spaces.

    >>> show_path("/v1/a b")
    '/v1/a?b'
    """
    shown = _UNPRINTABLE.sub("?", path[:MAX_SHOWN_PATH])
    return shown if len(path) <= MAX_SHOWN_PATH else shown + "..."


def format_time(seconds: float) -> str:
    """A time as ISO 8601, UTC, milliseconds."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text_line(record: RequestRecord) -> str:
    return f"{format_time(record.start_s)} {record.text()}"


def _json_line(record: RequestRecord) -> str:
    return json.dumps({"time": format_time(record.start_s), **record.fields()})
