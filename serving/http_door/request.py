"""What the HTTP door is asked, and what must hold before it is believed.

Imports no TensorFlow.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

from serving.http_door.response import JSON_TYPE, HttpError
from serving.monitoring.access_log import show_path
from serving.protocol.call import Call

LARGE_BYTES = 64 << 10
"""A body above takes milliseconds to decode, and what is decoded counts."""

_PATIENCE_S = 0.1


class HttpRequest(NamedTuple):
    """What the door is asked.

    Attributes:
        method: HTTP method, in capitals.
        path: As sent: still percent-encoded, without the query string.
        body: Decompressed, at most `MAX_BODY_BYTES`; the server sees to that.
        authorization: The header of that name.
        call: Deadline, and whether the client is still there.
        content_type: The header of that name.
        is_foreign: Whether a web page sent it that is allowed only because all are.
    """

    method: str
    path: str
    body: bytes
    authorization: str | None
    call: Call
    content_type: str | None = None
    is_foreign: bool = False

    def check_change(self) -> None:
        """Refuses to change something for a web page that nobody named, or a form's.

        Browsers send no JSON to another origin without asking (a preflight).

        Raises:
            HttpError: 403 or 415.
        """
        if self.is_foreign:
            raise HttpError(
                "origin",
                403,
                "Pages of other origins may not change items. Name their origin in "
                "--cors_allowed_origins.",
            )
        media_type = (self.content_type or "").partition(";")[0].strip().lower()
        if media_type != JSON_TYPE:
            raise HttpError(
                "content_type",
                415,
                f"Changes need the header Content-Type: {JSON_TYPE}, received "
                f"{show_path(media_type) or 'none'}.",
                (("Accept", JSON_TYPE),),
            )


class LargeBodies:
    """Lets one large body be read at a time; safe to use from several threads.

    Each holds the interpreter's lock for long; together they would keep the
    health checks waiting.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def reading(self, request: HttpRequest) -> Iterator[None]:
        """Reads the body of a request in the block.

        Raises:
            ServingError: The deadline came first.
        """
        if len(request.body) <= LARGE_BYTES:
            yield
            return
        while not self._lock.acquire(timeout=_PATIENCE_S):
            request.call.check()
        try:
            request.call.check()
            yield
        finally:
            self._lock.release()
