"""The place of a job within an epoch: kept with its state, and found again."""

import math
import time

import tensorflow as tf

from pipelines.training.epochs.losses import MeanLosses
from pipelines.training.epochs.stopping import Progress

_STEP_NUMBERS = 10**9
"""Numbers of the checkpoints within an epoch; those of whole epochs are 1, 2, 3."""


class SaveWithinEpochs(tf.keras.callbacks.Callback):
    """Saves the state of the job from time to time, so that an epoch may take a day.

    Comes after `MeanLosses`, whose sums it keeps.
    """

    def __init__(
        self,
        progress: Progress,
        manager: tf.train.CheckpointManager,
        losses: MeanLosses,
        minutes: float | None,
    ):
        """Names what is kept.

        Args:
            progress: Of the job.
            manager: Saves all of its state.
            losses: Sums of the losses since the epoch began.
            minutes: Between two checkpoints, at least; None: there are none within epochs.
        """
        super().__init__()
        self._supports_tf_logs = True  # Keras reads losses from the device otherwise.
        self._progress, self._manager, self._losses = progress, manager, losses
        self._seconds = math.inf if minutes is None else 60 * minutes
        self._saved_s = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        """Counts on from where the job was."""
        self._epoch, self._done = epoch, int(self._progress.steps_done)
        # Keras knows the steps that are left.
        self._steps_per_epoch = self._done + (self.params.get("steps") or 0)

    def on_train_batch_end(self, batch, logs=None):
        """Saves when it is time; after the last step the end of the epoch does."""
        self._done += 1
        if self._done == self._steps_per_epoch or time.monotonic() - self._saved_s < self._seconds:
            return
        progress = self._progress
        progress.steps_done.assign(self._done)
        progress.steps_per_epoch.assign(self._steps_per_epoch)
        progress.loss_totals.assign(self._losses.read())
        self._manager.save(checkpoint_number=(self._epoch + 1) * _STEP_NUMBERS + self._done)
        self._saved_s = time.monotonic()


def first_step(progress: Progress, steps_per_epoch: int) -> int:
    """Steps of the epoch that are done, in a stream that may have other steps than before.

    A job that goes on with another number of replicas is at the same place of the log.
    """
    before = int(progress.steps_per_epoch)
    if before in (0, steps_per_epoch):
        return int(progress.steps_done)
    done = int(progress.steps_done) * steps_per_epoch // before
    progress.steps_done.assign(done)
    return done
