"""All connections of the HTTP door: how many there may be, and which take too long.

Imports no TensorFlow. Nothing is done per request: a few times a second all
connections are looked at, and those are dropped that wait for one thing for too long.
"""

import collections
import logging
import time
from typing import Any, Protocol

from serving.doors.byte_budget import ByteBudget
from serving.http_door.limits import HttpLimits, connections_allowed
from serving.monitoring.access_log import NO_LOG, RequestLog
from serving.monitoring.metrics import Metrics

_LOGGER = logging.getLogger(__name__)

HEADER, BODY, WORK, WRITE, IDLE = "header", "body", "work", "write", "idle"
"""What a connection waits for."""

_REPORT_S = 10.0
"""Errors of the event loop are logged so often at most; accepting fails hundreds of times a
second where descriptors run out."""


class Connection(Protocol):
    """One connection, as `Connections` sees it.

    Attributes:
        cycle: The request that is answered, None before the first.
        watched: What was waited for when last looked at.
        watched_since_s: On the monotonic clock, since when.
    """

    cycle: Any
    watched: tuple[str, object] | None
    watched_since_s: float

    @property
    def peer(self) -> str:
        """Address of the other side, without its port."""

    @property
    def unread_bytes(self) -> int:
        """Bytes of answers the other side has not taken yet."""

    @property
    def phase(self) -> str:
        """What the connection waits for."""

    def drop(self, phase: str) -> None:
        """Ends the connection, which took too long."""


class Connections:
    """The open connections; used by the thread of the event loop alone.

    Attributes:
        metrics: Counts what is refused and dropped.
        requests: Gets a record of what is refused before it is a request.
        unread_bytes: Bytes of answers that were not taken when last looked at.
    """

    def __init__(
        self,
        limits: HttpLimits,
        budget: ByteBudget,
        metrics: Metrics,
        requests: RequestLog = NO_LOG,
    ):
        """Starts without connections.

        Args:
            limits: Bounds of time and number.
            budget: Holds the answers that are not taken.
            metrics: Shows numbers and counts.
            requests: Gets a record of what is refused before it is a request.
        """
        self._limits = limits
        self._max = connections_allowed(limits.max_connections)
        self._max_per_peer = min(limits.max_connections_per_peer, self._max)
        if self._max < limits.max_connections:
            _LOGGER.warning(
                "%d HTTP connections at a time instead of %d: the system allows no more file "
                "descriptors (`ulimit -n`).",
                self._max,
                limits.max_connections,
            )
        self._open: set[Connection] = set()
        self._per_peer: collections.Counter[str] = collections.Counter()
        self._budget = budget
        self._timeouts_s = {
            HEADER: limits.header_timeout_s,
            BODY: limits.body_timeout_s,
            WRITE: limits.write_timeout_s,
        }
        self._errors = 0
        self._reported_s = -_REPORT_S
        self.unread_bytes = 0
        self.metrics = metrics
        self.requests = requests
        metrics.watch("recall_http_connections", "Open HTTP connections.", lambda: len(self._open))
        metrics.watch(
            "recall_http_unread_bytes",
            "Bytes of answers that clients have not taken yet.",
            lambda: self.unread_bytes,
        )

    def enter(self, connection: Connection) -> str | None:
        """Takes a connection; returns why it must be refused, or None."""
        reason = None
        if len(self._open) >= self._max:
            reason = "all"
        elif self._per_peer[connection.peer] >= self._max_per_peer:
            reason = "peer"
        if reason is not None:
            self.metrics.count_http_refused_connection(reason)
            return reason
        self._open.add(connection)
        self._per_peer[connection.peer] += 1
        return None

    def leave(self, connection: Connection) -> None:
        """Ends a connection; nothing for one that was refused."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        self._per_peer[connection.peer] -= 1
        if not self._per_peer[connection.peer]:
            del self._per_peer[connection.peer]

    def sweep(self) -> None:
        """Drops the connections that wait for too long, and counts what is not taken."""
        now_s = time.monotonic()
        unread = 0
        for connection in list(self._open):
            unread += connection.unread_bytes
            phase = connection.phase
            watched = (phase, connection.cycle)
            if watched != connection.watched:
                connection.watched, connection.watched_since_s = watched, now_s
            elif now_s - connection.watched_since_s > self._timeouts_s.get(phase, float("inf")):
                connection.drop(phase)
        self._budget.note(unread - self.unread_bytes)
        self.unread_bytes = unread

    def close(self) -> None:
        """Gives back what unread answers held."""
        self._budget.note(-self.unread_bytes)
        self.unread_bytes = 0

    def report_error(self, _: Any, context: dict[str, Any]) -> None:
        """Exception handler of the event loop: counts all errors, logs few."""
        self.metrics.count_http_loop_error()
        self._errors += 1
        now_s = time.monotonic()
        if now_s - self._reported_s < _REPORT_S:
            return
        _LOGGER.error(
            "HTTP door: %s (%s); %d such errors since the last report.",
            context.get("message", "an error of the event loop"),
            context.get("exception"),
            self._errors,
        )
        self._reported_s, self._errors = now_s, 0
