"""Writes streams of Arrow record batches to CSV or Parquet files, atomically."""

import contextlib
import gzip
import itertools
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from recall.errors import InputError

SUFFIXES = (".csv", ".csv.gz", ".parquet")

_GZIP_LEVEL = 4
"""Of 1 M events: 1.6 s and 8.6 MB; level 6 takes 3.3 s, level 9 8.6 s for 8.2 MB."""


def write_batches(path: str | Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Writes at least one batch to `path`; its name says the format.

    The file appears under its name when it is complete, and otherwise not.

    Returns:
        The number of rows.

    Raises:
        InputError: The format is unknown, or the path cannot be written to.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"Cannot write {path}: its name must end with {', '.join(SUFFIXES)}.")
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "xb") as file:
            num_rows = _write(file, path.name, iter(batches))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"Cannot write {path}: {reason}. Choose another place.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return num_rows


def _write(file: BinaryIO, name: str, batches: Iterator[pa.RecordBatch]) -> int:
    first = next(batches)
    num_rows = 0
    with contextlib.ExitStack() as stack:
        if name.endswith(".gz"):
            # No time and no name in the header: equal content, equal bytes.
            compressed = gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0)
            file = stack.enter_context(compressed)
        if name.endswith(".parquet"):
            writer = pq.ParquetWriter(file, first.schema)
        else:
            # Arrow would quote every text, and refuses one that needs it.
            options = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")
            writer = pyarrow.csv.CSVWriter(file, first.schema, write_options=options)
        stack.enter_context(writer)
        for batch in itertools.chain([first], batches):
            writer.write_batch(batch)
            num_rows += batch.num_rows
    return num_rows
