"""How long, how large and how many: the bounds of the HTTP door.

Imports no TensorFlow. Whoever sends or reads too slowly holds a connection, a
buffer and sooner or later a file descriptor; each of these bounds ends that.
"""

import resource
from typing import NamedTuple

MAX_BODY_BYTES = 16 << 20
"""Far above a full batch of long histories; also the bound of a body once decompressed."""

MAX_HEADER_BYTES = 64 << 10
"""Request line and headers together; browsers with many cookies send a quarter of it."""

MAX_TARGET_BYTES = 8 << 10
"""The request target. RFC 9112 asks for at least 8,000 bytes."""

_SPARE_DESCRIPTORS = 256
"""For gRPC, files of models, SQLite and the log, beside the connections."""

_WANTED_DESCRIPTORS = 8192
"""Shells allow a process 1,024 descriptors, and nearly always more when it asks."""


class HttpLimits(NamedTuple):
    """Bounds an operator may choose.

    Attributes:
        header_timeout_s: From the connection, or the first byte of a later request, to the
            end of its headers.
        body_timeout_s: From there to the end of its body.
        idle_timeout_s: Between an answer and the next request. Longer than that of a load
            balancer in front, which would else meet connections that are just being closed.
        write_timeout_s: From an answer to its last byte being taken.
        max_connections: Open at a time; more are refused with 503.
        max_connections_per_peer: Of them from one address. Load balancers are one address,
            so it is half of all: one peer alone cannot keep out the others.
    """

    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 60.0
    write_timeout_s: float = 30.0
    max_connections: int = 2048
    max_connections_per_peer: int = 1024


DEFAULT_LIMITS = HttpLimits()


def connections_allowed(wanted: int) -> int:
    """As many of the wanted connections as the system has file descriptors for."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, allowed - min(_SPARE_DESCRIPTORS, allowed // 2)))


def raise_descriptor_limit() -> None:
    """Asks the system for as many file descriptors as all connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        _WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _WANTED_DESCRIPTORS)
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
