"""What happens at the end of an epoch: validate, keep the best, save, stop."""

import collections
import json
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from pipelines.evaluation.lists import evaluate_user_vectors
from pipelines.evaluation.vectors import (
    USAGE_USERS,
    build_user_vector_function,
    compute_item_vectors,
    measure_interest_usage,
    measure_prototype_shares,
    sample_users,
)
from pipelines.training.placement.strategies import Placement
from pipelines.training.weight_averaging import WeightAverage
from recall.config import RecallConfig
from recall.errors import InputError
from recall.metrics.debiased import compute_user_debiased
from recall.metrics.usage import compute_perplexity, count_dead
from recall.settings.train import TrainConfig

_CUT_OFFS = (10, 50)
_METRICS = ("recall@10", "ndcg@10", "recall@50")
_PROTOTYPES = ("prototype_perplexity", "dead_prototypes")
"""Of the routing of the training clicks, where items are routed to prototypes."""

_PATIENCE, _PATIENCE_USERS = 5, 10_000
"""Epochs without a better metric before a job stops, and the validation users they suit."""


class StoppingRule(NamedTuple):
    """When a job ends.

    Attributes:
        max_epochs: Epochs at most.
        patience: Epochs without a better validation metric.
        metric: Which one.
    """

    max_epochs: int
    patience: int
    metric: str = "ndcg@10"


def choose_stopping_rule(config: TrainConfig, num_users: int) -> StoppingRule:
    """When a job stops; fewer validation users mean a noisier metric and more patience.

    Args:
        config: The settings; `early_stopping_patience` counts as it is, if it is set.
        num_users: Users of the validation split.
    """
    patience = config.early_stopping_patience
    if patience is None:
        num_users = max(1, min(num_users, config.validation_users))
        patience = math.ceil(_PATIENCE * max(1.0, math.sqrt(_PATIENCE_USERS / num_users)))
    return StoppingRule(config.max_epochs, patience, config.stopping_metric)


class Progress(tf.Module):
    """How far a job has come; saved with every checkpoint.

    Attributes:
        epochs_done: Finished epochs.
        best_epoch: The epoch, counted from 1, with the best validation metric.
        best_value: That metric.
        steps_done: Steps of the epoch that is not finished.
        steps_per_epoch: Of how many; 0 before it was asked for.
        loss_totals: `[num_losses]`, their losses by name, summed.
    """

    def __init__(self, num_losses: int = 0):
        super().__init__()
        self.steps_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.steps_per_epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.loss_totals = tf.Variable(np.zeros(num_losses), trainable=False)
        self.epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best_epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best_value = tf.Variable(-1.0, dtype=tf.float64, trainable=False)

    def finish_epoch(self, epoch: int) -> None:
        """Epoch `epoch`, counted from 0, is done, and none has begun."""
        self.epochs_done.assign(epoch + 1)
        self.steps_done.assign(0)
        self.loss_totals.assign(tf.zeros_like(self.loss_totals))

    def is_finished(self, rule: StoppingRule) -> bool:
        """Whether the job has run its epochs or has stopped getting better."""
        epochs_done, best_epoch = int(self.epochs_done), int(self.best_epoch)
        return epochs_done >= rule.max_epochs or epochs_done - best_epoch >= rule.patience


_SECONDS_BETWEEN_LOOKS = 1.0
"""To look at a loss means to wait for the device; one that is no number stays so."""


