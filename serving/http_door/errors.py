"""Errors of the HTTP door, in TensorFlow Serving's form: JSON, `{"error": TEXT}`.

Imports no TensorFlow.
"""

import json
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving.protocol.status import Code

_HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ABORTED: 409,
    Code.ALREADY_EXISTS: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
"""TF Serving's table; every other code is 500."""

_MAX_MESSAGE = 1000
"""Characters of an error: some repeat a part of the request."""

_RETRY_STATUSES = (429, 503)
RETRY_AFTER = {"Retry-After": "1"}
"""A second: a full server has room again as soon as requests in work are answered."""

JSON_TYPE = "application/json"


class HttpError(HTTPException):
    """A request refused with a status that no `Code` stands for."""

    def __init__(
        self, reason: str, status: int, message: str, headers: Mapping[str, str] | None = None
    ):
        """An error.

        Args:
            reason: One word, the label of its counter.
            status: HTTP status.
            message: For the client.
            headers: That the status asks for.
        """
        super().__init__(status, message, headers)
        self.reason = reason


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error of any status."""
    if len(message) > _MAX_MESSAGE:
        message = message[:_MAX_MESSAGE] + "..."
    if status in _RETRY_STATUSES:
        headers = {**(headers or {}), **RETRY_AFTER}
    body = json.dumps({"error": message}, ensure_ascii=False)
    # A surrogate can stand alone in what a request repeats, but not in UTF-8.
    return Response(body.encode(errors="replace"), status, headers, JSON_TYPE)


def error_response(code: Code, message: str) -> Response:
    """An error with the status of TensorFlow Serving's table."""
    return refusal(_HTTP_STATUS.get(code, 500), message)
