"""The state of a job and its log after each epoch."""

import json
import time
from pathlib import Path

import tensorflow as tf

from pipelines.training.epochs.stopping import Progress, StoppingRule
from pipelines.training.placement.strategies import Placement


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