class StopOnNan(tf.keras.callbacks.Callback):
    """Ends the job with a clear error when the loss is no number."""

    def __init__(self):
        super().__init__()
        self._supports_tf_logs = True  # Keras reads losses from the device otherwise.
        self._last_look = -math.inf

    def on_train_batch_end(self, batch, logs=None):
        """Checks the loss of a step now and then."""
        if time.monotonic() - self._last_look < _SECONDS_BETWEEN_LOOKS:
            return
        self._check(logs)
        self._last_look = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Checks the loss of the last step."""
        self._check(logs)

    def _check(self, logs) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise InputError(
                f"The training loss became {loss} at step {int(self.model.optimizer.iterations)}. "
                "Lower `train.learning_rate` or raise `loss.temperature` and start again."
            )


_MOST_UNREAD = 512
"""Steps whose losses wait on the device to be read together."""


class MeanLosses(tf.keras.callbacks.Callback):
    """Puts mean losses into the logs of an epoch; Keras leaves those of its last step."""

    def __init__(self, progress: Progress | None = None):
        """Counts on from what `progress` says of an epoch that has begun."""
        super().__init__()
        self._supports_tf_logs = True
        self._progress = progress

    def on_epoch_begin(self, epoch, logs=None):
        """Starts counting."""
        self._totals = collections.Counter()
        self._num_steps, self._before = 0, []
        if self._progress is not None and int(self._progress.steps_done) > 0:
            self._num_steps = int(self._progress.steps_done)
            self._before = self._progress.loss_totals.numpy().tolist()
        self._unread = []

    def on_train_batch_end(self, batch, logs=None):
        """Adds the losses of a step."""
        self._unread.append(logs or {})
        self._num_steps += 1
        if len(self._unread) == _MOST_UNREAD:
            self._read()

    def _read(self) -> None:
        """Waits for the losses."""
        if self._before and self._unread:
            self._totals.update(dict(zip(sorted(self._unread[0]), self._before, strict=True)))
            self._before = []
        for losses in self._unread:
            self._totals.update({name: float(value) for name, value in losses.items()})
        self._unread = []

    def read(self) -> list[float]:
        """The sums of the losses since the epoch began, by name."""
        self._read()
        return [total for _, total in sorted(self._totals.items())]

    def on_epoch_end(self, epoch, logs=None):
        """Replaces the losses of the last step."""
        self._read()
        for name, total in self._totals.items():
            logs[name] = total / self._num_steps


class Validation(tf.keras.callbacks.Callback):
    """Evaluates the averaged weights after each epoch, and keeps those of the best one.

    Adds metrics and the usage of interests to the logs of the epoch. Of several processes
    the chief evaluates, and the others wait for what it found.
    """

    def __init__(
        self,
        held_out: HeldOutUsers,
        config: RecallConfig,
        num_items: int,
        average: WeightAverage,
        progress: Progress,
        best_manager: tf.train.CheckpointManager,
        placement: Placement,
    ):
        super().__init__()
        self._placement = placement
        self._average = average
        self._progress = progress
        self._best_manager = best_manager
        self._held_out = sample_users(held_out, config.train.validation_users, config.train.seed)
        self._config = config
        self.stopping_metric = config.train.stopping_metric
        self._num_items = num_items
        self._usage_sample = sample_users(held_out, USAGE_USERS, config.train.seed)
        self._compute_user_vectors = None

    def on_train_begin(self, logs=None):
        """Compiles the user tower once."""
        self._compute_user_vectors = build_user_vector_function(self.model)

    def on_epoch_end(self, epoch, logs=None):
        """Updates the average, evaluates it over the full catalogue, saves the best."""
        self._average.update(epoch)
        with self._average.applied():
            measured = dict.fromkeys(self._names(), 0.0)
            if self._placement.is_chief:
                measured = self._measure()
            logs.update(self._placement.from_chief(measured))
            value = float(logs[f"val_{self.stopping_metric}"])
            if value > float(self._progress.best_value):
                self._progress.best_value.assign(value)
                self._progress.best_epoch.assign(epoch + 1)
                if self._placement.is_chief:
                    self._best_manager.save(checkpoint_number=epoch + 1)

    def _names(self) -> list[str]:
        """Of what `_measure` returns, in its order."""
        num_interests = self.model.user_tower.num_interests
        usage = [f"val_interest_{k}" for k in range(num_interests)] if num_interests > 1 else []
        if self.model.user_tower.num_prototypes:
            usage += _PROTOTYPES
        return [*(f"val_{name}" for name in self._metrics), *usage]

    @property
    def _metrics(self) -> tuple[str, ...]:
        """Those of every epoch, and the one that decides."""
        return tuple(dict.fromkeys([*_METRICS, self.stopping_metric]))

    def measure(self) -> dict[str, float]:
        """What the averaged weights give now."""
        with self._average.applied():
            return self._measure()

    def _measure(self) -> dict[str, float]:
        """Validation metrics, the share of the clicks of each interest, prototypes in use."""
        item_vectors = compute_item_vectors(self.model, self._num_items)
        max_length = self._config.model.max_history_length
        result = evaluate_user_vectors(
            self._compute_user_vectors,
            item_vectors,
            self._held_out,
            max_history_length=max_length,
            ks=_CUT_OFFS,
            exclude_seen=self._config.evaluation.exclude_seen,
        )
        metrics = result.metrics
        if self.stopping_metric not in metrics:
            debiased = compute_user_debiased(
                result.top_rows,
                lists.to_rows(self._held_out.positives),
                self.model.item_tower.item_counts,
                _CUT_OFFS,
            )
            metrics = metrics | {name: metric.total() for name, metric in debiased.items()}
        measured = {f"val_{name}": metrics[name] for name in self._metrics}
        if self.model.user_tower.num_interests > 1:
            sample = self._usage_sample
            user_vectors = self._compute_user_vectors(sample.histories.last_padded(max_length))
            usage = measure_interest_usage(user_vectors, item_vectors, sample.positives)
            measured |= {f"val_interest_{k}": share for k, share in enumerate(usage.tolist())}
        if self.model.user_tower.num_prototypes:
            shares = measure_prototype_shares(self.model)
            values = compute_perplexity(shares), float(count_dead(shares))
            measured |= dict(zip(_PROTOTYPES, values, strict=True))
        return measured


class SaveProgress(tf.keras.callbacks.Callback):
    """Saves the state of the job after each epoch, and stops it in time.

    Comes after `Validation`: the best weights are written before the state that
    names them, so whatever moment the job is killed at, a resumed one redoes at
    most what came after the latest state.
    """

    def __init__(
        self,
        progress: Progress,
        manager: tf.train.CheckpointManager,
        rule: StoppingRule,
        log_path: Path,
        placement: Placement,
    ):
        super().__init__()
        self._placement = placement
        self._progress = progress
        self._manager = manager
        self._stopping_rule = rule
        self._log_path = log_path
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock of the epoch."""
        self._started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Writes the line of the log and the state; then the job may end."""
        self._progress.finish_epoch(epoch)
        if self._placement.is_chief:
            self._append_to_log(epoch, logs)
            self._manager.save(checkpoint_number=epoch + 1)
        if self._progress.is_finished(self._stopping_rule):
            self.model.stop_training = True

    def _append_to_log(self, epoch: int, logs: dict[str, float]) -> None:
        """Adds the epoch as one JSON line, in place of an earlier try at it."""
        line = {"epoch": epoch + 1, "seconds": round(time.monotonic() - self._started, 2)}
        line |= {name: round(float(value), 6) for name, value in logs.items()}
        earlier = []
        if self._log_path.exists():
            earlier = self._log_path.read_text(encoding="utf-8").splitlines()[:epoch]
        partial = self._log_path.with_suffix(".partial")
        partial.write_text("\n".join([*earlier, json.dumps(line)]) + "\n", encoding="utf-8")
        partial.replace(self._log_path)
