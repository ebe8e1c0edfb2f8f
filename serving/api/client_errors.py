"""Why a call got no answer, in one line for whoever made it.

Imports neither TensorFlow nor NumPy, and no gRPC.
"""

import json
from typing import Any

from recall.errors import InputError
from serving.network import failure_texts
from serving.network.client_tls import ClientTls
from serving.network.failure_texts import Cause
from serving.protocol.status import Code

_TRANSIENT = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)
"""What may be otherwise a moment later: a server that starts, stops or is full."""

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ABORTED,
    413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
"""HTTP status -> code; TF Serving's table, backwards, and a proxy's 502."""

_LASTING_STATUSES = (413,)


class CallError(InputError):
    """A call that a server did not answer, or refused; the text is one line.

    Attributes:
        code: Canonical status code: `UNAVAILABLE` where nobody is reached or the server is not
            ready, `DEADLINE_EXCEEDED` where the time was too short, `RESOURCE_EXHAUSTED` where
            the server is full, `INVALID_ARGUMENT` where the request is wrong ...
        is_transient: Whether the same call may be answered a moment later.
        retry_after_s: Seconds that the server asks to wait, None where it does not say.
    """

    def __init__(
        self,
        text: str,
        code: Code,
        *,
        is_transient: bool | None = None,
        retry_after_s: float | None = None,
    ):
        super().__init__(text)
        self.code = code
        self.is_transient = code in _TRANSIENT if is_transient is None else is_transient
        self.retry_after_s = retry_after_s


def refused(
    server: str, reason: str, code: Code, *, retry_after_s: float | None = None
) -> CallError:
    """The error of a server that says why it does not answer."""
    return CallError(f"{server} refused the request: {reason}", code, retry_after_s=retry_after_s)


def too_late(server: str, timeout_s: float) -> CallError:
    """The error of an answer that did not come in time."""
    return CallError(
        f"{server} did not answer within {timeout_s:g} s. Check the address, or wait longer.",
        Code.DEADLINE_EXCEEDED,
    )


def another_server(server: str, door: str) -> CallError:
    """The error of an address whose answer no recall server would give."""
    reason = "what answers is no recall server"
    return CallError(_nobody(server, reason, door), Code.UNAVAILABLE, is_transient=False)


def no_connection(
    server: str, reason: str, door: str, tls: ClientTls, *, details: str | None = None
) -> CallError:
    """The error of an address where no connection could be made, or that closed it.

    Args:
        server: Its address.
        reason: For the text.
        door: `gRPC` or `HTTP`.
        tls: Certificates of the call.
        details: Text of the error of gRPC or of Python; None is `reason`.
    """
    details = reason if details is None else details
    text = tls.find_cause(details)
    lasting = (Cause.WRONG_NAME, Cause.WRONG_AUTHORITY, Cause.NO_TLS)
    is_transient = failure_texts.find_cause(details) not in lasting
    if text is not None:
        text = f"No recall server answers at {server}: {text}"
    return CallError(
        text or _nobody(server, reason, door), Code.UNAVAILABLE, is_transient=is_transient
    )


def of_http_status(
    server: str, status: int, phrase: str, body: bytes, retry_after: str | None
) -> CallError:
    """The error of an answer with a status that is no success."""
    try:
        reason = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        reason = f"{status} {phrase}"
    code = _CODES.get(status, Code.INTERNAL if status >= 500 else Code.UNKNOWN)
    error = refused(server, reason, code, retry_after_s=_seconds(retry_after))
    error.is_transient = error.is_transient and status not in _LASTING_STATUSES
    return error


def of_grpc(server: str, error: Any, timeout_s: float, tls: ClientTls) -> CallError:
    """The error of a failed call, a `grpc.RpcError`."""
    name, details = error.code().name, error.details() or ""
    code = Code(error.code().value[0])
    if code is Code.DEADLINE_EXCEEDED:
        return too_late(server, timeout_s)
    is_unreached = code is Code.UNAVAILABLE and failure_texts.is_of_grpc(details)
    is_another = code is Code.UNIMPLEMENTED and "Method not found" in details
    # Codes of an address where nobody, or something else than this server, listens.
    if is_another or code is Code.UNKNOWN:
        return CallError(_nobody(server, name, "gRPC"), code)
    if not is_unreached:
        return refused(server, details, code)
    if tls.server_ca is None and "Socket closed" in details:
        # Cut off by a server that stops, or that waits for a handshake of TLS.
        name += f"; if it speaks TLS, give {tls.name_of('server_ca')}"
    unreached = no_connection(server, name, "gRPC", tls, details=details)
    if "errors resolving" in details or "DNS resolution" in details:
        unreached.is_transient = False
    return unreached


def _nobody(server: str, reason: str, door: str) -> str:
    return (
        f"No recall server answers at {server} ({reason}). Start one with "
        f"`recall serve --release=...`, and give its {door} port."
    )


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds; a date, its other form, says nothing here."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
