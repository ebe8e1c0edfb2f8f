"""The tasks of a process as lines of JSON, for the one that started it. Imports no TensorFlow.

>>> task, shown = Task("embed items", total=200), Task("run")
>>> task.advance(50)
>>> copy_to(shown, parse(to_json([task])))
>>> shown.name, shown.share
('embed items', 0.25)
"""

import json
import sys
import threading
from typing import Any, TextIO

from pipelines.progress import lines
from pipelines.progress.tasks import Task

_PAUSE_S = 0.2
"""Between two looks; nothing is written where nothing has changed."""

_KEY = "task"
_START = f'{{"{_KEY}": '

_FIELDS = (
    "total",
    "unit",
    "rate",
    "per_step",
    "later_steps",
    "later_s",
    "done",
    "known_share",
    "started_s",
)
"""Of a task, beside its name and its facts; all processes of a machine have one clock."""


class JsonLines:
    """A `Display` that writes the innermost task as a line whenever it has changed."""

    def __init__(self, stream: TextIO | None = None):
        """Takes a stream; None is the standard error stream as it is at the start."""
        self._stream = stream
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, tasks: list[Task]) -> None:
        """See `Display`."""
        self._stopped.clear()
        self._thread = threading.Thread(
            target=self._write, args=(tasks, self._stream or sys.stderr), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """See `Display`."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _write(self, tasks: list[Task], stream: TextIO) -> None:
        written = ""
        while True:
            shown = list(tasks)
            line = to_json(shown) if shown else written
            if line != written:
                stream.write(f"{line}\n")
                stream.flush()
                written = line
            if self._stopped.wait(_PAUSE_S):
                return


def to_json(tasks: list[Task]) -> str:
    """One line, of the open tasks, the innermost last."""
    task = tasks[-1]
    facts = {
        name: float(value) if hasattr(value, "numpy") else value
        for name, value in list(task.facts.items())
    }
    fields = {name: getattr(task, name) for name in _FIELDS}
    return json.dumps({_KEY: {"name": lines.join_names(tasks), "facts": facts, **fields}})


def parse(line: str) -> dict[str, Any] | None:
    """What a line says of a task; None where it is something else."""
    if not line.startswith(_START):
        return None
    try:
        said = json.loads(line)[_KEY]
    except ValueError:
        return None
    return said if isinstance(said, dict) and said.keys() >= {"name", "facts", *_FIELDS} else None


def copy_to(task: Task, said: dict[str, Any]) -> None:
    """Gives a task of this process the name and the numbers of the other one's."""
    for name in ("name", "facts", *_FIELDS):
        setattr(task, name, said[name])
