"""The line of a task: what it says, and that it is never wider than the terminal."""

import pytest

from pipelines.progress import lines
from pipelines.progress.tasks import Task


def training(done=45):
    """Epoch 3 of a training, 10 s old."""
    task = Task("epoch 3/20", 78, "steps", rate="slots")
    task.started_s, task.per_step, task.done = 100.0, 300.0, done
    task.facts["loss"] = 5.21341
    return task


def test_pace_is_that_of_the_last_seconds():
    """The first step of a training takes long: it must not count for ever."""
    task, pace = training(done=0), lines.Pace()
    assert pace.look(task, 100.0) is None
    for second in range(20, 60):
        task.done = second - 19
        speed = pace.look(task, 100.0 + second)
    assert speed == pytest.approx(1.0)  # 40 steps in 60 s would be .67


def test_a_restarted_task_has_a_new_pace():
    task, pace = training(), lines.Pace()
    assert pace.look(task, 110.0) is None
    task.done += 9
    assert pace.look(task, 112.0) == pytest.approx(4.5)
    task.restart("epoch 4/20", 78, "steps")
    task.started_s = 200.0
    assert pace.look(task, 201.0) is None
    task.done = 6
    assert pace.look(task, 203.0) is None
    task.done = 8
    assert pace.look(task, 204.0) == pytest.approx(2.0)


def test_time_left_counts_what_comes_after():
    task = training()
    assert lines.seconds_left(task, 4.5, 110.0) == pytest.approx((78 - 45) / 4.5)
    task.later_s = 100.0
    assert lines.seconds_left(task, 4.5, 110.0) == pytest.approx(33 / 4.5 + 100)
    task.later_steps = 45
    assert lines.seconds_left(task, 4.5, 110.0) == pytest.approx((33 + 45) / 4.5 + 100)
    assert lines.seconds_left(task, None, 110.0) is None
    read = Task("read", None, "events")
    assert lines.seconds_left(read, 4.5, 110.0) is None
    read.started_s, read.known_share = 100.0, 0.2
    assert lines.seconds_left(read, None, 110.0) == pytest.approx(40.0)
    assert "━" in lines.as_line([read], None, 110.0, 80)


def test_words_for_a_log():
    task = training()
    task.later_s = 300.0
    assert lines.in_words([Task("[2/6] train"), task], 4.5, 110.0) == (
        "[2/6] train: epoch 3/20: 45 of 78 steps, 1,350 slots/s, loss 5.2134, at most 5 min left"
    )
    assert lines.in_words([task], None, 110.0) == (
        "epoch 3/20: 45 of 78 steps, loss 5.2134, 10 s so far"
    )
    bare = Task("build the index")
    bare.started_s = 100.0
    assert lines.in_words([bare], None, 167.0) == "build the index: 67 s so far"


def test_a_wide_line_has_everything():
    line = lines.as_line([Task("[2/6] train"), training(39)], 3.9, 110.0, 120)
    assert line == (
        "[2/6] train: epoch 3/20  " + "━" * 16 + "─" * 16 + "  39/78 steps  1,170 slots/s  "
        "loss 5.2134  10 s left"
    )


def test_without_the_characters_of_a_bar():
    line = lines.as_line([training(39)], 3.9, 110.0, 120, ascii_only=True)
    assert "#" * 16 + "." * 16 in line
    assert line.isascii()


@pytest.mark.parametrize("width", range(0, 130))
@pytest.mark.parametrize("total", [78, None])
def test_never_wider_than_the_terminal(width, total):
    task = training()
    task.total, task.later_s = total, 300.0
    line = lines.as_line([Task("[2/6] train"), task], 4.5, 110.0, width)
    assert len(line) <= width
    assert "\n" not in line


def test_what_matters_less_goes_first():
    tasks = [Task("[2/6] train"), training()]
    line = lines.as_line(tasks, 4.5, 110.0, 66)
    assert "slots/s" not in line
    assert "loss" in line
    line = lines.as_line(tasks, 4.5, 110.0, 48)
    assert "loss" not in line
    assert line.endswith("left")
    assert lines.as_line(tasks, 4.5, 110.0, 25) == "epoch 3/20  45/78 steps"
    assert lines.as_line(tasks, 4.5, 110.0, 12) == "epoch 3/2..."
