"""Several processes that step together and have stood still for too long. No TensorFlow.

One that waits for another in an exchange (NCCL, or the ring of processor cores) never hears that
the other will not come: what tells them that it is there are threads of their own, which go on.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.progress import lines, tasks, words
from pipelines.training.placement.cluster import Cluster, is_reachable

HINT = "With GPUs NCCL_DEBUG=INFO tells what NCCL waits for."

_LOOK_S, _LONGEST_LOOK_S = 1.0, 5.0
"""Between two looks, and how much of it counts: who looks may have been stopped with the others,
by Ctrl-Z for example, and they shall not end when they go on."""

_START_ALL = "Start all processes again: the job goes on from its last checkpoint."

_FAILED = 1
"""Exit code of a training that failed."""

_WHY = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waits in the kernel"}
"""States of processes that Linux tells, where they explain why one stands."""


class Position(NamedTuple):
    """How far a process says that it is; see `tasks.Task`."""

    name: str
    done: int
    total: int | None
    unit: str

    @classmethod
    def of_open_tasks(cls) -> "Position | None":
        """That of this process; None where it has no task."""
        opened = tasks.open_tasks()
        if not opened:
            return None
        task = opened[-1]
        return cls(lines.join_names(opened), task.done, task.total, task.unit)

    def __str__(self) -> str:
        if self.total is None:
            return self.name
        return f"{self.name}, {self.done:,} of {self.total:,} {self.unit}".rstrip()


class Standstill:
    """Says when none of the processes of a job has got on for too long.

    One may stand for a good reason, as it waits for the chief that evaluates: all may not.
    """

    def __init__(self, number: int, limit_s: float):
        """Starts the clock of every process.

        Args:
            number: Of the processes.
            limit_s: Seconds after which it is too long.
        """
        self.limit_s = limit_s
        self._told: list[Position | None] = [None] * number
        self._seen = list(self._told)
        self._stood_s = [0.0] * number
        self._looked_s: float | None = None

    def tell(self, number: int, position: Position | None) -> None:
        """Takes what a process says, from any thread."""
        self._told[number] = position

    def look(self, now_s: float, running: Collection[int]) -> bool:
        """Whether all have stood still for too long; to be asked every second or more often.

        Args:
            now_s: In seconds of `time.monotonic`.
            running: Numbers of the processes that have not ended.
        """
        passed_s = 0.0 if self._looked_s is None else min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        for number, told in enumerate(self._told):
            has_moved = told != self._seen[number]
            self._seen[number] = told
            self._stood_s[number] = 0.0 if has_moved else self._stood_s[number] + passed_s
        return bool(running) and min(self._stood_s[n] for n in running) >= self.limit_s

    def describe(self, names: Sequence[str]) -> str:
        """Where each of them stands, and for how long.

        Args:
            names: Of the processes.
        """
        told = [
            f"{name}: {'its start' if position is None else position}, for "
            f"{words.rough_duration(stood_s)}"
            for name, position, stood_s in zip(names, self._seen, self._stood_s, strict=True)
        ]
        return (
            f"No step has ended for {words.rough_duration(self.limit_s)} (train.stall_minutes): "
            f"{'; '.join(told)}."
        )


def why_it_stands(pid: int, proc: Path = Path("/proc")) -> str:
    """What Linux knows of a process that has stood still; empty where that explains nothing.

    Args:
        pid: Its number.
        proc: Folder of the processes; a test has one of its own.
    """
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return _WHY.get(text.rpartition(")")[2].split()[0], "")


def name_process(number: int, gpu: str, pid: int) -> str:
    """One of several on this host, with what Linux knows of why it stands."""
    facts = [f"GPU {gpu}" if gpu else "no GPU", why_it_stands(pid)]
    return f"process {number} ({', '.join(filter(None, facts))})"


@contextlib.contextmanager
def ending_process(cluster: Cluster | None, minutes: float | None) -> Iterator[None]:
    """Ends this process, with a line, when it stands still inside the block for too long.

    Nothing else can be done: it hears no signal and no exception while it waits in an exchange.
    What is saved stays whole. Another than the chief stands still while that one evaluates: it
    ends when the chief has. Does nothing where processes do not step together, or where one has
    started all of them and watches them.

    Args:
        cluster: The processes of the job.
        minutes: Without a sign that it gets on; None: as many as there are.
    """
    if minutes is None or cluster is None or cluster.has_servers or cluster.is_of_one_host:
        yield
        return
    name = "the chief" if cluster.is_chief else f"{cluster.task} {cluster.index}"
    done = threading.Event()
    standstill = Standstill(1, 60 * minutes)

    def watch() -> None:
        while not done.wait(_LOOK_S):
            standstill.tell(0, Position.of_open_tasks())
            stands = standstill.look(time.monotonic(), [0])
            if stands and (cluster.is_chief or not is_reachable(cluster.chief_address)):
                told = standstill.describe([name])
                sys.stderr.write(f"recall train: error: {told} {HINT} {_START_ALL}\n")
                sys.stderr.flush()
                os._exit(_FAILED)

    thread = threading.Thread(target=watch, name="standstill", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
