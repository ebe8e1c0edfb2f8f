"""Tasks: counted by a job, shown by whoever was asked to, closed whatever happens."""

import threading

import pytest

from pipelines.progress import tasks


class Recorder:
    """A display that notes what it is asked to do."""

    def __init__(self):
        self.events = []

    def start(self, open_tasks):
        self.events.append(("start", [task.name for task in open_tasks]))

    def stop(self):
        self.events.append(("stop",))


def test_without_a_display_nothing_is_shown(capfd):
    with tasks.open_task("work", total=2) as task:
        task.advance()
        assert task.share == 0.5
    assert capfd.readouterr() == ("", "")


def test_one_display_for_all_tasks_that_are_open():
    recorder = Recorder()
    with tasks.shown_by(recorder):
        with tasks.open_task("outer"), tasks.open_task("inner"):
            pass
        with tasks.open_task("next"):
            pass
    assert recorder.events == [("start", ["outer"]), ("stop",), ("start", ["next"]), ("stop",)]
    with tasks.open_task("later"):
        pass
    assert len(recorder.events) == 4


def test_a_failure_closes_the_task_and_the_display():
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt), tasks.shown_by(recorder), tasks.open_task("work"):
        raise KeyboardInterrupt
    assert recorder.events[-1] == ("stop",)
    with tasks.shown_by(recorder), tasks.open_task("again"):
        assert recorder.events[-1] == ("start", ["again"])


def test_a_display_that_cannot_start_leaves_no_task():
    class Broken(Recorder):
        def start(self, open_tasks):
            raise OSError("no terminal")

    broken = tasks.shown_by(Broken())
    with pytest.raises(OSError, match="no terminal"), broken, tasks.open_task("work"):
        raise AssertionError("must not be reached")
    recorder = Recorder()
    with tasks.shown_by(recorder), tasks.open_task("work"):
        pass
    assert recorder.events[0] == ("start", ["work"])


def test_steps_elsewhere_count_by_name():
    tasks.count("read", 5)  # As in a worker of another process: nothing happens.
    with tasks.open_task("read", unit="events", rate="events") as task:
        threads = [threading.Thread(target=tasks.count, args=("read", 5)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tasks.count("another", 1)
        assert task.done == 20
        tasks.turn_to("read", "sort", total=8, unit="shards")
        tasks.turn_to("read", "sort", total=8, unit="shards")
        tasks.count("sort", 1)
        assert (task.name, task.done, task.total, task.rate) == ("sort", 1, 8, "")


def test_unknown_totals_have_no_share():
    assert tasks.Task("read").share is None
    assert tasks.Task("nothing", 0).share is None
    task = tasks.Task("more than thought", 4)
    task.advance(5)
    assert task.share == 1.0
