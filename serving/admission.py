"""How many requests the process works on at a time; the others are refused at once.

Imports no TensorFlow. Without a bound, requests beyond what the machine can do
would wait until their clients had given up, and every answer would come too
late. Of the admitted ones only a few run at a time: dozens of runnable threads
would make each other, and the refusals, wait for Python's one lock.
"""

import collections
import contextlib
import os
import threading
from collections.abc import Iterator

from serving.status import Code, ServingError

MAX_IN_FLIGHT = 64
"""Requests admitted at a time. Measured: throughput no longer grows beyond it, and
64 requests in work are answered within about 0.1 s on two cores."""

MAX_RUNNING = max(4, 2 * (os.cpu_count() or 1))
"""Requests that run at a time. Measured on two cores: with 4 both are busy, for
TensorFlow and ScaNN work outside of Python's lock."""


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

    def full_error(self) -> ServingError:
        """The error of a request that is refused."""
        return ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"The server already works on {self.max_in_flight} requests. Try again later.",
        )

    def enter(self) -> None:
        """Admits a request, which must `leave` when it is answered.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, as many as allowed are in work.
        """
        with self._lock:
            if self._in_flight < self.max_in_flight:
                self._in_flight += 1
                return
        raise self.full_error()

    def leave(self) -> None:
        """Ends a request that was admitted."""
        with self._lock:
            self._in_flight -= 1


class RunSlots:
    """Lets a few threads run at a time, those that had begun before new ones."""

    def __init__(self, num_slots: int = MAX_RUNNING):
        self._lock = threading.Lock()
        self._num_free = num_slots
        self._begun: collections.deque[threading.Lock] = collections.deque()
        self._new: collections.deque[threading.Lock] = collections.deque()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Runs the block in a slot, waiting for one where there is none."""
        self._take(self._new)
        try:
            yield
        finally:
            self._give()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Gives the slot of this thread to others while the block waits for something."""
        self._give()
        try:
            yield
        finally:
            self._take(self._begun)

    def _take(self, queue: collections.deque[threading.Lock]) -> None:
        with self._lock:
            if self._num_free > 0:
                self._num_free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            queue.append(turn)
        turn.acquire()  # Released by the thread whose slot this one gets.

    def _give(self) -> None:
        with self._lock:
            if not self._begun and not self._new:
                self._num_free += 1
                return
            turn = (self._begun or self._new).popleft()
        turn.release()
