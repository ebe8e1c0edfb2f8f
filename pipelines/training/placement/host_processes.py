"""A process for each GPU of this host, which step together: `train.strategy=processes`.

This one starts them, passes on what the first of them says, and ends all when one has failed.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from absl import logging

from pipelines.processes import gpus, jobs
from pipelines.progress import tasks
from pipelines.training.placement import cluster as clusters
from pipelines.training.placement import exchange
from recall.config import RecallConfig
from recall.errors import InputError
from recall.replicas import NCCL_ADDRESS

_HOST = "127.0.0.1"
_POLL_S = 0.1

_BY_ITSELF_S, _INTERRUPTED_S = 1.0, 5.0
"""How long a process may take to end: it notices that another is gone, or has had Ctrl-C too;
and after an interrupt, which one that waits in NCCL never sees. What is saved stays whole."""


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
            f"--verbosity={logging.get_verbosity()}",
            *([f"--warm_start={warm_start}"] if warm_start is not None else []),
            *(["--overwrite"] if overwrite else []),
            *([] if tasks.are_shown() else ["--progress=off"]),
        ]
        run(words, gpus.find())


def check() -> None:
    """Refuses a host where there is nothing to start processes for.

    Raises:
        InputError: It has fewer than two GPUs.
    """
    number = len(gpus.find())
    if number < 2:
        found = "one GPU" if number else "no GPU"
        raise InputError(
            f"train.strategy=processes is for hosts with several GPUs; {found} is visible here. "
            "Leave train.strategy out."
        )


def run(words: Sequence[str], visible: Sequence[str]) -> None:
    """Runs `recall WORDS` in a process for each GPU until all have ended.

    Args:
        words: The command and its flags.
        visible: What `CUDA_VISIBLE_DEVICES` is for each.

    Raises:
        InputError: One has failed; the others have been ended.
    """
    names = environments(visible)
    with _all_ended() as running:
        for number, variables in enumerate(names):
            running.append(_start(words, variables, sys.stderr if number == 0 else None))
        failed = _wait_for_first_failure(running)
    if failed is not None:
        raise _failure(failed, running, words[0])


def environments(visible: Sequence[str]) -> list[dict[str, str]]:
    """Variables of each process: the addresses of all, its own GPU, where NCCL meets.

    Args:
        visible: What `CUDA_VISIBLE_DEVICES` is for each.
    """
    *addresses, nccl = _free_addresses(len(visible) + 1)
    every = [
        {
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            clusters.VARIABLE: json.dumps(
                {
                    "cluster": {clusters.WORKER: addresses},
                    "task": {"type": clusters.WORKER, "index": number},
                    clusters.STARTED_BY: "recall",
                }
            ),
            gpus.VARIABLE: gpu,
            NCCL_ADDRESS: nccl,
        }
        for number, gpu in enumerate(visible)
    ]
    for variables in every:  # From their start on, before anything can have read them.
        exchange.prepare(clusters.read(variables), 1, variables)
    return every


def _free_addresses(number: int) -> list[str]:
    """With ports of this host that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind((_HOST, 0))
        return [f"{_HOST}:{one.getsockname()[1]}" for one in sockets]


def _start(words: Sequence[str], variables: dict[str, str], shown: TextIO | None) -> _Process:
    """Starts one, whose lines are kept, and shown as they come."""
    process = jobs.start(words, variables=variables, stderr=subprocess.STDOUT)
    lines: deque[str] = deque(maxlen=jobs.LAST_LINES)

    def read() -> None:
        for line in process.stdout:
            lines.append(line)
            # What it says at its end is said once more, of all.
            if shown is not None and not jobs.is_last_line(line):
                shown.write(line)
                shown.flush()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    return _Process(process, variables[gpus.VARIABLE], lines, reader)


def _wait_for_first_failure(running: Sequence[_Process]) -> int | None:
    """Number of the first process that has failed; None when all have ended well."""
    while True:
        codes = [one.process.poll() for one in running]
        failed = [number for number, code in enumerate(codes) if code]
        if failed:
            # One that was killed explains the others, which miss it.
            return min(failed, key=lambda number: codes[number] > 0)
        if None not in codes:
            return None
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _all_ended() -> Iterator[list[_Process]]:
    """A list of processes, none of which is left after the block."""
    running: list[_Process] = []
    try:
        yield running
    finally:
        processes = [one.process for one in running]
        _wait(processes, _BY_ITSELF_S)
        jobs.interrupt(processes)
        _wait(processes, _INTERRUPTED_S)
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


def _failure(number: int, running: Sequence[_Process], command: str) -> InputError:
    """What the user is told of the process that failed first; shows what it said."""
    failed = running[number]
    error = jobs.failure(command, failed.process.returncode, failed.lines)
    if isinstance(error, InputError):
        return error
    if number:  # All that the first one said has been shown.
        sys.stderr.writelines(failed.lines)
    device = f"that of GPU {failed.gpu}" if failed.gpu else "without a GPU"
    return InputError(
        f"Process {number + 1} of {len(running)}, {device}, ended with "
        f"{jobs.describe_code(failed.process.returncode)}; the others were stopped. The same "
        "command goes on from the last checkpoint."
    )
