"""One trial: a training in a process of its own, watched epoch by epoch."""

import json
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.processes import jobs

_LOG_NAME = "training_log.jsonl"
_POLL_S = 0.2


class TrialResult(NamedTuple):
    """What a trial found.

    Attributes:
        values: The metric after each epoch.
        was_cut: Whether it was ended before its training was.
    """

    values: tuple[float, ...]
    was_cut: bool


def run_trial(
    examples_dir: Path,
    trial_dir: Path,
    config_file: Path,
    assignments: Sequence[str],
    metric: str,
    *,
    deadline_s: float,
    is_hopeless: Callable[[int, float], bool],
) -> TrialResult:
    """Trains with some settings until it ends, it is hopeless, or the time is over.

    Args:
        examples_dir: Examples of all trials.
        trial_dir: Folder for the model; one that is there is removed first.
        config_file: Settings that every trial begins with.
        assignments: Those of this trial.
        metric: Validation metric, `train.stopping_metric` of the trial.
        deadline_s: When the time is over, on the monotonic clock.
        is_hopeless: (epoch from 0, best value so far) -> whether to give up.

    Raises:
        InputError: The settings do not fit the log.
        RuntimeError: The training fails.
    """
    if trial_dir.exists():
        shutil.rmtree(trial_dir)
    words = ["train", f"--examples={examples_dir}", f"--output={trial_dir}"]
    words += [f"--config={config_file}", *(f"--set={text}" for text in assignments)]
    log = trial_dir.parent / f"{trial_dir.name}.log"
    trial_dir.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+", encoding="utf-8") as lines:
        process = jobs.start(words, stderr=lines)
        process.stdout.close()
        try:
            values, was_cut = _watch(
                process, trial_dir / _LOG_NAME, metric, deadline_s, is_hopeless
            )
        finally:
            jobs.end(process)
        if process.returncode and not was_cut:
            lines.seek(0)
            raise jobs.failure("train", process.returncode, deque(lines, jobs.LAST_LINES))
    return TrialResult(tuple(values), was_cut)


def _watch(
    process: subprocess.Popen,
    log: Path,
    metric: str,
    deadline_s: float,
    is_hopeless: Callable[[int, float], bool],
) -> tuple[list[float], bool]:
    """The metric after each epoch, and whether the process shall end before it has ended."""
    values: list[float] = []
    while True:
        has_ended = process.poll() is not None  # Looked at first: then the log is whole.
        for value in read_metric(log, metric)[len(values) :]:
            values.append(value)
            if is_hopeless(len(values) - 1, max(values)):
                return values, True
        if has_ended:
            return values, False
        if time.monotonic() > deadline_s:
            return values, True
        time.sleep(_POLL_S)


def read_metric(log: Path, metric: str) -> list[float]:
    """A validation metric after each epoch, from a training's log; [] where there is none yet."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return [row[f"val_{metric}"] for row in rows]
