"""How far a job has come, and when it stops."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from recall.settings.train import TrainConfig

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

    @property
    def done(self) -> tuple[int, int]:
        """Epochs that are done, and steps of the next one."""
        return int(self.epochs_done), int(self.steps_done)

    def finish_epoch(self, epoch: int) -> None:
        """Epoch `epoch`, counted from 0, is done, and none has begun."""
        self.epochs_done.assign(epoch + 1)
        self.steps_done.assign(0)
        self.loss_totals.assign(tf.zeros_like(self.loss_totals))

    def is_finished(self, rule: StoppingRule) -> bool:
        """Whether the job has run its epochs or has stopped getting better."""
        epochs_done, best_epoch = int(self.epochs_done), int(self.best_epoch)
        return epochs_done >= rule.max_epochs or epochs_done - best_epoch >= rule.patience
