"""What a job is doing, and how far it is. Imports no TensorFlow.

A job opens a task and counts; `display` shows it. Where nobody has asked for a
display, as in tests and other people's programs, nothing is shown.

>>> with open_task("embed items", total=200, unit="items") as task:
...     task.advance(150)
...     task.share
0.75
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol


class Task:
    """One piece of work.

    Counting is an addition: a display looks at the numbers from its own thread.

    Attributes:
        name: What is being done, in a few words.
        total: Steps in all, None where nobody knows.
        unit: What the steps are, for example `users`; "" for nothing that has a name.
        rate: What to show per second, for example `slots`; "" shows no speed.
        per_step: How many of those a step has.
        facts: More to show, for example the loss: name -> number or text.
        later_steps: Steps like these that come after this, at most.
        later_s: Seconds of what comes after this, at most.
        done: Steps that are done.
        known_share: Share that is done where nobody knows the steps in all, in [0, 1].
        started_s: When the first step began, in seconds of `time.monotonic`.
    """

    def __init__(self, name: str, total: int | None = None, unit: str = "", *, rate: str = ""):
        self.rate, self.per_step = rate, 1.0
        self.later_steps, self.later_s = 0, 0.0
        self.facts: dict[str, float | str] = {}
        self.known_share: float | None = None
        self.restart(name, total, unit)

    def restart(self, name: str, total: int | None, unit: str) -> None:
        """Makes it the next piece of work of the same kind."""
        self.name, self.total, self.unit = name, total, unit
        self.done, self.known_share = 0, None
        self.started_s = time.monotonic()

    def advance(self, number: int = 1) -> None:
        """Counts steps as done."""
        self.done += number

    @property
    def is_at_most(self) -> bool:
        """Whether the time left is the longest there can be."""
        return self.later_steps > 0 or self.later_s > 0

    @property
    def share(self) -> float | None:
        """Share that is done, in [0, 1]; None where nobody knows."""
        return min(1.0, self.done / self.total) if self.total else self.known_share


class Display(Protocol):
    """Shows the tasks that are open, from a thread of its own."""

    def start(self, tasks: list[Task]) -> None:
        """Begins to show the last of `tasks`, a list that goes on changing."""

    def stop(self) -> None:
        """Leaves no trace of what was still to change."""


_open: list[Task] = []
"""The tasks of this process, the outermost first."""

_displays: list[Display] = []
"""At most one: who shows them."""


@contextlib.contextmanager
def shown_by(display: Display | None) -> Iterator[None]:
    """Lets a display show the tasks that are opened inside; None shows nothing."""
    before = list(_displays)
    _displays[:] = [] if display is None else [display]
    try:
        yield
    finally:
        _displays[:] = before


def are_shown() -> bool:
    """Whether somebody has asked for a display."""
    return bool(_displays)


def open_tasks() -> tuple[Task, ...]:
    """The tasks of this process that are open, the outermost first."""
    return tuple(_open)


@contextlib.contextmanager
def open_task(
    name: str, *, total: int | None = None, unit: str = "", rate: str = ""
) -> Iterator[Task]:
    """A task that lasts as long as the block; see `Task`."""
    task = Task(name, total, unit, rate=rate)
    _open.append(task)
    display = _displays[0] if _displays and len(_open) == 1 else None
    try:
        if display is not None:
            display.start(_open)
        yield task
    finally:
        try:
            if display is not None:
                display.stop()
        finally:
            _open.remove(task)


def count(name: str, number: int, *, share: float | None = None) -> None:
    """Counts for the task of this name, where this process has one.

    For steps that a runner may put into any process: elsewhere it does nothing.

    Args:
        name: Of the task.
        number: Steps that are done.
        share: Share of the whole that is done, where it is known by other means.
    """
    for task in tuple(_open):
        if task.name == name:
            task.advance(number)
            task.known_share = share


def turn_to(name: str, following: str, *, total: int, unit: str) -> None:
    """Makes the task `name`, where this process has one, the piece of work after it."""
    for task in tuple(_open):
        if task.name == name:
            task.rate = ""
            task.restart(following, total, unit)
