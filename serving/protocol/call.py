"""The request a thread is answering: its deadline, and whether its client still waits.

Imports no TensorFlow. The doors say what a thread works on; whatever may wait
for long, deep below, looks here, and needs no argument passed down to it.
"""

import contextlib
import contextvars
import math
import threading
import time
from collections.abc import Callable, Iterator

from serving.protocol.status import Code, ServingError

MAX_TIMEOUT_S = 86_400.0
"""A day. Who states a longer time waits for ever: gRPC gives 9.2e18 s for a call without a
deadline, and the waits of `threading`, `queue` and gRPC raise OverflowError from 9.2e9 s on."""


def deadline_after(timeout_s: float | None) -> float:
    """When a time that was stated ends, on the monotonic clock.

    The one place that takes times as others state them: clients, flags, files.

    Args:
        timeout_s: Any number; None, NaN or more than `MAX_TIMEOUT_S` is no bound.

    Returns:
        Infinity where there is no bound.

    >>> deadline_after(None) == deadline_after(9.2e18) == deadline_after(math.nan) == math.inf
    True
    """
    if timeout_s is None or not timeout_s <= MAX_TIMEOUT_S:
        return math.inf
    return time.monotonic() + timeout_s


def time_until_s(deadline_s: float) -> float | None:
    """What a wait for a time of the monotonic clock may be given: at least 0, None for ever."""
    left_s = deadline_s - time.monotonic()
    return max(left_s, 0.0) if left_s <= MAX_TIMEOUT_S else None


class Call:
    """One request; cancelled from another thread than the one that answers it."""

    def __init__(self, timeout_s: float | None = None):
        """A call that ends in `timeout_s` seconds; see `deadline_after`."""
        self._deadline_s = deadline_after(timeout_s)
        self._lock = threading.Lock()
        self._cancelled = False
        self._wakes: list[Callable[[], None]] = []

    def time_left_s(self) -> float | None:
        """Seconds until the deadline, 0 when it has passed, None without one."""
        return time_until_s(self._deadline_s)

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._cancelled

    def cancel(self) -> None:
        """Says that nobody waits for the answer any more."""
        with self._lock:
            self._cancelled = True
            wakes = list(self._wakes)
        for wake in wakes:
            wake()

    @contextlib.contextmanager
    def woken_by_cancel(self, wake: Callable[[], None]) -> Iterator[None]:
        """Calls `wake` when the call is cancelled during the block, or was before."""
        with self._lock:
            self._wakes.append(wake)
            cancelled = self._cancelled
        if cancelled:
            wake()
        try:
            yield
        finally:
            with self._lock:
                self._wakes.remove(wake)

    def check(self) -> None:
        """Gives up a call nobody waits for.

        Raises:
            ServingError: CANCELLED or DEADLINE_EXCEEDED.
        """
        if self._cancelled:
            raise ServingError(Code.CANCELLED, "The client went away")
        if self.time_left_s() == 0.0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")


NO_CALL = Call()
"""Without a deadline, and with a client that never goes."""

_CURRENT: contextvars.ContextVar[Call] = contextvars.ContextVar("call", default=NO_CALL)


def current() -> Call:
    """The call this thread answers; outside of the doors one without a deadline."""
    return _CURRENT.get()


@contextlib.contextmanager
def answering(call: Call) -> Iterator[Call]:
    """Makes `call` the current one of this thread for the block."""
    token = _CURRENT.set(call)
    try:
        yield call
    finally:
        _CURRENT.reset(token)
