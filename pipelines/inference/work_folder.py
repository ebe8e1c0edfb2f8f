"""What a job has done so far, in a hidden folder beside its output. Imports no TensorFlow.

A killed job leaves the parts that are finished; the same job, started again, makes the
others alone.
"""

import contextlib
import json
import logging
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from recall.errors import InputError
from serving.release import folders, storage
from serving.release.storage import fsync_path

COUNTS_KEY = b"recall.counts"
"""Key of a file's metadata: what was counted while it was made, as JSON."""

_LOCK_NAME = ".lock"
_STARTED_NAME = "started.json"
_PREPARED_NAME = "prepared.json"

_log = logging.getLogger(__name__)


class OutputPart(NamedTuple):
    """A piece of the work: one file of the output.

    Attributes:
        number: From 0.
        groups: Names of files of inputs, each with the number of one of its row groups.
        num_rows: Users or items.
    """

    number: int
    groups: tuple[tuple[str, int], ...]
    num_rows: int


class WorkFolder:
    """Inputs and finished parts of one job.

    On a remote runner every worker must reach it under one path.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def inputs(self) -> Path:
        """Folder of the files of inputs."""
        return self.path / "inputs"

    def part_path(self, part: OutputPart) -> Path:
        """Where a part is, once it is finished."""
        return self.path / "parts" / f"{part.number:05d}.parquet"

    def has(self, part: OutputPart) -> bool:
        """Whether a part is finished."""
        return self.part_path(part).exists()

    @property
    def prepared(self) -> dict[str, Any] | None:
        """What was said when the inputs were complete, None before."""
        path = self.path / _PREPARED_NAME
        return storage.read_json(path) if path.exists() else None

    def mark_prepared(self, facts: Mapping[str, Any]) -> None:
        """Says that all files of inputs are there."""
        storage.write_json(self.path / _PREPARED_NAME, dict(facts))

    def clear_inputs(self) -> None:
        """Begins again with the inputs."""
        shutil.rmtree(self.inputs, ignore_errors=True)
        self.inputs.mkdir()

    def parts(self, max_rows: int) -> list[OutputPart]:
        """The work: the row groups of the inputs, in the order of the names of their files.

        Args:
            max_rows: Most rows of a part. Groups share one where they have no more together.
        """
        parts, groups, num_rows = [], [], 0
        for name, group, size in self._row_groups():
            if groups and num_rows + size > max_rows:
                parts.append(OutputPart(len(parts), tuple(groups), num_rows))
                groups, num_rows = [], 0
            groups.append((name, group))
            num_rows += size
        if groups:
            parts.append(OutputPart(len(parts), tuple(groups), num_rows))
        return parts

    def _row_groups(self) -> Iterator[tuple[str, int, int]]:
        """File, number and size of every row group that is not empty."""
        for path in sorted(self.inputs.glob("*.parquet")):
            metadata = pq.read_metadata(path)
            for group in range(metadata.num_row_groups):
                if size := metadata.row_group(group).num_rows:
                    yield path.name, group, size

    def read_input(self, part: OutputPart) -> pa.Table:
        """The rows that a part is about."""
        tables = []
        for name, group in part.groups:
            with pq.ParquetFile(self.inputs / name) as file:
                tables.append(file.read_row_group(group))
        return pa.concat_tables(tables)


@contextlib.contextmanager
def open_work(output: Path, record: Mapping[str, Any]) -> Iterator[WorkFolder]:
    """The work folder of an output, which goes when the block succeeds.

    Args:
        output: What the job writes.
        record: What would make it. Work that another record began is dropped.

    Raises:
        InputError: It cannot be written, or another process is at work there.
    """
    # Absolute: workers may be in another folder.
    path = output.absolute().with_name(f".{output.name}.work")
    busy = f"Another process is writing {output}. Wait for it, or choose another output."
    with folders.locked_folder(path, _LOCK_NAME, busy=busy):
        _begin(path, output, record)
        work = WorkFolder(path)
        try:
            yield work
        except BaseException:
            if work.prepared is None:  # There is nothing to go on with.
                _empty(path)
            raise
        # The result is there. Where a lock that is open cannot be removed, the next job does it.
        shutil.rmtree(path, ignore_errors=True)


def _begin(path: Path, output: Path, record: Mapping[str, Any]) -> None:
    """Keeps work of the same record, drops any other."""
    started = path / _STARTED_NAME
    wanted = json.loads(json.dumps(record))
    if started.exists():
        if _read_started(started) == wanted:
            for partial in path.rglob(".*.partial"):
                partial.unlink(missing_ok=True)
            _log.info("Going on with %s.", output)
            return
        _log.info("%s was begun with other inputs or settings: it is begun anew.", output)
    _empty(path)
    for name in ("inputs", "parts"):
        (path / name).mkdir()
    storage.write_json(started, wanted)


def _empty(path: Path) -> None:
    """Removes all but the lock."""
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != _LOCK_NAME:
            entry.unlink()


def _read_started(path: Path) -> Any:
    try:
        return storage.read_json(path)
    except InputError:
        return None


def write_table_file(
    path: Path,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    counts: Mapping[str, int] | None = None,
    *,
    row_group_size: int | None = None,
) -> None:
    """Writes a Parquet file that is there whole or not at all.

    Args:
        path: The file.
        schema: Of all tables.
        tables: Written one after the other, each as row groups of its own.
        counts: Put into its metadata when all tables are written, so that they may still
            be counted meanwhile.
        row_group_size: Most rows of a row group; None leaves a table in one.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table, row_group_size or max(table.num_rows, 1))
            if counts is not None:
                writer.add_key_value_metadata({COUNTS_KEY: json.dumps(dict(counts)).encode()})
        fsync_path(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_counts(path: Path) -> dict[str, int]:
    """What was counted while a file was made."""
    metadata = pq.read_metadata(path).metadata or {}
    return json.loads(metadata.get(COUNTS_KEY, b"{}"))
