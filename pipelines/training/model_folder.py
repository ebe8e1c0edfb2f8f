"""The folder of a model before its training: gone on with, emptied, or left alone."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from pipelines.artifacts import records, same_results
from pipelines.training.job_state import CHECKPOINTS_NAME
from recall.errors import InputError
from recall.settings.train import TrainConfig
from serving.release import folders, storage


@contextlib.contextmanager
def held(
    model_dir: Path, record: dict[str, Any], *, overwrite: bool, is_chief: bool
) -> Iterator[None]:
    """Prepares a folder, and keeps other trainings out of it inside the block.

    Args:
        model_dir: The folder; may be missing.
        record: Of the training.
        overwrite: Whether a model of other examples may be replaced.
        is_chief: Whether this process writes what the job leaves; others do nothing here.

    Raises:
        InputError: The folder is in use, or holds something else.
    """
    if not is_chief:  # What the chief is writing would look like a stranger's folder.
        yield
        return
    records.check_output(model_dir, "train", overwrite=overwrite)
    busy = f"Another training is writing {model_dir}. Wait for its end, or choose another folder."
    with folders.locked_folder(model_dir, records.LOCK_NAME, busy=busy):
        _prepare(model_dir, record, overwrite=overwrite)
        yield


def _prepare(model_dir: Path, record: dict[str, Any], *, overwrite: bool) -> None:
    """Keeps a folder that can be resumed, empties one that cannot."""
    started = model_dir / records.STARTED_NAME
    storage.clear_partial_writes(started)
    if started.exists():
        previous = storage.read_json(started)
        if same_results.are_same(previous, record):
            (model_dir / records.RECORD_NAME).unlink(missing_ok=True)
            _remove_halves(model_dir)
            return
        if not overwrite:
            refuse_other_version(model_dir, record["settings"])
        if previous["inputs"]["examples"] != record["inputs"]["examples"] and not overwrite:
            raise InputError(
                f"{model_dir} holds a model of other examples. Choose another folder or "
                "pass --overwrite."
            )
        logging.info("The settings or inputs changed: training %s anew.", model_dir)
    _remove_content(model_dir)
    storage.write_json(started, record)


def refuse_other_version(model_dir: Path, settings: Mapping[str, Any]) -> None:
    """Refuses to discard a training that another version has begun and not ended.

    Args:
        model_dir: Folder of a model; it may have none.
        settings: Those that this version would train with.

    Raises:
        InputError: There is such a training.
    """
    started = model_dir / records.STARTED_NAME
    has_state = started.exists() and (model_dir / CHECKPOINTS_NAME).is_dir()
    if not has_state or records.read_record(model_dir) is not None:
        return
    previous = storage.read_json(started)
    now = records.build_record("train", settings, {})
    found = [
        f"{name} {before or 'none'}, here {now['versions'].get(name, 'none')}"
        for name, before in previous.get("versions", {}).items()
        if before != now["versions"].get(name)
    ]
    before, here = _names_of(previous["settings"]), _names_of(now["settings"])
    found += [f"without the setting {name}" for name in sorted(here - before)]
    found += [f"with a setting {name}" for name in sorted(before - here)]
    if found:
        raise InputError(
            f"{model_dir} holds an unfinished training that another version began ({found[0]}): "
            "this one cannot go on with it. Finish it with that version, choose another folder, or "
            "pass --overwrite to train anew."
        )


def _names_of(settings: Mapping[str, Any]) -> set[str]:
    """Names of settings with their sections; `features` is there where some are declared."""
    of_the_job = {f"train.{name}" for name in TrainConfig.OF_THE_JOB}
    names = {
        f"{section}.{name}"
        for section, values in settings.items()
        if isinstance(values, Mapping) and section != "features"
        for name in values
    }
    return names - of_the_job


def _remove_halves(model_dir: Path) -> None:
    """Removes checkpoints that were broken off as they were written; each may have gigabytes.

    TensorFlow writes them under such a name and leaves it where its process is killed, or the disk
    is full; nobody reads it.
    """
    for path in model_dir.glob("*/*_temp"):
        shutil.rmtree(path, ignore_errors=True)


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
        elif path.name not in (records.STARTED_NAME, records.LOCK_NAME):
            path.unlink()
