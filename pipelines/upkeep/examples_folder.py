"""Folders of examples that days can be added to and users removed from."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.artifacts import records
from recall.errors import InputError
from serving.release import folders


def require_sequences(examples_dir: str | Path) -> dict[str, Any]:
    """The record of a folder of examples that can be changed.

    Raises:
        InputError: It is none of ingest's, or its sequences were not kept.
    """
    record = records.require(examples_dir, "ingest")
    if not record["settings"]["ingest"].get("keep_sequences"):
        raise InputError(
            f"{examples_dir} was made without the sequences of its users. Make it again with "
            "--set=ingest.keep_sequences=true; from then on days can be added and users removed."
        )
    return record


@contextlib.contextmanager
def locked_examples(examples_dir: str | Path) -> Iterator[dict[str, Any]]:
    """Keeps other jobs from changing examples; gives their record (see `require_sequences`).

    Raises:
        InputError: Another job adds to them or removes from them, or they cannot be changed.
    """
    path = Path(examples_dir).absolute()
    if path.parent.is_dir():  # A change that was killed may have left them moved aside.
        folders.clear_leftovers(path.parent, path.name)
    require_sequences(examples_dir)
    beside = path.with_name(f".{path.name}.change")
    busy = f"Another job adds to {examples_dir} or removes from it. Wait for it to end."
    with folders.locked_folder(beside, ".lock", busy=busy):
        yield require_sequences(examples_dir)
        shutil.rmtree(beside, ignore_errors=True)
