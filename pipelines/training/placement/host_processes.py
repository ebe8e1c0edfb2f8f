"""A process for each GPU of this host, which step together: `train.strategy=processes`.

This one starts them, passes on what the first of them says, and ends all when one has failed.
"""

import contextlib
import functools
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from pipelines.processes import gpus, jobs
from pipelines.progress import display, relay, tasks
from pipelines.training.placement import cluster as clusters
from pipelines.training.placement import host_environments
from pipelines.training.placement.standstill import HINT, Position, Standstill, name_process
from recall.config import RecallConfig
from recall.errors import InputError

_POLL_S = 0.1

_BY_ITSELF_S, _INTERRUPTED_S = 1.0, 5.0
"""How long a process may take to end: it notices that another is gone, or has had Ctrl-C too;
and after an interrupt, which one that waits in NCCL never sees. What is saved stays whole."""

_WARNINGS = -1
"""Verbosity of others than the first: their progress is the same, and shown when one fails."""

_GOES_ON = "The same command goes on from the last checkpoint."

_TIME = re.compile(r"^\d\d:\d\d:\d\d ")
"""Of a line of the log."""

_LOST_PEER = 3
"""Of `_rank`: it misses another, and says no more."""


class _Process(NamedTuple):
    """One of them.

    Attributes:
        process: Itself.
        gpu: What it sees of the host.
        lines: The latest of what it said.
        reader: Thread that reads them.
    """

    process: subprocess.Popen
    gpu: str
    lines: deque[str]
    reader: threading.Thread


def train(
    config: RecallConfig,
    examples_dir: str | Path,
    model_dir: str | Path,
    *,
    warm_start: str | Path | None = None,
    overwrite: bool = False,
) -> None:
    """Trains a model in a process for each GPU; arguments as of `trainer.train_and_evaluate`.

    Raises:
        InputError: One process has failed: its own line, or how it ended.
    """
    with tempfile.TemporaryDirectory(prefix="recall_") as folder:
        path = Path(folder, "config.json")
        path.write_text(config.to_json(), encoding="utf-8")
        words = [
            "train",
            f"--config={path}",
            f"--examples={examples_dir}",
            f"--output={model_dir}",
            *([f"--warm_start={warm_start}"] if warm_start is not None else []),
            *(["--overwrite"] if overwrite else []),
            f"--progress={display.JSON}",  # Also where nobody looks: it tells that they get on.
        ]
        stall_s = 60 * (config.train.stall_minutes or math.inf)
        with tasks.open_task("start the processes") as task:
            run(words, gpus.find(), lambda said: relay.copy_to(task, said), stall_s=stall_s)


def check() -> None:
    """Refuses a host where there is nothing to start processes for.

    Raises:
        InputError: It has fewer than two GPUs, or one is named twice.
    """
    found = gpus.find()
    twice = [one for number, one in enumerate(found) if one and one in found[:number]]
    if twice:
        raise InputError(
            f"{gpus.VARIABLE}={os.environ.get(gpus.VARIABLE)} names GPU {twice[0]} twice, but a "
            "process has one of its own. Name each once."
        )
    if len(found) < 2:
        number = "one GPU" if found else "no GPU"
        named = os.environ.get(gpus.VARIABLE)
        why = "" if named is None else f" ({gpus.VARIABLE}={named})"
        raise InputError(
            f"train.strategy=processes is for hosts with several GPUs; {number} is visible here"
            f"{why}. Leave train.strategy out."
        )


def run(
    words: Sequence[str],
    visible: Sequence[str],
    show_task: Callable[[dict[str, Any]], None] = lambda _: None,
    *,
    stall_s: float = math.inf,
) -> None:
    """Runs `recall WORDS` in a process for each GPU until all have ended.

    Args:
        words: The command and its flags.
        visible: What `CUDA_VISIBLE_DEVICES` is for each.
        show_task: Is told what the first one is doing, as `relay.parse` has it.
        stall_s: Seconds without a step of any of them after which they are ended.

    Raises:
        InputError: One has failed, or all have stood still; the others have been ended.
    """
    verbosity = logging.get_verbosity()
    standstill = Standstill(len(visible), stall_s)

    def hear(number: int, said: dict[str, Any]) -> None:
        standstill.tell(number, Position(*(said[name] for name in Position._fields)))
        if number == 0:
            show_task(said)

    with host_environments.free_addresses(len(visible)) as addresses, _all_ended() as running:
        for number, variables in enumerate(host_environments.build(visible, addresses)):
            said = f"--verbosity={_WARNINGS if number and verbosity == 0 else verbosity}"
            running.append(
                _start(
                    [*words, said],
                    variables,
                    functools.partial(hear, number),
                    is_shown=number == 0,
                )
            )
        failed = _wait_for_failures(running, standstill)
        names = zip(_names(running), running, strict=True)
        silent = [name for name, one in names if one.process.poll() is None]
    if failed:
        cause = min(failed, key=lambda number: _rank(running[number]))
        raise _failure(cause, running, words[0], silent)


