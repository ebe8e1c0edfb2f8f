"""Signals while TensorFlow waits for other processes, whose code hears none of Python's."""

import signal
import subprocess
import threading

import pytest

from pipelines.training.placement import waiting
from tests.pipelines.training.placement import training_processes as jobs


@pytest.fixture(autouse=True)
def handlers():
    """Leaves those of pytest."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stop(signum, frame):
    raise KeyboardInterrupt


def test_the_system_ends_it_inside_the_block_and_our_handlers_are_back_behind_it():
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)

    with waiting.ending_at_signals():
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.getsignal(signal.SIGTERM) is stop


def test_what_a_shell_lets_its_background_jobs_ignore_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with waiting.ending_at_signals():
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_another_thread_has_no_handlers():
    signal.signal(signal.SIGINT, stop)
    found = []

    def look():
        with waiting.ending_at_signals():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [stop]


@pytest.fixture(scope="module")
def examples(tmp_path_factory, examples_writer):
    folder = tmp_path_factory.mktemp("waiting") / "examples"
    examples_writer(folder, jobs.chains(61), jobs.NUM_ITEMS, 7)
    return folder


@pytest.mark.slow
def test_one_that_waits_for_the_others_ends_at_ctrl_c(examples, tmp_path):
    cluster, log = {"worker": jobs.free_addresses(2)}, tmp_path / "log"
    process = jobs.start(jobs.command(examples, tmp_path / "model"), cluster, log=log)
    try:
        said = f"Waits for the other processes of the job: {cluster['worker'][1]}."
        jobs.wait_until(lambda: said in log.read_text(), [process])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5)  # It is inside TensorFlow.
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    finally:
        jobs.kill(process)
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_a_worker_that_is_asked_to_end_does(examples, tmp_path):
    """Behind the block, as TensorFlow has a handler of its own for SIGTERM."""
    arguments = jobs.command(examples, tmp_path / "model", "train.max_epochs=4000")
    cluster, logs = {"worker": jobs.free_addresses(2)}, [tmp_path / "0", tmp_path / "1"]
    processes = [jobs.start(arguments, cluster, ("worker", n), log=logs[n]) for n in range(2)]
    try:
        checkpoint = tmp_path / "model" / "checkpoints" / "checkpoint"
        jobs.wait_until(checkpoint.exists, processes)
        processes[1].send_signal(signal.SIGTERM)
        assert processes[1].wait(20) == 128 + signal.SIGTERM
        assert processes[0].wait(jobs.SECONDS) == 1
    finally:
        for process in processes:
            jobs.kill(process)
    assert logs[1].read_text().endswith("interrupted. The same command goes on where it was.\n")
