"""Tasks of one process that another shows: whole lines of JSON, and no more than change."""

import io
import itertools
import json
import time

import tensorflow as tf

from pipelines.progress import display, relay, tasks


def test_what_is_written_is_what_another_process_shows():
    stream = io.StringIO()
    with (
        tasks.shown_by(relay.JsonLines(stream)),
        tasks.open_task("[3/7] train"),
        tasks.open_task("epoch 2/3", total=40, unit="steps", rate="slots") as task,
    ):
        task.per_step, task.later_steps, task.later_s = 96.5, 40, 2.5
        task.facts["loss"] = tf.constant(5.25)
        task.advance(10)
        wait_for('"done": 10', stream)

    said = [relay.parse(line) for line in stream.getvalue().splitlines()]
    shown = tasks.Task("start")
    relay.copy_to(shown, next(one for one in said if one["done"] == 10))

    assert (shown.name, shown.total, shown.unit) == ("[3/7] train: epoch 2/3", 40, "steps")
    assert (shown.rate, shown.per_step, shown.later_steps) == ("slots", 96.5, 40)
    assert (shown.later_s, shown.facts, shown.share) == (2.5, {"loss": 5.25}, 0.25)
    assert shown.started_s == task.started_s
    assert all(first != second for first, second in itertools.pairwise(said))


def wait_for(text, stream):
    """Until the display has looked."""
    while text not in stream.getvalue():
        time.sleep(0.01)


def test_other_lines_say_nothing_of_a_task():
    good = relay.to_json([tasks.Task("work")])
    whole = json.loads(good)

    assert relay.parse(good) is not None
    for line in ("22:30:09 Training on 2 cores.\n", "", good[:-9], '{"task": 3}', '{"task": {}}'):
        assert relay.parse(line) is None
    del whole["task"]["facts"]
    assert relay.parse(json.dumps(whole)) is None


def test_it_is_a_mode_of_the_display():
    assert isinstance(display.choose("json"), relay.JsonLines)
