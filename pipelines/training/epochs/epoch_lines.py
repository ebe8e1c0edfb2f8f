"""What people see of a training: how far the epoch is, and a short line about each.

The whole record of an epoch is a line of `training_log.jsonl`, which `SaveProgress`
writes; shares of interests are there and in TensorBoard, not here.
"""

import time
from collections.abc import Mapping

import tensorflow as tf
from absl import logging

from pipelines.evaluation.remarks import FEW_USERS
from pipelines.progress import words
from pipelines.progress.tasks import Task
from pipelines.training.epochs.stopping import Progress, StoppingRule
from recall.models.dssrec import DSSRec
from recall.settings.loss import LossConfig
from recall.settings.train import TrainConfig
from recall.vocabulary import ItemVocabulary

MAX_CHARACTERS = 110
"""Of a line with its time: more is wrapped by most terminals and by viewers of logs."""

_MAX_MESSAGE = MAX_CHARACTERS - len("21:12:05 ")

_BESIDE = "recall@10"
"""What a line has beside the loss and the metric that decides, unless it would be too long."""


class ShowEpochs(tf.keras.callbacks.Callback):
    """Counts steps for the live line, and logs a line per epoch.

    Comes last: it tells what the other callbacks found.
    """

    def __init__(
        self,
        task: Task,
        progress: Progress,
        rule: StoppingRule,
        steps_per_epoch: int,
        targets_per_epoch: int | None,
    ):
        """Describes the work.

        Args:
            task: Is shown while an epoch lasts.
            progress: Of the job.
            rule: When it ends.
            steps_per_epoch: Batches of an epoch.
            targets_per_epoch: Clicks that an epoch trains on, None where nobody knows.
        """
        super().__init__()
        self._supports_tf_logs = True  # Keras reads losses from the device otherwise.
        self._task, self._progress, self._rule = task, progress, rule
        self._steps_per_epoch = steps_per_epoch
        task.rate = "steps" if targets_per_epoch is None else "slots"
        task.per_step = 1.0 if targets_per_epoch is None else targets_per_epoch / steps_per_epoch
        self._has_measured = False
        self._started_s = time.monotonic()
        self._ends_an_epoch = False

    def on_train_begin(self, logs=None):
        """Sees whether it is only the rest of an epoch that was broken off."""
        self._ends_an_epoch = int(self._progress.steps_done) > 0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the bar anew."""
        self._started_s = time.monotonic()
        name = f"epoch {epoch + 1}/{self._rule.max_epochs}"
        self._task.restart(name, self._steps_per_epoch, "steps")
        self._task.advance(int(self._progress.steps_done))
        if not self._has_measured:  # Later what an epoch took, with its validation, tells better.
            self._task.later_steps = (self._rule.max_epochs - epoch - 1) * self._steps_per_epoch

    def on_train_batch_end(self, batch, logs=None):
        """Counts a step; costs an addition."""
        self._task.advance()
        if logs:
            self._task.facts["loss"] = logs["loss"]

    def on_epoch_end(self, epoch, logs=None):
        """Logs the line of the epoch."""
        seconds = time.monotonic() - self._started_s
        epochs_left = self._rule.max_epochs - epoch - 1
        self._has_measured, self._task.later_steps = True, 0
        self._task.later_s = seconds * max(0, epochs_left - 1)
        logging.info(
            "%s",
            describe_epoch(
                epoch + 1,
                self._rule.max_epochs,
                logs,
                stopping_metric=self._rule.metric,
                best_epoch=int(self._progress.best_epoch),
                seconds=seconds,
                seconds_left=seconds * epochs_left,
            ),
        )

    def on_train_end(self, logs=None):
        """Says why the training ended where it did; not after the rest of an epoch."""
        if self._ends_an_epoch and not self._progress.is_finished(self._rule):
            return
        best_epoch, done = int(self._progress.best_epoch), int(self._progress.epochs_done)
        why = (
            "all are done"
            if done >= self._rule.max_epochs
            else f"{done - best_epoch} without a better one"
        )
        logging.info(
            "Ended after %d epochs (%s). The best is epoch %d: validation %s %.4f.",
            done,
            why,
            best_epoch,
            self._rule.metric,
            float(self._progress.best_value),
        )


def describe_epoch(
    epoch: int,
    max_epochs: int,
    logs: Mapping[str, float],
    *,
    stopping_metric: str = "ndcg@10",
    best_epoch: int,
    seconds: float,
    seconds_left: float,
) -> str:
    """The line of one epoch.

    >>> logs = {"loss": 5.99491, "val_ndcg@10": 0.2032, "val_recall@10": 0.3885}
    >>> describe_epoch(20, 20, logs, best_epoch=3, seconds=6.1, seconds_left=0)
    'epoch 20/20: loss 5.9949, ndcg@10 0.2032 (best: epoch 3), recall@10 0.3885, 6.1 s'
    """
    values = {name.removeprefix("val_"): float(value) for name, value in logs.items()}
    metric = "best" if best_epoch == epoch else f"best: epoch {best_epoch}"
    times = [words.duration(seconds)]
    if epoch < max_epochs:
        times.append(f"at most {words.rough_duration(seconds_left)} left")
    shown = ("loss", stopping_metric)
    for names in (dict.fromkeys([*shown, _BESIDE]), shown):
        facts = [words.fact(name, values[name]) for name in names if name in values]
        facts = [f"{fact} ({metric})" if stopping_metric in fact else fact for fact in facts]
        line = f"epoch {epoch}/{max_epochs}: {', '.join([*facts, *times])}"
        if len(line) <= _MAX_MESSAGE:
            break
    return line


def log_done(epochs: int, part: float, max_epochs: int) -> None:
    """How far an earlier call came; `part` is that of the epoch it was in, in [0, 1)."""
    of_next = f" and {part:.0%} of the next one" if part else ""
    logging.info("%d of at most %d epochs%s are done.", epochs, max_epochs, of_next)


def log_sizes(
    num_sequences: int,
    steps_per_epoch: int,
    model: DSSRec,
    vocabulary: ItemVocabulary,
) -> None:
    """What the training is about, in numbers."""
    logging.info(
        "%d sequences, %d steps per epoch, %d items, %d weights, dropout %.2f.",
        num_sequences,
        steps_per_epoch,
        vocabulary.num_items,
        sum(weight.shape.num_elements() for weight in model.trainable_weights),
        model.user_tower.dropout_rate,
    )


def warn_of_few_users(num_held_out: int, config: TrainConfig) -> None:
    """Says when early stopping follows chance more than the model."""
    num_users = min(num_held_out, config.validation_users)
    if num_users < FEW_USERS:
        logging.warning(
            "Only %d validation users: their %s, by which training stops and the best epoch is "
            "chosen, is uncertain. Hold out more users, or see its standard error in the report of "
            "the evaluation.",
            num_users,
            config.stopping_metric.replace("ndcg", "NDCG"),
        )


def warn_of_long_queue(config: LossConfig, num_sequences: int) -> None:
    """Says when the futures of a whole epoch fit the queue: then users meet their own in it."""
    of_an_epoch = num_sequences * config.seq2seq_anchors
    if config.seq2seq_weight > 0 and config.seq2seq_queue >= of_an_epoch:
        logging.warning(
            "loss.seq2seq_queue=%d holds the futures of a whole epoch (%d): users meet their own "
            "among the negatives of seq2seq. Make it shorter.",
            config.seq2seq_queue,
            of_an_epoch,
        )
