"""Processes that stand still for too long: the rule, by hand, and what it tells."""

import math
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipelines.training.placement import standstill
from pipelines.training.placement.cluster import Cluster
from pipelines.training.placement.standstill import Position, Standstill

LIMIT_S = 60.0


def at(step, name="epoch 3/20"):
    return Position(name, step, 78, "steps")


def look(standing, times, running=(0, 1)):
    """Whether it is too long, at each of the times."""
    return [standing.look(time_s, running) for time_s in times]


def test_all_have_to_stand():
    """The second one says a step at second 30: from then on 60 seconds are too long."""
    standing = Standstill(2, LIMIT_S)
    standing.tell(0, at(7))
    standing.tell(1, at(7))

    assert look(standing, range(100, 131)) == [False] * 31
    standing.tell(1, at(8))
    # It is seen at second 131: 190 is 59 seconds later.
    assert look(standing, range(131, 191)) == [False] * 60
    assert look(standing, [191]) == [True]
    assert standing.describe(["process 1", "process 2"]) == (
        "No step has ended for 60 s (train.stall_minutes): process 1: epoch 3/20, 7 of 78 steps, "
        "for 91 s; process 2: epoch 3/20, 8 of 78 steps, for 60 s."
    )


def test_the_same_step_said_again_is_none_and_another_task_is_one():
    standing = Standstill(1, LIMIT_S)
    for second in range(60):
        standing.tell(0, at(7))
        assert not standing.look(second, [0])
    standing.tell(0, at(7, "epoch 3/20: rank all items"))
    assert not standing.look(60, [0])
    standing.tell(0, at(7))
    assert not standing.look(61, [0])
    assert look(standing, range(62, 121), [0]) == [False] * 59
    assert standing.look(121, [0])


def test_one_that_says_nothing_stands_at_its_start():
    standing = Standstill(1, LIMIT_S)

    assert look(standing, range(0, 61), [0]) == [False] * 60 + [True]
    assert standing.describe(["process 1 (GPU 0)"]) == (
        "No step has ended for 60 s (train.stall_minutes): process 1 (GPU 0): its start, for 60 s."
    )


def test_one_that_has_ended_does_not_count():
    standing = Standstill(2, LIMIT_S)
    look(standing, range(0, 60), [0])

    standing.tell(1, at(78))
    assert standing.look(60, [0])
    assert not standing.look(61, [])


def test_the_time_in_which_nobody_looked_does_not_count():
    """All were stopped for an hour by Ctrl-Z: 5 seconds of it count."""
    standing = Standstill(1, LIMIT_S)

    assert look(standing, [*range(0, 51), 3650, 3654], [0]) == [False] * 53
    assert standing.look(3655, [0])


def test_no_limit():
    standing = Standstill(1, math.inf)
    assert look(standing, range(0, 10**6, 5), [0]) == [False] * 200_000


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (Position("load the libraries", 0, None, ""), "load the libraries"),
        (Position("epoch 3/20: rank all items", 1000, 6040, "users"), ""),
        (Position("epoch 3/20", 0, 3, ""), "epoch 3/20, 0 of 3"),
    ],
)
def test_a_position_in_words(position, text):
    assert str(position) == (text or "epoch 3/20: rank all items, 1,000 of 6,040 users")


def test_linux_knows_a_process_that_is_stopped():
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert standstill.why_it_stands(process.pid) == ""
            process.send_signal(signal.SIGSTOP)
            end_s = time.monotonic() + 20
            while not standstill.why_it_stands(process.pid) and time.monotonic() < end_s:
                time.sleep(0.01)
            assert standstill.why_it_stands(process.pid) == "stopped by a signal"
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("stat", "why"),
    [("7 (a) b) D 1 7", "waits in the kernel"), ("7 (T) S 1 7", ""), (None, "")],
)
def test_states_of_processes(tmp_path, stat, why):
    if stat is not None:
        (tmp_path / "7").mkdir()
        (tmp_path / "7" / "stat").write_text(stat)

    assert standstill.why_it_stands(7, tmp_path) == why


WORKERS = Cluster({"worker": ("a:1", "b:1")}, "worker", 0)


@pytest.mark.parametrize(
    ("cluster", "minutes", "is_watched"),
    [
        (WORKERS, 1.0, True),
        (WORKERS, None, False),
        (None, 1.0, False),
        (WORKERS._replace(index=1), 1.0, True),
        (WORKERS._replace(is_of_one_host=True), 1.0, False),  # Who started it watches.
        (Cluster({"chief": ("a:1",), "worker": ("b:1",), "ps": ("c:1",)}, "chief", 0), 1.0, False),
    ],
)
def test_processes_that_nobody_else_watches(cluster, minutes, is_watched):
    def names():
        return [thread.name for thread in threading.enumerate()]

    with standstill.ending_process(cluster, minutes):
        assert ("standstill" in names()) == is_watched
    assert "standstill" not in names()


STANDS = """
import socket, sys, time
from pipelines.progress import tasks
from pipelines.training.placement import cluster, standstill

chief = socket.create_server(("127.0.0.1", 0))
address = "127.0.0.1:%d" % chief.getsockname()[1]
job = cluster.Cluster({"worker": (address, "b:1")}, "worker", int(sys.argv[1]))
standstill._LOOK_S = .1
with standstill.ending_process(job, .6 / 60), tasks.open_task("epoch 1/2", total=40) as task:
    for _ in range(6):
        time.sleep(.2)
        task.advance()
    time.sleep(1.5)
    print("the chief ends", flush=True)
    chief.close()
    try:
        time.sleep(60)
    finally:
        print("cleaned up")
"""
"""Gets on for 1.2 s, longer than it may stand, and then waits in something that hears nothing."""


@pytest.mark.parametrize(
    ("number", "told", "seconds", "said"),
    [(0, "the chief", 1, ""), (1, "worker 1", 2, "the chief ends\n")],
)
def test_one_that_stands_still_ends_with_a_line(number, told, seconds, said):
    """Another than the chief does so when the chief has ended."""
    done = subprocess.run(
        [sys.executable, "-c", STANDS, str(number)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, said)
    assert done.stderr == (
        f"recall train: error: No step has ended for 1 s (train.stall_minutes): {told}: epoch 1/2, "
        f"6 of 40, for {seconds} s. With GPUs NCCL_DEBUG=INFO tells what NCCL waits for. Start all "
        "processes again: the job goes on from its last checkpoint.\n"
    )
