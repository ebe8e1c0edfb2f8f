"""`run_fn`, the contract between a TFX `Trainer` component and a training job.

Imports no `tfx`: the component calls `run_fn` with an object that has the
attributes of its `FnArgs`. In a pipeline:

    Trainer(run_fn="pipelines.tfx_trainer.run_fn", examples=..., custom_config=
            {"config": {"train": {"batch_slots": 512}}, "set": ["model.dim=64"],
             "warm_start": "runs/yesterday"})
"""

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

from absl import logging

from pipelines.publishing import export
from pipelines.training import input_pipeline, trainer
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import folders
from serving.release.release import USER_TOWER


def run_fn(fn_args: Any) -> None:
    """Trains, and writes the user tower where TFX expects the serving model.

    Read from `fn_args`: `train_files` (patterns `<examples>/Split-train/*` of a
    folder that `recall ingest` wrote), `train_steps` (at most, rounded up to
    whole epochs), `eval_steps` (batches of validation users at most),
    `serving_model_dir` (gets the user tower's SavedModel), `model_run_dir`
    (gets checkpoints, logs and, under `export`, both towers with their
    manifest), and `custom_config` with `config` (nested settings), `set`
    (`section.key=value` texts) and `warm_start` (the `model_run_dir` of an earlier
    call, or another run, whose training goes on).

    Args:
        fn_args: Like `tfx.components.trainer.fn_args_utils.FnArgs`.

    Raises:
        InputError: The examples are missing or damaged, a setting is wrong, the warm
            start does not fit, or `base_model` is given: a SavedModel holds no training.
    """
    if getattr(fn_args, "base_model", None):
        raise InputError(
            "`base_model` is set, but a SavedModel holds no training to go on from. Name the "
            "`model_run_dir` of the earlier call as `warm_start` of `custom_config`."
        )
    examples_dir = _find_examples_dir(fn_args.train_files)
    config = _build_config(fn_args, examples_dir)
    model_dir = Path(fn_args.model_run_dir)
    custom = getattr(fn_args, "custom_config", None) or {}
    trainer.train_and_evaluate(
        config,
        examples_dir,
        model_dir / "model",
        warm_start=custom.get("warm_start"),
        overwrite=True,
    )
    export_dir = model_dir / "export"
    export.run_export(model_dir / "model", export_dir)
    with folders.atomic_directory(fn_args.serving_model_dir) as staging:
        shutil.copytree(export_dir / USER_TOWER, staging, dirs_exist_ok=True)
    logging.info("Serving model written to %s.", fn_args.serving_model_dir)


def _find_examples_dir(train_files: list[str]) -> Path:
    """The ingest's folder above the patterns of the training files."""
    folders = {Path(pattern).parent for pattern in train_files}
    if len(folders) != 1 or next(iter(folders)).name != "Split-train":
        raise InputError(
            f"`train_files` must be one pattern of the form <examples>/Split-train/*, received "
            f"{list(train_files)}."
        )
    return next(iter(folders)).parent


def _build_config(fn_args: Any, examples_dir: Path) -> RecallConfig:
    """Settings of `custom_config`, bounded by the steps TFX asks for."""
    custom = getattr(fn_args, "custom_config", None) or {}
    config = RecallConfig.from_dict(custom.get("config", {})).override(custom.get("set", ()))
    changes = {}
    if getattr(fn_args, "train_steps", None):
        steps_per_epoch = input_pipeline.count_steps_per_epoch(examples_dir, config)
        epochs = math.ceil(fn_args.train_steps / steps_per_epoch)
        changes["max_epochs"] = min(config.train.max_epochs, epochs)
    if getattr(fn_args, "eval_steps", None):
        users = fn_args.eval_steps * config.train.batch_size
        changes["validation_users"] = min(config.train.validation_users, users)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))