def _start(
    words: Sequence[str],
    variables: dict[str, str],
    hear: Callable[[dict[str, Any]], None],
    *,
    is_shown: bool,
) -> _Process:
    """Starts one, whose lines are kept, and perhaps shown as they come; `hear` has its tasks."""
    process = jobs.start(words, variables=variables, is_part=True, stderr=subprocess.STDOUT)
    lines: deque[str] = deque(maxlen=jobs.LAST_LINES)

    def read() -> None:
        for line in process.stdout:
            said = relay.parse(line)
            if said is not None:
                hear(said)
                continue
            lines.append(line)
            # What it says at its end is said once more, of all.
            if is_shown and not jobs.is_last_line(line):
                sys.stderr.write(line)
                sys.stderr.flush()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    return _Process(process, variables[gpus.VARIABLE], lines, reader)


def _wait_for_failures(running: Sequence[_Process], standstill: Standstill) -> list[int]:
    """Numbers of the processes that have failed by themselves; [] when all have ended well.

    Raises:
        InputError: They have stood still for too long.
    """
    processes = [one.process for one in running]
    while not any(one.poll() for one in processes):
        going = [number for number, one in enumerate(processes) if one.poll() is None]
        if not going:
            return []
        if standstill.look(time.monotonic(), going):
            told = standstill.describe(_names(running))
            raise InputError(f"{told} All were stopped. {HINT} {_GOES_ON}")
        time.sleep(_POLL_S)
    _wait(processes, _BY_ITSELF_S)  # Others miss it, and fail too.
    return [number for number, one in enumerate(processes) if one.poll()]


def _rank(failed: _Process) -> int:
    """How far a failed process explains why others have failed: 0 does most."""
    code = failed.process.returncode
    if any(clusters.LOST_PEER in line for line in failed.lines):
        return _LOST_PEER
    if code == -signal.SIGABRT:  # So TensorFlow ends those that have lost the first one.
        return 2
    return 0 if code < 0 else 1


@contextlib.contextmanager
def _all_ended() -> Iterator[list[_Process]]:
    """A list of processes, none of which is left after the block."""
    running: list[_Process] = []
    try:
        yield running
    finally:
        try:
            processes = [one.process for one in running]
            _wait(processes, _BY_ITSELF_S)
            jobs.interrupt(processes)
            _wait(processes, _INTERRUPTED_S)
        finally:  # Also after a second Ctrl-C.
            for one in running:
                if one.process.poll() is None:
                    one.process.kill()
                one.process.wait()
                one.reader.join()
                one.process.stdout.close()


def _wait(processes: Sequence[subprocess.Popen], seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and any(one.poll() is None for one in processes):
        time.sleep(_POLL_S)


def _names(running: Sequence[_Process]) -> list[str]:
    return [name_process(n, one.gpu, one.process.pid) for n, one in enumerate(running, 1)]


def _failure(
    number: int, running: Sequence[_Process], command: str, silent: Sequence[str]
) -> InputError:
    """What the user is told of the process that failed first; shows what it said.

    Args:
        number: Of that process.
        running: All of them.
        command: What they ran.
        silent: Names of those that had to be ended.
    """
    failed = running[number]
    if _rank(failed) == _LOST_PEER:
        return InputError(
            f"The processes of the GPUs have lost each other: {' and '.join(silent) or 'one'} did "
            f"not answer any more. All were stopped. {_GOES_ON}"
        )
    error = jobs.failure(command, failed.process.returncode, failed.lines)
    if isinstance(error, InputError):
        return error
    if number:  # All that the first one said has been shown: warnings that both said too.
        shown = {_TIME.sub("", line) for line in running[0].lines}
        sys.stderr.writelines(line for line in failed.lines if _TIME.sub("", line) not in shown)
    device = f"that of GPU {failed.gpu}" if failed.gpu else "without a GPU"
    code = failed.process.returncode
    killed = " Linux does so where memory is used up (`dmesg` tells)." * (code == -signal.SIGKILL)
    return InputError(
        f"Process {number + 1} of {len(running)}, {device}, ended with {jobs.describe_code(code)}; "
        f"the others were stopped.{killed} {_GOES_ON}"
    )
