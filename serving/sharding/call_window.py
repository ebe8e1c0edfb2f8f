"""How many calls to one server may be in flight; whoever wants more waits for a turn.

Imports no TensorFlow and no gRPC, and has no thread of its own.
"""

import collections
import threading
from collections.abc import Callable


class CallWindow:
    """Turns among several callers; safe to use from several threads."""

    def __init__(self, size: int):
        """A window for `size` calls at a time."""
        self._lock = threading.Lock()
        self._num_free = size
        self._waiting: collections.deque[Callable[[], None]] = collections.deque()

    def ask(self, start: Callable[[], None]) -> None:
        """Asks for one turn, which must `end`.

        Callers that ask for the next turn when they have got one alternate, however
        many calls each of them has to make.

        Args:
            start: Called once when the turn has come: here, or later in the thread
                of whoever ended one. Must not wait.
        """
        with self._lock:
            if not self._num_free:
                self._waiting.append(start)
                return
            self._num_free -= 1
        try:
            start()
        except BaseException:  # Who could not be told does not keep the turn.
            self.end()
            raise

    def end(self) -> None:
        """Ends a turn; who has waited longest has the next one."""
        with self._lock:
            if not self._waiting:
                self._num_free += 1
                return
            start = self._waiting.popleft()
        try:
            start()
        except BaseException:
            self.end()
            raise

    def withdraw(self, start: Callable[[], None]) -> None:
        """Takes back what was asked for and not used; a turn given meanwhile ends."""
        with self._lock:
            if start in self._waiting:
                self._waiting.remove(start)
                return
        self.end()
