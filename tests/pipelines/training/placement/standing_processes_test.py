"""Real processes, on processor cores, of which one stands still and the others wait for it."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.pipelines.training.placement import training_processes as jobs

pytestmark = pytest.mark.slow

SETTINGS = (
    "train.batch_slots=8",
    "train.batch_size=2",  # Some 30 steps an epoch.
    "train.max_epochs=900",
    "train.early_stopping_patience=900",
    "train.stall_minutes=.7",  # Processes that start together on a busy machine take half of that.
)

STOOD = r"recall train: error: No step has ended for 42 s \(train\.stall_minutes\): "
STEP = r"epoch 1/900, 3 of \d\d steps, for 4\d s"
HINT = r"With GPUs NCCL_DEBUG=INFO tells what NCCL waits for\. "


@pytest.fixture(scope="module")
def examples(tmp_path_factory, examples_writer):
    folder = tmp_path_factory.mktemp("standing") / "examples"
    examples_writer(folder, jobs.chains(61), jobs.NUM_ITEMS, 7)
    return folder


def parts_of(process):
    """Those that it has started, the chief first: their numbers for the system."""
    found = {}
    for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for pid in map(int, task.read_text().split()):
            environment = Path(f"/proc/{pid}/environ").read_text()
            found[re.search(r'"index": (\d)', environment)[1]] = pid
    return [pid for _, pid in sorted(found.items())]


def is_there(pid):
    return Path(f"/proc/{pid}").exists()


def test_one_that_waits_for_ever_ends_all_of_a_host(examples, tmp_path):
    arguments = jobs.command(examples, tmp_path / "model", *SETTINGS, "train.strategy=processes")
    log = tmp_path / "log"
    process = jobs.start(arguments, program=jobs.TWO_GPUS_WAITING, log=log)
    jobs.wait_until((tmp_path / "model" / "started.json").exists, [process])
    parts = parts_of(process)

    assert process.wait(jobs.SECONDS) == 1

    *_, last = log.read_text().splitlines()
    both = rf"process 1 \(no GPU\): {STEP}; process 2 \(no GPU\): {STEP}\. All were stopped\. "
    resumes = r"The same command goes on from the last checkpoint\."
    assert re.fullmatch(f"{STOOD}{both}{HINT}{resumes}", last), last
    assert len(parts) == 2
    assert not any(map(is_there, parts))


def test_one_that_is_stopped_is_named(examples, tmp_path):
    """TensorFlow misses it before the limit: so does a process whose threads stand still too."""
    arguments = jobs.command(examples, tmp_path / "model", *SETTINGS, "train.strategy=processes")
    log = tmp_path / "log"
    process = jobs.start(arguments, program=jobs.TWO_GPUS, log=log)
    jobs.wait_until((tmp_path / "model" / "checkpoints" / "checkpoint").exists, [process])
    parts = parts_of(process)

    os.kill(parts[1], signal.SIGSTOP)

    assert process.wait(jobs.SECONDS) == 1
    *_, last = log.read_text().splitlines()
    assert "process 2 (no GPU, stopped by a signal)" in last
    assert last.endswith("The same command goes on from the last checkpoint.")
    assert not any(map(is_there, parts))


def test_one_of_several_machines_that_waits_for_ever_ends_all(examples, tmp_path):
    arguments = jobs.command(examples, tmp_path / "model", *SETTINGS)
    cluster = {"worker": jobs.free_addresses(2)}
    logs = [tmp_path / "chief.log", tmp_path / "worker.log"]
    processes = [
        jobs.start(arguments, cluster, ("worker", n), program=jobs.WAITS_FOR_EVER, log=logs[n])
        for n in range(2)
    ]
    try:
        assert [process.wait(jobs.SECONDS) for process in processes] == [1, 1]
    finally:
        for process in processes:
            jobs.kill(process)

    for log, name in zip(logs, ("the chief", "worker 1"), strict=True):
        *_, last = log.read_text().splitlines()
        resumes = "Start all processes again: the job goes on from its last checkpoint"
        assert re.fullmatch(rf"{STOOD}{name}: {STEP}\. {HINT}{resumes}\.", last), last
