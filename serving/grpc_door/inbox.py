"""Messages that calls of the gRPC door still have to send: how many are waited for, how long.

Runs in the door's event loop alone. A call without a message holds a few
kilobytes and no thread; these bounds end even that.
"""

import asyncio
import collections
import sys
from collections.abc import Callable

from grpc import aio

from serving.protocol.status import Code, ServingError, invalid_argument

READ_TIMEOUT_S = 10.0
"""From a call to the end of its message: 64 MiB at 50 Mbit/s."""

PATIENCE_S = 0.5
"""A call that has waited so long gives its place to a new one where there is no other: a
message follows its call at once, unless it is large or its client slow."""


class Inbox:
    """The calls whose messages are awaited."""

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
        self._reading: collections.OrderedDict[asyncio.Task, float] = collections.OrderedDict()
        self._given_up: dict[asyncio.Task, str] = {}

    @property
    def num_reading(self) -> int:
        """Messages that are awaited now."""
        return len(self._reading)

    async def read(self, context: aio.ServicerContext) -> bytes:
        """The one message of a call, which the current task answers.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, too many are awaited, or others took its place;
                DEADLINE_EXCEEDED, it did not come in time; INVALID_ARGUMENT, there is none.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if len(self._reading) >= self._max_reading:
            self._make_room(loop.time())
        self._reading[task] = loop.time()
        timer = loop.call_later(self._timeout_s, self._give_up, task, "late")
        try:
            message = await context.read()
        except asyncio.CancelledError:
            reason = self._given_up.pop(task, None)
            if reason is None:
                raise  # The client went away.
            if sys.version_info >= (3, 11):  # Before, who catches it has ended it.
                task.uncancel()
            self._count(reason)
            if reason == "late":
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"The message did not arrive within {self._timeout_s:g} s.",
                ) from None
            raise _too_many(self._max_reading) from None
        finally:
            timer.cancel()
            self._reading.pop(task, None)
        if message is aio.EOF:
            raise invalid_argument("The call ended without a message.")
        return message

    def _make_room(self, now_s: float) -> None:
        """Gives up the call that has waited longest, if that is long."""
        task, since_s = next(iter(self._reading.items()))
        if now_s - since_s < self._patience_s:
            self._count("full")
            raise _too_many(self._max_reading)
        self._give_up(task, "slow")

    def _give_up(self, task: asyncio.Task, reason: str) -> None:
        if self._reading.pop(task, None) is not None:
            self._given_up[task] = reason
            task.cancel()


def _too_many(max_reading: int) -> ServingError:
    return ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"The server waits for the messages of {max_reading} calls. Try again later.",
    )
