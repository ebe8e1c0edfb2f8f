"""Messages that calls of the gRPC door still have to send: how many are waited for, how long.

Every such call holds a thread of the door. A message that comes at once costs two
changes of a dictionary here, and no timer: `GrpcServer` asks several times a second
for calls that wait too long.
"""

import collections
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import grpc

from serving.protocol.status import Code, ServingError, invalid_argument

READ_TIMEOUT_S = 10.0
"""From a call to the end of its message: 64 MiB at 50 Mbit/s."""

PATIENCE_S = 0.5
"""A call that has waited so long gives its place to a new one where there is no other: a
message follows its call at once, unless it is large or its client slow."""


class _Waiting:
    """A call whose message is awaited.

    Attributes:
        context: Of the call.
        since_s: When the wait began, on the monotonic clock.
        refusal: Why it was given up.
    """

    __slots__ = ("context", "refusal", "since_s")

    def __init__(self, context: grpc.ServicerContext):
        self.context = context
        self.since_s = time.monotonic()
        self.refusal: ServingError | None = None

    def wake(self) -> None:
        """Ends the wait of the call's thread, which then sees the refusal.

        gRPC has no public way to do so. `ServicerContext.cancel` ends the call with it: then no
        trailing metadata is sent, by which the client knows which call it was.
        """
        state = self.context._state
        with state.condition:
            state.request = b""  # As if a message had come.
            state.condition.notify_all()


class Inbox:
    """The calls whose messages are awaited; used by many threads."""

    def __init__(
        self,
        *,
        max_reading: int,
        count: Callable[[str], None] = lambda reason: None,
        timeout_s: float = READ_TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ):
        """An empty inbox.

        Args:
            max_reading: Messages awaited at a time.
            count: Told why a call was refused or ended: `late`, `slow` or `full`.
            timeout_s: Longest wait for one.
            patience_s: Wait after which another call may take the place.
        """
        self._max_reading = max_reading
        self._count = count
        self._timeout_s, self._patience_s = timeout_s, patience_s
        self._lock = threading.Lock()
        self._reading: collections.OrderedDict[_Waiting, None] = collections.OrderedDict()
        self._given_up: set[_Waiting] = set()

    @property
    def num_reading(self) -> int:
        """Messages that are awaited now."""
        return len(self._reading)

    def read(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The one message of a call.

        Args:
            requests: gRPC's stream of the messages of the call.
            context: Of the call.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, too many are awaited, or others took its place;
                DEADLINE_EXCEEDED, it did not come in time; INVALID_ARGUMENT, there is none;
                CANCELLED, the client went away.
        """
        message = self.read_next(requests, context)
        if message is None:
            raise invalid_argument("The call ended without a message.")
        return message

    def read_next(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes | None:
        """As `read`; None where the client says that there is no other message."""
        waiting = _Waiting(context)
        with self._lock:
            is_full = len(self._reading) >= self._max_reading
            if not is_full:
                self._reading[waiting] = None
        if is_full:
            self._take_place(waiting)
        message, is_there = None, True
        try:
            message = next(requests, None)
        except grpc.RpcError:
            is_there = False
        finally:
            with self._lock:
                self._reading.pop(waiting, None)
                self._given_up.discard(waiting)
        if waiting.refusal is not None:
            raise waiting.refusal
        if not is_there:
            raise ServingError(Code.CANCELLED, "The client went away")
        return message

    def give_up_late(self) -> None:
        """Ends the calls that have waited too long."""
        until_s = time.monotonic() - self._timeout_s
        text = f"The message did not arrive within {self._timeout_s:g} s."
        with self._lock:
            late = list(itertools.takewhile(lambda w: w.since_s <= until_s, self._reading))
            for waiting in late:
                self._give_up(waiting, ServingError(Code.DEADLINE_EXCEEDED, text))
            given_up = list(self._given_up)
        for _ in late:
            self._count("late")
        for waiting in given_up:  # Also those of before: a thread may just have begun to wait.
            waiting.wake()

    def _take_place(self, waiting: _Waiting) -> None:
        """Gives up the call that has waited longest, if that is long."""
        slow = None
        with self._lock:
            if len(self._reading) >= self._max_reading:
                slow = next(iter(self._reading))
                if waiting.since_s - slow.since_s < self._patience_s:
                    self._count("full")
                    raise self._too_many()
                self._give_up(slow, self._too_many())
            self._reading[waiting] = None
        if slow is not None:
            self._count("slow")
            slow.wake()

    def _give_up(self, waiting: _Waiting, refusal: ServingError) -> None:
        """Says that a call is over, which another thread waits for; with the lock."""
        del self._reading[waiting]
        self._given_up.add(waiting)
        waiting.refusal = refusal

    def _too_many(self) -> ServingError:
        return ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"The server waits for the messages of {self._max_reading} calls. Try again later.",
        )
