"""The result of a job: a folder of Parquet files, or one file, whole or not at all.

Imports no TensorFlow. A folder holds `artifact.json` as those of other jobs, and the files in
`data/`, which holds nothing else: many readers of Parquet take a folder whole. A file has the
record in its metadata.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import records
from pipelines.inference import work_folder
from pipelines.inference.work_folder import OutputPart, WorkFolder
from recall.errors import InputError
from serving.release import folders, storage

FILE_ENDING = ".parquet"
RECORD_KEY = b"recall.record"
"""Key of a file's metadata: what made it, as JSON."""
COUNTS_NAME = "counts.json"
DATA_NAME = "data"


class Output:
    """Where a result goes.

    Attributes:
        path: The folder, or the file where its name ends in `.parquet`.
        is_file: Which of the two.
    """

    def __init__(self, path: str | Path, record: Mapping[str, Any], *, overwrite: bool = False):
        """Looks at what is there.

        Args:
            path: The folder or file.
            record: What would make it.
            overwrite: Whether the result of another job may be replaced.

        Raises:
            InputError: Something else is there.
        """
        self.path = Path(path)
        self.is_file = self.path.name.lower().endswith(FILE_ENDING)
        self._record = json.loads(json.dumps(record))
        if not self.is_file:
            self.path = folders.check_replaceable(self.path)
            records.check_output(self.path, record["job"], overwrite=overwrite)
            return
        if self.path.is_dir():
            raise InputError(
                f"{self.path} is a folder. Name a file, or a folder whose name does not end in "
                f"{FILE_ENDING}."
            )
        if self.path.exists():
            self._check_file(overwrite)

    def _check_file(self, overwrite: bool) -> None:
        job, found = self._record["job"], _read_record(self.path)
        if found is None:
            raise InputError(
                f"{self.path} was not made by `recall {job}`. Choose another file, or remove it."
            )
        if found.get("job") != job and not overwrite:
            raise InputError(
                f"{self.path} was made by `recall {found.get('job')}`, not by `recall {job}`. "
                "Choose another file, or pass --overwrite to replace it."
            )

    def is_current(self) -> bool:
        """Whether the result is there, made by just this record."""
        if self.is_file:
            return _read_record(self.path) == self._record
        return records.is_current(self.path, self._record)

    def read_counts(self) -> dict[str, int]:
        """What was counted when the result was made."""
        if self.is_file:
            return work_folder.read_counts(self.path)
        return json.loads((self.path / COUNTS_NAME).read_text(encoding="utf-8"))

    def publish(
        self, work: WorkFolder, parts: Sequence[OutputPart], prepared: Mapping[str, Any]
    ) -> dict[str, int]:
        """Puts the parts in their place, all at once.

        Args:
            work: Where they are.
            parts: All of them.
            prepared: Counts of the inputs.

        Returns:
            All counts.

        Raises:
            InputError: The place cannot be written to.
        """
        paths = [work.part_path(part) for part in parts]
        counts: Counter = Counter()
        for path in paths:
            counts.update(work_folder.read_counts(path))
        counts = {**prepared, **counts}
        if self.is_file:
            self._write_file(paths, counts)
        else:
            self._write_folder(paths, counts)
        return counts

    def _write_folder(self, paths: Sequence[Path], counts: Mapping[str, int]) -> None:
        with folders.atomic_directory(self.path) as staging:
            (staging / DATA_NAME).mkdir()
            for number, path in enumerate(paths):
                name = f"part-{number:05d}-of-{len(paths):05d}{FILE_ENDING}"
                _link(path, staging / DATA_NAME / name)
            text = json.dumps(dict(counts), indent=2) + "\n"
            (staging / COUNTS_NAME).write_text(text, encoding="utf-8")
            records.write_record(staging, self._record)

    def _write_file(self, paths: Sequence[Path], counts: Mapping[str, int]) -> None:
        schema = pq.read_schema(paths[0]).remove_metadata()
        record = {RECORD_KEY: json.dumps(self._record).encode()}
        storage.clear_partial_writes(self.path)
        try:
            work_folder.write_table_file(
                self.path, schema.with_metadata(record), _read_groups(paths), counts
            )
        except OSError as error:
            raise InputError(f"Cannot write {self.path}: {error.strerror}.") from error


def _read_groups(paths: Sequence[Path]) -> Iterator[pa.Table]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group).replace_schema_metadata(None)


def _read_record(path: Path) -> dict[str, Any] | None:
    """The record of a file of ours; None for any other, or none."""
    if not path.exists():
        return None
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return json.loads(metadata[RECORD_KEY])
    except (KeyError, ValueError, OSError, pa.ArrowException):
        return None


def _link(source: Path, target: Path) -> None:
    """A second name of a file, so that a killed publication loses nothing; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
