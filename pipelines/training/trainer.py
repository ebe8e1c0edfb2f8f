"""Trains a model on ingested examples, resumably."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from absl import logging

from pipelines.artifacts import provenance, records
from pipelines.artifacts.trained_model import (
    TrainedModel,
    best_manager,
    build_model,
    load_model,
)
from pipelines.progress import tasks
from pipelines.training import (
    devices,
    input_pipeline,
    job_state,
    model_folder,
    threads,
    training_examples,
)
from pipelines.training.epochs import curves, epoch_lines, mid_epoch, validation_users
from pipelines.training.epochs.losses import MeanLosses, StopOnNan, StopWithoutTargets
from pipelines.training.epochs.saving import SaveProgress
from pipelines.training.epochs.stopping import Progress, StoppingRule, choose_stopping_rule
from pipelines.training.epochs.validation import Validation
from pipelines.training.epochs.weight_averaging import WeightAverage
from pipelines.training.job_state import CHECKPOINTS_NAME, PROGRESS, JobState
from pipelines.training.packed_input import PackedExamples
from pipelines.training.placement import agreement, host_processes, standstill, strategies
from pipelines.training.placement.strategies import Placement
from pipelines.training.training_examples import PaddedExamples, open_examples
from pipelines.training.warm_start import WarmStart, WriteStart, find_earlier_model, open_warm_start
from recall.config import RecallConfig
from recall.errors import InputError
from recall.models.dssrec import DSSRec
from recall.vocabulary import ItemVocabulary
from serving.release import paths


def train_record(
    config: RecallConfig, examples_dir: str | Path, warm_start: str | Path | None = None
) -> dict[str, Any]:
    """The record of what makes a trained model; arguments as in `train_and_evaluate`."""
    inputs = {"examples": records.checksum_of_record(examples_dir, "ingest")}
    if warm_start is not None:
        inputs["warm_start"] = records.checksum_of_record(find_earlier_model(warm_start), "train")
    return records.build_record("train", train_settings(config), inputs)


def train_settings(config: RecallConfig) -> dict[str, Any]:
    """The settings that make a trained model."""
    features = ["features"] * bool(config.features.columns)
    settings = config.to_dict(["model", "loss", "train", *features])
    return settings | {"exclude_seen": config.evaluation.exclude_seen}


@provenance.measured
def train_and_evaluate(
    config: RecallConfig,
    examples_dir: str | Path,
    model_dir: str | Path,
    *,
    warm_start: str | Path | None = None,
    overwrite: bool = False,
) -> TrainedModel:
    """Trains until validation NDCG@10 stops getting better.

    An interrupted job goes on at the epoch it was in. A folder that holds a
    model of the same examples but other settings is trained anew.

    Args:
        config: All settings; `ingest` and `index` are not used.
        examples_dir: The folder that `recall ingest` wrote.
        model_dir: Folder of checkpoints, best weights, logs and vocabulary.
        warm_start: Folder of a run, or of a model, whose training this one goes on from.
        overwrite: Whether a model of other examples may be replaced.

    Returns:
        The model with the weights of its best epoch.

    Raises:
        InputError: Examples are missing, damaged, of another history length or without
            the categories that the model is to learn from, the warm start does not fit,
            `model_dir` belongs to other examples or to a training of another version, memory is
            too small, or the loss became NaN.
    """
    model_dir = Path(model_dir)
    strategies.check(config, has_warm_start=warm_start is not None)
    training_examples.check_history_length(config, examples_dir)
    record = train_record(config, examples_dir, warm_start)
    if records.is_current(model_dir, record):
        logging.info("%s is up to date.", model_dir)
        return load_model(model_dir)
    if strategies.starts_processes(config):
        host_processes.train(
            config, examples_dir, model_dir, warm_start=warm_start, overwrite=overwrite
        )
        _require_finished(model_dir, record)
        records.write_record(model_dir, record)  # The chief knows what it took itself alone.
        devices.prepare(config)
        return load_model(model_dir)
    devices.prepare(config)
    threads.share_cores_between_operations()
    if strategies.serve_chief():
        _require_finished(model_dir, record)
        return load_model(model_dir)
    vocabulary = records.read_vocabulary(examples_dir)
    training_examples.check_features(config, vocabulary, examples_dir)
    start = open_warm_start(warm_start, config, vocabulary, model_dir)
    placement = agreement.open_placement(config, record)
    is_chief = placement.is_chief
    with (
        model_folder.held(model_dir, record, overwrite=overwrite, is_chief=is_chief),
        _naming_damage(examples_dir),
        devices.enough_memory(config, placement.num_replicas),
        strategies.losing_no_peer(),
        standstill.ending_process(placement.cluster, config.train.stall_minutes),
        paths.without_pattern(model_dir) as checkpoints_root,
    ):
        if is_chief:
            records.write_config(model_dir, config)
            records.write_vocabulary(model_dir, vocabulary.without_examples())
        _fit(config, vocabulary, Path(examples_dir), model_dir, checkpoints_root, start, placement)
        if is_chief:
            records.write_record(model_dir, record)
        placement.wait_for_all()
    return load_model(model_dir)


@contextlib.contextmanager
def _naming_damage(examples_dir: str | Path) -> Iterator[None]:
    """Names the file of examples that is broken, cut off or something else, where one was read.

    Raises:
        InputError: One was.
    """
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.FailedPreconditionError,
        tf.errors.InvalidArgumentError,
    ) as error:
        damaged = input_pipeline.find_damaged_file(examples_dir)
        if damaged is None:
            raise
        remedy = records.how_to_renew(examples_dir, "ingest")
        raise InputError(f"{damaged} is damaged. {remedy}") from error


def _require_finished(model_dir: Path, record: dict[str, Any]) -> None:
    """Refuses a model that the chief of several processes has left unfinished.

    Raises:
        InputError: It has.
    """
    if not records.is_current(model_dir, record):
        raise InputError(
            f"The chief has ended without a finished model in {model_dir}. Start all "
            "processes again: the job goes on from its last checkpoint."
        )


class _Training(NamedTuple):
    """How far a job has come, as its newest checkpoint says, and what saves that."""

    progress: Progress
    average: WeightAverage
    manager: tf.train.CheckpointManager


def _fit(
    config: RecallConfig,
    vocabulary: ItemVocabulary,
    examples_dir: Path,
    model_dir: Path,
    checkpoints_root: Path,
    start: WarmStart | None,
    placement: Placement,
) -> None:
    """Runs the epochs that are left; `checkpoints_root` is the folder without a pattern in it."""
    config = devices.complete(config, placement.num_replicas, may_compile=placement.is_synchronous)
    tf.keras.utils.set_random_seed(config.train.seed)
    examples = open_examples(config, examples_dir, placement.share)
    num_steps = examples.steps_per_epoch * config.train.max_epochs
    with placement.strategy.scope():
        model = build_model(config, vocabulary, num_steps, start.first_step if start else 0)
    training = _open_training(model, config, model_dir, checkpoints_root, start)
    agreement.require_state(placement, training.progress.done)
    held_out = validation_users.read(examples_dir, config)
    stopping_rule = choose_stopping_rule(config.train, held_out.num_users)
    epoch_lines.warn_of_few_users(held_out.num_users, config.train)
    if training.progress.is_finished(stopping_rule):
        return
    first_epoch = int(training.progress.epochs_done)
    step = mid_epoch.first_step(training.progress, examples.calls_per_epoch)
    part = step / examples.calls_per_epoch
    epoch_lines.log_done(first_epoch, part, stopping_rule.max_epochs)
    # Dropout of a resumed job must not repeat that of the first epochs.
    tf.random.set_seed(config.train.seed + first_epoch)
    data = examples.stream(first_epoch, step)
    epoch_lines.warn_of_long_queue(config.loss, data.num_sequences)
    epoch_lines.log_sizes(data.num_sequences, examples.steps_per_epoch, model, vocabulary)
    logging.info("%s", devices.describe(config, placement.describe()))
    validation = Validation(
        held_out,
        config,
        vocabulary.num_items,
        training.average,
        training.progress,
        job_state.with_counter(best_manager(model, checkpoints_root)),
        placement,
    )
    written = [curves.WriteCurves(model_dir, config)]
    if start and not (first_epoch or step):
        written.insert(0, WriteStart(start, validation, model_dir))
    written *= placement.is_chief
    kept = [
        *_callbacks(training, validation, stopping_rule, model_dir, placement, config, data),
        *written,
    ]
    _run_epochs(model, examples, data, kept, training.progress, stopping_rule, placement)


def _run_epochs(
    model: DSSRec,
    examples: PackedExamples | PaddedExamples,
    data: input_pipeline.TrainingData,
    kept: list[tf.keras.callbacks.Callback],
    progress: Progress,
    stopping_rule: StoppingRule,
    placement: Placement,
) -> None:
    """Runs the epochs that are left, with a line about each."""
    first = progress.done

    def read(*place: int, **reader: tf.Tensor) -> tf.data.Dataset:
        if place == first and not reader:
            return data.dataset
        return examples.stream(*place, **reader).dataset

    with tasks.open_task("training") as task:
        shown = epoch_lines.ShowEpochs(
            task, progress, stopping_rule, data.steps_per_epoch, data.num_targets
        )
        placement.fit(
            model,
            read,
            epochs=range(first[0], stopping_rule.max_epochs),
            first_step=first[1],
            steps_per_epoch=data.steps_per_epoch,
            callbacks=[*kept, shown],
        )


def _open_training(
    model: DSSRec,
    config: RecallConfig,
    model_dir: Path,
    checkpoints_root: Path,
    start: WarmStart | None,
) -> _Training:
    """The state of the job, restored where there is a checkpoint, else that of a warm start.

    Raises:
        InputError: The checkpoint is damaged.
    """
    progress = Progress(len(model.report_names))
    average = WeightAverage(
        model.trainable_variables,
        config.train.averaging_window,
        start.epochs_before if start else 0,
    )
    state = JobState(
        {
            "weight": model.variables,
            "optimizer": model.optimizer.variables,
            "average": average.averages,
            PROGRESS: progress.variables,
        }
    )
    manager = tf.train.CheckpointManager(
        state.checkpoint, str(checkpoints_root / CHECKPOINTS_NAME), max_to_keep=1
    )
    if start and manager.latest_checkpoint is None:
        start.apply(model, average, state)
    job_state.restore_latest(state, manager, model_dir)
    return _Training(progress, average, job_state.with_counter(manager))


def _callbacks(
    training: _Training,
    validation: Validation,
    stopping_rule: StoppingRule,
    model_dir: Path,
    placement: Placement,
    config: RecallConfig,
    data: input_pipeline.TrainingData,
) -> list[tf.keras.callbacks.Callback]:
    """What happens at the end of steps and epochs, in this order."""
    losses = MeanLosses(training.progress)
    # Workers that do not wait for each other never stand still within an epoch.
    may_save = placement.is_chief and placement.is_synchronous
    minutes = config.train.checkpoint_minutes if may_save else None
    return [
        StopOnNan(),
        losses,
        *[StopWithoutTargets()] * data.has_weights,
        mid_epoch.SaveWithinEpochs(training.progress, training.manager, losses, minutes),
        validation,
        SaveProgress(
            training.progress,
            training.manager,
            stopping_rule,
            model_dir / records.TRAINING_LOG_NAME,
            placement,
        ),
    ]
