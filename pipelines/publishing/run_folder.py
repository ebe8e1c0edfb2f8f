"""The folder of a run: whose it is, and that one run alone works in it."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from recall.errors import InputError
from serving.release import folders

_LOCK_NAME = ".lock"


def check_folder(
    output_dir: Path,
    paths: RunPaths,
    ingest_record: dict[str, Any],
    spec: str,
    overwrite: bool,
) -> None:
    """Refuses an output folder that holds something else than this log's run."""
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"--output={output_dir} is a file. Name a folder.")
    if overwrite:
        return
    if is_of_another_log(paths, ingest_record):
        raise InputError(
            f"--output={output_dir} belongs to another log than {spec}, or to the same one read by "
            "other flags (columns, kinds, rows): checksums differ. Choose another folder, or pass "
            "--overwrite to replace its artifacts."
        )
    known = {*RunPaths._fields, _LOCK_NAME}
    found = [path.name for path in output_dir.glob("*")] if output_dir.exists() else []
    if found and not known.intersection(found):
        raise InputError(
            f"--output={output_dir} holds other files ({sorted(found)[0]}). "
            "Choose a new folder, or pass --overwrite to use it all the same."
        )


def is_of_another_log(paths: RunPaths, ingest_record: dict[str, Any]) -> bool:
    """Whether the examples there were made from another log than a run would read."""
    record = records.read_record(paths.examples)
    events = ingest_record["inputs"]["events"]
    return record is not None and record.get("inputs", {}).get("events") != events


def remove_artifacts(paths: RunPaths) -> None:
    """Removes what was made from another log; published releases stay."""
    for path in reversed(paths[:-1]):  # What says which log it was goes last.
        if path.exists():
            shutil.rmtree(path)


@contextlib.contextmanager
def locked(output_dir: Path) -> Iterator[None]:
    """Keeps a second run out of the folder, and clears what a killed one left."""
    busy = (
        f"Another `recall run` is working in {output_dir}. Wait for it to end, or choose "
        "another folder."
    )
    with folders.locked_folder(output_dir, _LOCK_NAME, busy=busy):
        for name in RunPaths._fields[:-1]:
            folders.clear_leftovers(output_dir, name)
        yield
