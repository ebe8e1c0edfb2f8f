"""The losses of steps: their means over an epoch, and an end with a clear error."""

import collections
import math
import time

import tensorflow as tf

from pipelines.training.epochs.stopping import Progress
from recall.errors import InputError
from recall.models.step_numbers import ITEM_LOSS

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
            step = int(self.model.optimizer.iterations.read_value())  # Perhaps one of a replica.
            raise InputError(
                f"The training loss became {loss} at step {step}. "
                "Lower `train.learning_rate` or raise `loss.temperature` and start again."
            )


class StopWithoutTargets(tf.keras.callbacks.Callback):
    """Ends the job after an epoch in which no click counted as a target: nothing is learnt.

    Kinds that count may occur in the held-out clicks alone, and the weights of a log may all
    be 0. For examples with weights; comes behind `MeanLosses`.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Looks at the mean loss of the clicks, which is 0 only where none counts."""
        if (logs or {}).get(ITEM_LOSS) == 0.0:
            raise InputError(
                "No click of the training part counts as a target: the kinds of events that "
                "loss.event_weights and loss.target_kinds leave do not occur there, or the "
                "weights of the log (--weight_column) are 0."
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
