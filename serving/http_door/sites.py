"""Which web pages may use the HTTP door, and under which names it is reached.

Imports no TensorFlow. A browser sends requests of any page to any address it
reaches, this machine's too, and tells where they come from (`Origin`,
`Sec-Fetch-Site`). A page whose own name is made to point here (DNS rebinding)
shows in `Host`.
"""

import functools
import ipaddress
from collections.abc import Mapping

from starlette.responses import Response

from serving.http_door.errors import HttpError
from serving.monitoring.access_log import REQUEST_ID_HEADER, TRACE_HEADER, show_path

ANY_ORIGIN = "*"

_LOCAL_NAMES = ("localhost",)
_SAFE_METHODS = ("GET", "HEAD")
_FOREIGN_SITES = (b"cross-site", b"same-site")
_PREFLIGHT_S = "600"


class Sites:
    """What the door knows of hosts and origins."""

    def __init__(
        self,
        *,
        allowed_hosts: tuple[str, ...] = (),
        allowed_origins: tuple[str, ...] = (),
        is_local: bool = True,
    ):
        """Sets the rules.

        Args:
            allowed_hosts: Names by which the server may be addressed, without a port.
            allowed_origins: Origins whose pages may send requests and read answers; `*`
                lets all do so, but for calls that change something.
            is_local: Whether only this machine reaches the server: then its own names and
                the allowed ones are the only ones. Else any name will do where none is given.
        """
        self._hosts = frozenset(name.lower().rstrip(".") for name in allowed_hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)
        self._checks_hosts = is_local or bool(allowed_hosts)
        self._is_local = is_local
        self._knows_host = functools.lru_cache(256)(self._accepts_host)

    def check(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Refuses requests of pages that are not allowed, or to a name that is none of ours.

        Args:
            method: Of HTTP.
            headers: Of the request.

        Returns:
            Whether a page of any origin may have sent it: it must then change nothing.

        Raises:
            HttpError: 403.
        """
        host = headers.get(b"host")
        if host is not None and not self._knows_host(host):
            raise HttpError(
                "host",
                403,
                f"The server is not known as {show_path(host.decode('latin-1'))}. "
                "Start it with --allowed_hosts=NAME.",
            )
        origin = headers.get(b"origin")
        if origin is None:
            if headers.get(b"sec-fetch-site") in _FOREIGN_SITES and method not in _SAFE_METHODS:
                raise _foreign("Another site's page")
            return False
        if _authority(origin) == (host or b"").lower() or self._lists(origin):
            return False
        if ANY_ORIGIN in self._origins:
            return True
        raise _foreign(f"A page of {show_path(origin.decode('latin-1'))}")

    def answer_headers(self, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """What lets the page that asked read the answer."""
        origin = headers.get(b"origin")
        if origin is None or not self._origins:
            return []
        vary = (b"vary", b"Origin")
        if self._lists(origin):
            allowed = origin
        elif ANY_ORIGIN in self._origins:
            allowed = ANY_ORIGIN.encode()
        else:
            return [vary]
        return [
            vary,
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", REQUEST_ID_HEADER.encode()),
        ]

    def preflight(self, headers: Mapping[bytes, bytes], allow: str) -> Response:
        """The answer to OPTIONS, which browsers send before a request of another origin.

        Args:
            headers: Of the request.
            allow: Methods of the path.
        """
        answer = {"Allow": allow}
        if self._origins and b"access-control-request-method" in headers:
            wanted = f"authorization, content-encoding, content-type, {REQUEST_ID_HEADER}"
            answer |= {
                "Access-Control-Allow-Methods": allow,
                "Access-Control-Allow-Headers": f"{wanted}, {TRACE_HEADER}",
                "Access-Control-Max-Age": _PREFLIGHT_S,
            }
        return Response(status_code=204, headers=answer)

    def _lists(self, origin: bytes) -> bool:
        return origin.decode("latin-1").lower() in self._origins

    def _accepts_host(self, host: bytes) -> bool:
        """Whether a value of `Host` is one of the server's names."""
        if not self._checks_hosts:
            return True
        name = _without_port(host.decode("latin-1").lower()).rstrip(".")
        if name in self._hosts:
            return True
        if not self._is_local:
            return False
        try:
            return ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return name in _LOCAL_NAMES


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and (port.isdigit() or not port) else host


def _authority(origin: bytes) -> bytes:
    """`host:port` of an origin, as `Host` has it."""
    return origin.lower().partition(b"://")[2] or origin


def _foreign(who: str) -> HttpError:
    return HttpError(
        "origin",
        403,
        f"{who} may not send requests to this server. Start it with "
        "--cors_allowed_origins=ORIGIN to allow it.",
    )
