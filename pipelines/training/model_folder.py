"""The folder of a model before its training: gone on with, emptied, or left alone."""

import shutil
from pathlib import Path
from typing import Any

from absl import logging

from pipelines.artifacts import records
from pipelines.training.job_state import CHECKPOINTS_NAME
from recall.errors import InputError
from serving.release import storage


def prepare(model_dir: Path, record: dict[str, Any], *, overwrite: bool, is_chief: bool) -> None:
    """Keeps a folder that can be resumed, empties one that cannot; others than the chief look."""
    records.check_output(model_dir, "train", overwrite=overwrite)
    if not is_chief:
        return
    started = model_dir / records.STARTED_NAME
    storage.clear_partial_writes(started)
    if started.exists():
        previous = storage.read_json(started)
        if previous == record:
            (model_dir / records.RECORD_NAME).unlink(missing_ok=True)
            return
        if previous["inputs"]["examples"] != record["inputs"]["examples"] and not overwrite:
            raise InputError(
                f"{model_dir} holds a model of other examples. Choose another folder or "
                "pass --overwrite."
            )
        logging.info("The settings or inputs changed: training %s anew.", model_dir)
    _remove_content(model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    storage.write_json(started, record)


def _remove_content(model_dir: Path) -> None:
    """Empties the folder, so that what is left of it when this is broken off does no harm.

    What says that it is finished goes first, then what a job would go on from;
    what says that it is a model's stays.
    """
    (model_dir / records.RECORD_NAME).unlink(missing_ok=True)
    shutil.rmtree(model_dir / CHECKPOINTS_NAME, ignore_errors=True)
    for path in model_dir.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != records.STARTED_NAME:
            path.unlink()
