"""How a job went: when, how long, with how much memory, by which commit. Imports no TensorFlow.

These facts differ from run to run, so they are no part of what makes an artifact:
`records` keeps them beside the record that decides whether a job is up to date.
"""

import contextlib
import contextvars
import functools
import importlib.metadata
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import recall

_SAMPLE_S = 0.2
_GIT_TIMEOUT_S = 5
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ROOT = Path(recall.__file__).resolve().parents[1]

_P, _R = ParamSpec("_P"), TypeVar("_R")


class Meter:
    """Time, processor time and peak memory from its making on; a context that ends its thread."""

    def __init__(self):
        self._started = datetime.now(timezone.utc)
        self._start_s, self._start_cpu_s = time.monotonic(), _cpu_s()
        self._high_water = _high_water_bytes()
        self._peak, self._had_children = 0, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="job-memory", daemon=True)

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        self._sample()
        while not self._ended.wait(_SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        children = _children_bytes(os.getpid())
        self._had_children |= children > 0
        self._peak = max(self._peak, _resident_bytes(os.getpid()) + children)

    def facts(self) -> dict[str, Any]:
        """What there is to say by now; see `read_made` of `records`."""
        self._sample()
        high_water, peak = _high_water_bytes(), self._peak
        if high_water > self._high_water and not self._had_children:
            peak = high_water  # Of this job, since none before it had as much.
        return {
            "started": self._started.isoformat(timespec="seconds"),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "duration_s": round(time.monotonic() - self._start_s, 3),
            "cpu_s": round(_cpu_s() - self._start_cpu_s, 3),
            "peak_memory_bytes": peak or None,
            "commit": find_commit(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
        }


_current: contextvars.ContextVar[Meter | None] = contextvars.ContextVar("meter", default=None)


def measured(job: Callable[_P, _R]) -> Callable[_P, _R]:
    """A job whose record says how it went; `records.write_record` asks `current_facts`."""

    @functools.wraps(job)
    def measure(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with Meter() as meter:
            token = _current.set(meter)
            try:
                return job(*args, **kwargs)
            finally:
                _current.reset(token)

    return measure


def current_facts() -> dict[str, Any] | None:
    """Facts of the job that is being executed, None outside of one."""
    meter = _current.get()
    return None if meter is None else meter.facts()


@functools.cache
def find_commit() -> str | None:
    """The commit of this product's code, None where nobody knows.

    pip notes it of what it installs from a repository; a checkout is asked, and
    `-dirty` says that it has changes besides.
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):
        origin = importlib.metadata.distribution("recall").read_text("direct_url.json")
        commit = json.loads(origin or "{}").get("vcs_info", {}).get("commit_id")
        if commit:
            return commit
    try:
        # Of a repository that merely contains an installation, this file is no part.
        _git("ls-files", "--error-unmatch", "recall/__init__.py")
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(_ROOT), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=_GIT_TIMEOUT_S,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return done.stdout.strip()


def _cpu_s() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _high_water_bytes() -> int:
    """Most memory that this process ever had, 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    lines = (line.split() for line in status.splitlines() if line.startswith("VmHWM:"))
    return next((int(line[1]) << 10 for line in lines), 0)


def _resident_bytes(pid: int) -> int:
    """Memory of a process now, 0 where it has ended or the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _children_bytes(pid: int) -> int:
    """Memory of the processes that a process has started, and that those have."""
    total = 0
    with contextlib.suppress(OSError):
        for task in os.scandir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                for child in map(int, Path(task.path, "children").read_bytes().split()):
                    total += _resident_bytes(child) + _children_bytes(child)
    return total
