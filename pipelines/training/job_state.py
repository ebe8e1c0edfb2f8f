"""The state of a training job in a checkpoint that is read one variable at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from pipelines.artifacts.trained_model import DAMAGED_CHECKPOINT
from recall.errors import InputError

CHECKPOINTS_NAME = "checkpoints"
"""Folder of a model that holds the state of its training."""

PROGRESS = "progress"
"""The part that says how far the job is."""

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What TensorFlow adds to the name of a variable in a checkpoint."""


class JobState:
    """Variables that a job saves after every epoch and goes on from.

    `tf.train.Checkpoint.restore` holds everything that it reads beside the
    variables that get it: with 10^7 items a resumed job would need twice the
    memory of the one that was interrupted. Here no more than one variable is
    held twice.

    Attributes:
        variables: Flat name -> variable; the name is that of its part and a number.
        checkpoint: All of them, for a `tf.train.CheckpointManager`.
    """

    def __init__(self, parts: Mapping[str, Sequence[tf.Variable]]):
        """Names the variables of each part by their order, which must not change.

        Args:
            parts: Name of the part -> its variables.
        """
        self.variables = {
            f"{part}_{number}": variable
            for part, variables in parts.items()
            for number, variable in enumerate(variables)
        }
        self.checkpoint = tf.train.Checkpoint(**self.variables)

    def restore(self, path: str) -> None:
        """Gives every variable its value in the checkpoint `path`.

        Raises:
            AssertionError: The checkpoint lacks a variable.
            ValueError: A variable has another shape there.
            IndexError, tf.errors.OpError: A file of it is damaged or missing.
        """
        for name, variable in self.variables.items():
            single = tf.train.Checkpoint(**{name: variable})
            single.read(path).expect_partial().assert_existing_objects_matched()


def with_counter(manager: tf.train.CheckpointManager) -> tf.train.CheckpointManager:
    """Makes the variable that counts what is saved now.

    Made when the chief alone saves, under a strategy, it would wait for the other processes.
    """
    assert manager.checkpoint.save_counter is not None
    return manager


def restore_latest(state: JobState, manager: tf.train.CheckpointManager, model_dir: Path) -> None:
    """Goes on from the newest checkpoint, if there is one.

    Raises:
        InputError: It is damaged, or has other variables.
    """
    if manager.latest_checkpoint is None:
        return
    try:
        state.restore(manager.latest_checkpoint)
    except DAMAGED_CHECKPOINT as error:
        raise InputError(
            f"{model_dir}/checkpoints is damaged or of another version of recall: the training "
            f"cannot go on. Remove the folder {model_dir} to start anew."
        ) from error
