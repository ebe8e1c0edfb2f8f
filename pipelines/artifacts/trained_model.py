"""A trained model on disk: built, and loaded with the weights of its best epoch."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pipelines.artifacts import records
from recall.config import RecallConfig
from recall.errors import InputError
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from recall.vocabulary import ItemVocabulary
from serving.release import paths

# TensorFlow reports a file that is too short as an IndexError.
DAMAGED_CHECKPOINT = (tf.errors.OpError, AssertionError, IndexError, ValueError)
"""What reading a checkpoint raises where it is damaged."""


class _FallingRate(tf.keras.optimizers.schedules.CosineDecay):
    """Falls to 0 over the steps of a job, which may begin at any step of the optimiser."""

    def __init__(self, learning_rate: float, num_steps: int, first_step: int):
        super().__init__(learning_rate, num_steps)
        self._first_step = first_step

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of a step of the optimiser."""
        return super().__call__(step - self._first_step)


class TrainedModel(NamedTuple):
    """A model with its best weights, and what it was trained with."""

    model: DSSRec
    config: RecallConfig
    vocabulary: ItemVocabulary


def build_model(
    config: RecallConfig, vocabulary: ItemVocabulary, num_steps: int = 1, first_step: int = 0
) -> DSSRec:
    """A compiled model with all its weights and optimizer slots created.

    Args:
        config: All settings; `train.jit_compile` compiles steps on `PackedBatch`es.
        vocabulary: The catalogue.
        num_steps: Steps of the whole job, over which the learning rate falls.
        first_step: Steps of the optimiser before the job.
    """
    model = DSSRec(config, vocabulary)
    learning_rate = config.train.learning_rate
    if config.train.learning_rate_schedule == "cosine":
        learning_rate = _FallingRate(learning_rate, num_steps, first_step)
    is_compiled = bool(config.train.jit_compile)
    optimizer = RowwiseAdam(learning_rate, has_static_shapes=is_compiled)
    model.compile(optimizer=optimizer, jit_compile=is_compiled)
    model(tf.zeros([1, 1], tf.int64))
    model.optimizer.build(model.trainable_variables)
    return model


def best_manager(model: DSSRec, checkpoints_root: Path) -> tf.train.CheckpointManager:
    """Checkpoints of the weights alone, the newest being the best."""
    # The model would bring its optimizer along: three times the bytes.
    towers = tf.train.Checkpoint(user_tower=model.user_tower, item_tower=model.item_tower)
    checkpoint = tf.train.Checkpoint(model=towers)
    return tf.train.CheckpointManager(checkpoint, str(checkpoints_root / "best"), max_to_keep=1)


def load_model(model_dir: str | Path) -> TrainedModel:
    """Loads a trained model with the weights of its best epoch.

    Raises:
        InputError: The folder holds no finished model, or it is damaged.
    """
    records.require(model_dir, "train")
    config = records.read_config(model_dir)
    vocabulary = records.read_vocabulary(model_dir)
    refuse_earlier(model_dir, config, vocabulary)
    # Whatever a GPU computed its steps in.
    exact = dataclasses.replace(config.train, compute_dtype="float32")
    model = DSSRec(dataclasses.replace(config, train=exact), vocabulary)
    model(tf.zeros([1, 1], tf.int64))
    _restore_best(model, Path(model_dir))
    return TrainedModel(model, config, vocabulary)


def refuse_earlier(model_dir: str | Path, config: RecallConfig, vocabulary: ItemVocabulary) -> None:
    """Refuses a model whose weights this version does not have any more.

    Raises:
        InputError: It knows categories that no feature of its items stands for, or its items
            have features that went through a network.
    """
    if not config.features.of("item"):
        return
    if vocabulary.features is None:
        what = "model.use_categories had weights of its own"
        jobs = "`recall ingest` and `recall train`"
    elif not records.had_setting(model_dir, "features", "id_shrinkage"):
        what, jobs = "network for features of items had other weights", "`recall train`"
    else:
        return
    raise InputError(
        f"{model_dir} was trained by an earlier version of recall, whose {what}. Its releases are "
        f"served as before; for a new one run {jobs} again."
    )


def _restore_best(model: DSSRec, model_dir: Path) -> None:
    """Gives the weights the values of the best epoch.

    Raises:
        InputError: There are none, or they are damaged.
    """
    remedy = records.how_to_renew(model_dir, "train")
    with paths.without_pattern(model_dir) as checkpoints_root:
        manager = best_manager(model, checkpoints_root)
        if manager.latest_checkpoint is None:
            raise InputError(f"{model_dir}/best holds no checkpoint. {remedy}")
        try:
            status = manager.checkpoint.restore(manager.latest_checkpoint).expect_partial()
            status.assert_existing_objects_matched()
        except DAMAGED_CHECKPOINT as error:
            raise InputError(f"{model_dir}/best is damaged. {remedy}") from error
