"""What a process that is to be killed runs: it counts its calls, and halts before one of them."""

import sys
from collections.abc import Callable
from typing import Any


class Halt:
    """Prints `reached` before a call, and waits to be killed.

    Attributes:
        calls: How many there were so far.
    """

    def __init__(self, limit: int):
        """Halts before call number `limit`, counted from 1."""
        self.calls, self._limit = 0, limit

    def before(self, module: Any, name: str) -> None:
        """Counts the calls of a function of a module from now on."""
        setattr(module, name, self._counted(getattr(module, name)))

    def _counted(self, function: Callable) -> Callable:
        def call(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls == self._limit:
                print("reached", flush=True)
                sys.stdin.read()
            return function(*arguments)

        return call
