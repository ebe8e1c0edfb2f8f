"""Rows of Parquet files as a stream of Arrow batches.

Columns keep the types of the file; what they mean is decided elsewhere.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources.columns.bad_rows import BadRows
from recall.errors import InputError

ENDINGS = (".parquet", ".pq")

_BATCH_ROWS = 1 << 18
"""Rows handed on at a time, about as many as a block of a CSV file."""


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

    def __init__(self, path: Path):
        """Reads the schema.

        Raises:
            InputError: The file cannot be read, or is not Parquet.
        """
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                self._stored = list(file.schema_arrow.names)
        except (OSError, pa.ArrowException) as error:
            raise InputError(_explain(path, error)) from error
        self.names = [name.strip() for name in self._stored]

    def read_rows(
        self, names: list[str], bad_rows: BadRows
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Streams the columns `names`, one part of a row group at a time.

        Yields:
            `[n]` int64, the 0-based row numbers, and the `n` rows.

        Raises:
            InputError: The file is damaged.
        """
        del bad_rows  # Every row of a Parquet file has every column.
        stored = [self._stored[self.names.index(name)] for name in names]
        num_rows = 0
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=stored):
                    done = num_rows + batch.num_rows
                    self.share_read = done / max(1, file.metadata.num_rows)
                    columns = [_without_views(batch.column(name)) for name in stored]
                    yield (
                        np.arange(num_rows, num_rows + batch.num_rows),
                        pa.RecordBatch.from_arrays(columns, names=names),
                    )
                    num_rows += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise InputError(_explain(self.path, error)) from error


def _without_views(array: pa.Array) -> pa.Array:
    """A plain array for one of views (polars), which few functions of Arrow take."""
    if pa.types.is_string_view(array.type):
        return array.cast(pa.string())
    return array.cast(pa.binary()) if pa.types.is_binary_view(array.type) else array


def _explain(path: Path, error: Exception) -> str:
    """One line saying what is wrong with a file and what to do."""
    if isinstance(error, OSError) and error.strerror:
        return f"Cannot read {path}: {error.strerror}. Check the path and its permissions."
    reason = " ".join(str(error).split()).rstrip(".")
    return f"{path} is not a whole Parquet file: {reason}. Make it again."
