"""Makes the runs of an experiment, several at a time, and goes on where it was stopped."""

import contextlib
import logging
import math
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.experiments import preparing
from pipelines.experiments.grids import grid
from pipelines.experiments.grids.grid import Experiment, GridRun
from pipelines.experiments.outcomes import results, run_files
from pipelines.experiments.preparing import AS_USUAL, Reading
from pipelines.processes import gpus, jobs
from pipelines.progress import words
from recall.errors import InputError
from serving.release import folders

_LOCK_NAME, _LOG_NAME = ".lock", "log.txt"
_POLL_S = 0.2

_log = logging.getLogger(__name__)

MakeRuns = Callable[[Sequence[GridRun]], None]


def run_experiment(
    experiment: Experiment,
    output_dir: str | Path,
    make_runs: MakeRuns,
    reading: Reading = AS_USUAL,
) -> dict[str, Any]:
    """Makes all runs that are not finished, and writes what came out.

    A killed experiment goes on when it is called again: finished runs are read, one that was
    interrupted goes on at the epoch it was in.

    Args:
        experiment: Which runs, and how they are shown.
        output_dir: Folder of examples, runs and results.
        make_runs: Makes runs, in this order, as `in_processes` does.
        reading: How logs that are files are read.

    Returns:
        Content of `results.json`.

    Raises:
        InputError: Settings or logs cannot be used, the folder holds runs of other settings,
            or another process is working in it.
    """
    output_dir = Path(output_dir)
    grid.check_names(experiment)
    preparing.check(experiment)
    with _locked(output_dir):
        runs = list(experiment.runs())
        left = [run for run in runs if not run_files.is_finished(output_dir, experiment, run)]
        _log.info("%d of %d runs are done.", len(runs) - len(left), len(runs))
        preparing.prepare_cases(experiment, runs, output_dir, reading)
        make_runs(left)
        return write_results(experiment, output_dir)


def prepare_all(
    experiment: Experiment, output_dir: str | Path, reading: Reading = AS_USUAL
) -> None:
    """Makes the examples of all cases, for runs elsewhere.

    Raises:
        InputError: As `run_experiment`.
    """
    grid.check_names(experiment)
    preparing.check(experiment)
    with _locked(output_dir):
        preparing.prepare_cases(experiment, experiment.runs(), output_dir, reading)


def write_results(experiment: Experiment, output_dir: str | Path) -> dict[str, Any]:
    """Writes what came out of the runs that are finished.

    Returns:
        Content of `results.json`.

    Raises:
        InputError: There is no seed that all arms of a case are finished with.
    """
    finished = [
        run_files.read(output_dir, run)
        for run in experiment.runs()
        if run_files.is_finished(output_dir, experiment, run)
    ]
    if not finished:
        raise InputError(f"{output_dir} has no finished run of {experiment.name}.")
    return results.write(output_dir, experiment, finished)


def in_processes(
    command: Sequence[str], output_dir: str | Path, num_jobs: int, max_minutes: float = math.inf
) -> MakeRuns:
    """Makes every run by `recall COMMAND --run=KEY`: a process that takes its memory with it.

    Where there are several GPUs, those that run at a time have one each in turn.

    Args:
        command: Its name and its flags.
        output_dir: Folder of the experiment; what a process says is in `log.txt` of its run.
        num_jobs: Processes at a time.
        max_minutes: After which no other one begins.
    """
    visible = gpus.find()

    def make_runs(runs: Sequence[GridRun]) -> None:
        begin_s = time.monotonic()
        deadline_s = begin_s + 60 * max_minutes
        left, running, num_ended = deque(enumerate(runs, 1)), [], 0
        places = deque(range(num_jobs))
        try:
            while left or running:
                if left and time.monotonic() > deadline_s:
                    _log.info("The time is over: %d runs are left.", len(left))
                    left.clear()
                while left and places:
                    number, run = left.popleft()
                    name = f"{number} of {len(runs)}: {run.key}"
                    folder = run_files.folder_of(output_dir, run)
                    running.append(_start(name, command, run, folder, places.popleft(), visible))
                ended = [one for one in running if _has_ended(one)]
                for one in ended:
                    num_ended += 1
                    of_each_s = (time.monotonic() - begin_s) / num_ended
                    _tell_ended(one, of_each_s * (len(runs) - num_ended))
                places.extend(one.place for one in ended)
                running = [one for one in running if one not in ended]
                time.sleep(_POLL_S)
        finally:
            for one in running:
                jobs.end(one.process)

    return make_runs


class _Running(NamedTuple):
    """A process that makes a run."""

    name: str
    process: subprocess.Popen
    log: Path
    start_s: float
    place: int


def _start(
    name: str,
    command: Sequence[str],
    run: GridRun,
    folder: Path,
    place: int,
    visible: Sequence[str],
) -> _Running:
    """Starts a run, on the GPU of its place where there are several."""
    variables = {gpus.VARIABLE: visible[place % len(visible)]} if len(visible) > 1 else None
    folder.mkdir(parents=True, exist_ok=True)
    _log.info("%s", name)
    with (folder / _LOG_NAME).open("a", encoding="utf-8") as log:
        process = jobs.start([*command, f"--run={run.key}"], variables=variables, stderr=log)
    process.stdout.close()
    return _Running(name, process, folder / _LOG_NAME, time.monotonic(), place)


def _locked(output_dir: str | Path) -> contextlib.AbstractContextManager[None]:
    """Keeps other experiments out of a folder."""
    busy = f"Another `recall experiment` is working in {output_dir}. Wait for it to end."
    return folders.locked_folder(output_dir, _LOCK_NAME, busy=busy)


def _has_ended(running: _Running) -> bool:
    """Whether a process has.

    Raises:
        InputError: It says what is wrong.
        RuntimeError: It failed otherwise.
    """
    code = running.process.poll()
    if code is None:
        return False
    if code:
        with running.log.open(encoding="utf-8", errors="replace") as lines:
            raise jobs.failure("experiment", code, deque(lines, jobs.LAST_LINES))
    return True


def _tell_ended(running: _Running, left_s: float) -> None:
    """Says how long a run took, and by all that have ended how long the others will."""
    took = words.rough_duration(time.monotonic() - running.start_s)
    rest = f", about {words.rough_duration(left_s)} left" if left_s else ""
    _log.info("%s: done in %s%s", running.name, took, rest)
