"""How many requests the process works on at a time; the others are refused at once.

Imports no TensorFlow. Without a bound, requests beyond what the machine can do
would wait until their clients had given up, and every answer would come too
late.
"""

import threading

from serving.protocol.status import Code, ServingError

MAX_IN_FLIGHT = 64
"""Requests admitted at a time. On two busy cores recall requests of 64 clients took 0.10 s
each, and throughput did not grow with more. Most of them wait for a batch: the few threads
that run at a time are a matter of `batched_recall`, not of admission."""


class Admission:
    """Counts the requests in work of both doors; safe to use from several threads."""

    def __init__(self, max_in_flight: int = MAX_IN_FLIGHT):
        self.max_in_flight = max_in_flight
        self._lock = threading.Lock()
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Requests in work now."""
        return self._in_flight

    @property
    def is_full(self) -> bool:
        """Whether the next request would be refused."""
        return self._in_flight >= self.max_in_flight

    def check(self) -> None:
        """Refuses a request that would not be admitted now; raises as `enter`."""
        if self.is_full:
            raise self._full_error()

    def enter(self) -> None:
        """Admits a request, which must `leave` when it is answered.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, as many as allowed are in work.
        """
        with self._lock:
            if self._in_flight < self.max_in_flight:
                self._in_flight += 1
                return
        raise self._full_error()

    def leave(self) -> None:
        """Ends a request that was admitted."""
        with self._lock:
            self._in_flight -= 1

    def _full_error(self) -> ServingError:
        return ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"The server already works on {self.max_in_flight} requests. Try again later.",
        )
