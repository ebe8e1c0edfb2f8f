"""Rows of Parquet files as a stream of Arrow batches.

Columns keep the types of the file; what they mean is decided elsewhere.
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.tables import file_parts
from pipelines.sources.tables.file_parts import WHOLE_FILE, FilePart
from recall.errors import InputError
from serving.stores import failures
from serving.stores.store_path import AnyPath, StorePath, open_ranges

ENDINGS = (".parquet", ".pq")

_BATCH_ROWS = 1 << 20
"""Rows handed on at a time: ids repeat in them, so that most of the work is on fewer texts."""

_FIRST_ROWS = 1 << 10


class ParquetTable:
    """One Parquet file.

    Attributes:
        path: The file.
        names: Names of its columns, without white space around them.
        lists: Nothing: a list is a type here.
        share_read: Share of the rows that the newest `read_rows` has taken, in [0, 1].
    """

    share_read = 0.0

    lists: frozenset[str] = frozenset()

    def __init__(self, path: AnyPath):
        """Reads the schema.

        Raises:
            InputError: The file cannot be read, or is not Parquet.
        """
        self.path = path
        with self._opened() as file:
            self._stored = list(file.schema_arrow.names)
        self.names = [name.strip() for name in self._stored]

    def parts(self) -> list[FilePart]:
        """The file in parts of whole row groups.

        Raises:
            InputError: The file is damaged.
        """
        with self._opened() as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        parts, start, first_row, num_rows = [], 0, 0, sum(sizes)
        for group, size in enumerate(np.cumsum(sizes).tolist()):
            is_last = group == len(sizes) - 1
            if size - first_row >= file_parts.PART_ROWS or is_last:
                share = (size - first_row) / max(1, num_rows)
                parts.append(FilePart(start, group + 1, first_row, share))
                start, first_row = group + 1, size
        return parts if len(parts) > 1 else [WHOLE_FILE]

    def read_rows(
        self,
        names: list[str],
        bad_rows: BadRows,
        part: FilePart = WHOLE_FILE,
        encoded: Sequence[str] = (),
        batch_rows: int | None = None,
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Streams the columns `names`, texts in `encoded` as dictionaries, `batch_rows` or more.

        Yields:
            `[n]` int64, the 0-based row numbers, and the `n` rows.

        Raises:
            InputError: The file is damaged.
        """
        del bad_rows  # Every row of a Parquet file has every column.
        stored, batch_rows = self._stored_names(names), batch_rows or _BATCH_ROWS
        with self._opened(self._stored_names(encoded)) as file:
            stop = file.num_row_groups if part.stop is None else part.stop
            groups = list(range(part.start, stop))
            total = sum(file.metadata.row_group(group).num_rows for group in groups)
            num_rows, waiting, size = 0, [], 0
            for batch in file.iter_batches(batch_rows, row_groups=groups, columns=stored):
                waiting.append(batch)
                size += batch.num_rows
                if size >= batch_rows or num_rows + size == total:
                    rows = np.arange(num_rows, num_rows + size) + part.first_row
                    num_rows += size
                    self.share_read = num_rows / max(1, total)
                    yield rows, _join(waiting, stored, names)
                    waiting, size = [], 0

    def first_rows(self, names: list[str]) -> pa.RecordBatch | None:
        """A few rows from the beginning, None where there are none.

        Raises:
            InputError: The file is damaged.
        """
        stored = self._stored_names(names)
        with self._opened() as file:
            batches = file.iter_batches(_FIRST_ROWS, columns=stored)
            first = next(batches, None)
        return None if first is None else _join([first], stored, names)

    def _stored_names(self, names: Sequence[str]) -> list[str]:
        return [self._stored[self.names.index(name)] for name in names if name in self.names]

    @contextlib.contextmanager
    def _opened(self, encoded: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
        """The file; its texts in `encoded` come as dictionaries."""
        try:
            with (
                contextlib.closing(open_ranges(self.path)) as source,
                pq.ParquetFile(source, read_dictionary=list(encoded) or None) as file,
            ):
                yield file
        except (OSError, pa.ArrowException) as error:
            raise InputError(_explain(self.path, error)) from error


def _join(batches: list[pa.RecordBatch], stored: list[str], names: list[str]) -> pa.RecordBatch:
    """One batch of several, whose dictionaries become one."""
    table = pa.Table.from_batches(batches).select(stored)
    if len(batches) > 1:
        table = table.unify_dictionaries()
    columns = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays([_without_views(c) for c in columns], names=names)


def _without_views(array: pa.Array) -> pa.Array:
    """A plain array for one of views (polars), which few functions of Arrow take."""
    if pa.types.is_string_view(array.type):
        return array.cast(pa.string())
    return array.cast(pa.binary()) if pa.types.is_binary_view(array.type) else array


def _explain(path: AnyPath, error: Exception) -> str:
    """One line saying what is wrong with a file and what to do."""
    if isinstance(path, StorePath) and not isinstance(error, pa.ArrowInvalid):
        return str(failures.explain(str(path), "read", error))
    if isinstance(error, OSError) and error.strerror:
        return f"Cannot read {path}: {error.strerror}. Check the path and its permissions."
    reason = " ".join(str(error).split()).rstrip(".")
    return f"{path} is not a whole Parquet file: {reason}. Make it again."
