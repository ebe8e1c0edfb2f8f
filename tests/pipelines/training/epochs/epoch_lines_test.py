"""The line of an epoch is short, says what matters, and ends with why the training ended."""

import logging

import pytest

from pipelines.progress.tasks import Task
from pipelines.training.epochs import epoch_lines
from pipelines.training.epochs.stopping import Progress, StoppingRule
from recall.settings.loss import LossConfig
from recall.settings.train import TrainConfig

TIME = "21:12:05 "
"""What the log puts before every line."""


def logs(**values):
    return {"loss": 5.99491, "seq2item": 5.9, "gradient_0": 0.25, "val_recall@10": 0.3885} | values


@pytest.mark.parametrize("num_interests", [1, 4, 16])
def test_the_longest_line_is_short(num_interests):
    shares = {f"val_interest_{k}": 1 / num_interests for k in range(num_interests)}
    line = epoch_lines.describe_epoch(
        998,
        1000,
        logs(loss=123456.7, **{"val_ndcg@10": 0.2032}, **shares),
        best_epoch=997,
        seconds=3 * 3600 + 59 * 60,
        seconds_left=2 * 86_400 - 1,
    )
    assert line == (
        "epoch 998/1000: loss 1.235e+05, ndcg@10 0.2032 (best: epoch 997), "
        "3 h 59 min, at most 48.0 h left"
    )
    assert len(TIME + line) <= epoch_lines.MAX_CHARACTERS


def show(task, progress, max_epochs=3, targets=None):
    return epoch_lines.ShowEpochs(task, progress, StoppingRule(max_epochs, 2), 4, targets)


def test_the_task_goes_along(caplog):
    caplog.set_level(logging.INFO, "absl")
    task, progress = Task("training"), Progress()
    shown = show(task, progress, targets=1200)
    shown.on_epoch_begin(0)
    for step in range(4):
        shown.on_train_batch_end(step, {"loss": 6.0 - step})
    assert (task.name, task.done, task.total, task.unit) == ("epoch 1/3", 4, 4, "steps")
    assert (task.later_steps, task.later_s) == (8, 0)  # two more epochs at most
    assert (task.rate, task.per_step) == ("slots", 300.0)
    assert task.facts == {"loss": 3.0}
    progress.best_epoch.assign(1)
    shown.on_epoch_end(0, logs(**{"val_ndcg@10": 0.2}))
    assert "(best)" in caplog.messages[-1]
    assert caplog.messages[-1].startswith("epoch 1/3: loss 5.9949, ndcg@10 0.2000")
    shown.on_epoch_begin(1)
    assert (task.name, task.done, task.later_steps) == ("epoch 2/3", 0, 0)
    assert task.later_s >= 0


def test_steps_where_the_targets_are_not_known():
    task = Task("training")
    show(task, Progress())
    assert (task.rate, task.per_step) == ("steps", 1.0)


@pytest.mark.parametrize(
    ("done", "best", "why"), [(3, 1, "all are done"), (2, 1, "1 without a better one")]
)
def test_the_last_line_says_why(caplog, done, best, why):
    caplog.set_level(logging.INFO, "absl")
    progress = Progress()
    progress.epochs_done.assign(done)
    progress.best_epoch.assign(best)
    progress.best_value.assign(0.25)
    show(Task("training"), progress).on_train_end()
    assert caplog.messages == [
        f"Ended after {done} epochs ({why}). The best is epoch {best}: validation ndcg@10 0.2500."
    ]


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({"seq2seq_queue": 299}, False),
        ({"seq2seq_queue": 300}, True),
        ({"seq2seq_queue": 300, "seq2seq_anchors": 2}, False),
        ({"seq2seq_queue": 600, "seq2seq_anchors": 2}, True),
        ({"seq2seq_queue": 600, "seq2seq_weight": 0.0}, False),
    ],
)
def test_a_queue_with_ones_own_future_is_told_of(settings, is_told, caplog):
    with caplog.at_level(logging.WARNING):
        epoch_lines.warn_of_long_queue(LossConfig(**settings), num_sequences=300)
    assert ("users meet their own" in caplog.text) == is_told


def test_what_is_done_is_told(caplog):
    with caplog.at_level(logging.INFO):
        epoch_lines.log_done(3, 0.0, 40)
        epoch_lines.log_done(3, 0.25, 40)
    assert [record.getMessage() for record in caplog.records] == [
        "3 of at most 40 epochs are done.",
        "3 of at most 40 epochs and 25% of the next one are done.",
    ]


@pytest.mark.parametrize(("num_users", "said"), [(1, True), (999, True), (1000, False)])
def test_few_validation_users_are_said_before_the_training(num_users, said, caplog):
    epoch_lines.warn_of_few_users(num_users, TrainConfig())
    assert (f"Only {num_users} validation users" in caplog.text) is said
