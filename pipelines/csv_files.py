"""Rows of .csv and .tsv files, plain or gzipped, as a stream of Arrow batches.

Every value is read as text; what it means is decided elsewhere.
"""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipelines.bad_rows import BadRow, BadRows
from recall.errors import InputError

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")

_BLOCK_BYTES = 4 << 20
"""Text parsed at a time, about 200,000 events: memory stays in tens of MB."""

_GZIP_MAGIC = b"\x1f\x8b"


def read_names(path: Path) -> list[str]:
    """The column names in the header of `path`.

    Raises:
        InputError: The file cannot be read as text, or is empty.
    """
    try:
        with _open_text(path) as file:
            header = next(csv.reader(file, delimiter=_delimiter(path)), None)
    except gzip.BadGzipFile as error:
        raise InputError(f"{path} is not gzip. Compress it, or drop .gz from its name.") from error
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(_explain(path, error)) from error
    if not header:
        raise InputError(f"{path} is empty. Its first line must name the columns.")
    return header


def read_rows(
    path: Path, names: list[str], bad_rows: BadRows
) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """Streams the columns `names` of `path` as text.

    Rows with too few or too many fields are counted in `bad_rows` and left
    out; the numbers of the other rows still count them. Blank lines are no rows.

    Yields:
        `[n]` int64, the 0-based data row numbers, and the `n` rows.

    Raises:
        InputError: The file is damaged, or has too many bad rows.
    """
    ragged = _RaggedRows(path, bad_rows)
    num_rows = 0
    try:
        with _open_bytes(path) as stream:
            for batch in _open_csv(stream, path, names, ragged):
                bad_rows.check()
                kept = np.arange(num_rows, num_rows + batch.num_rows)
                num_rows += batch.num_rows
                yield ragged.to_data_rows(kept), batch
    except (OSError, pa.ArrowInvalid) as error:
        bad_rows.check()
        raise InputError(_explain(path, error)) from error
    bad_rows.check()


class _RaggedRows:
    """Keeps the numbers of the rows that the parser leaves out.

    Attributes:
        skipped: 0-based data row numbers, ascending.
    """

    def __init__(self, path: Path, bad_rows: BadRows):
        self.path = path
        self.bad_rows = bad_rows
        self.skipped: list[int] = []

    def __call__(self, row: pyarrow.csv.InvalidRow) -> str:
        """Counts a row; tells the parser to stop once there are too many."""
        data_row = row.number - 1  # Arrow counts the header as row 1.
        self.skipped.append(data_row - 1)
        fields = "field" if row.actual_columns == 1 else "fields"
        reason = f"{row.actual_columns} {fields} instead of {row.expected_columns}"
        self.bad_rows.add(reason, BadRow(1, str(self.path), data_row, "", row.text))
        return "skip" if self.bad_rows.total <= self.bad_rows.max_bad_rows else "error"

    def to_data_rows(self, kept: np.ndarray) -> np.ndarray:
        """Numbers among the kept rows -> numbers among all rows, both ascending."""
        kept_before = np.asarray(self.skipped, np.int64) - np.arange(len(self.skipped))
        return kept + np.searchsorted(kept_before, kept, side="right")


def _open_csv(
    stream: pa.NativeFile, path: Path, names: list[str], ragged: _RaggedRows
) -> pyarrow.csv.CSVStreamingReader:
    return pyarrow.csv.open_csv(
        stream,
        # One thread: the parser knows row numbers only when it goes in order.
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=_delimiter(path), invalid_row_handler=ragged, newlines_in_values=True
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=names, column_types={name: pa.string() for name in names}
        ),
    )


def _is_gzip(path: Path) -> bool:
    return path.name.endswith(".gz")


def _starts_like_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC


def _delimiter(path: Path) -> str:
    return "\t" if path.name.removesuffix(".gz").endswith(".tsv") else ","


def _open_text(path: Path):
    opener = gzip.open if _is_gzip(path) else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _open_bytes(path: Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression="gzip" if _is_gzip(path) else None)


def _explain(path: Path, error: Exception) -> str:
    """One line saying what is wrong with a file and what to do."""
    text = str(error)
    if isinstance(error, EOFError) or "Truncated compressed" in text:
        return f"{path} is cut off inside its gzip data. Copy or make it again."
    if "zlib" in text or "invalid stored block" in text:
        return f"{path} holds damaged gzip data. Copy or make it again."
    if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in text:
        if not _is_gzip(path) and _starts_like_gzip(path):
            return f"{path} is gzip data. Name it {path.name}.gz."
        return f"{path} is not UTF-8 text. Convert it to UTF-8."
    if isinstance(error, OSError) and error.strerror:
        return f"Cannot read {path}: {error.strerror}. Check the path and its permissions."
    reason = " ".join(text.split())
    return f"Cannot read {path}: {reason}. Check its quotes and field separators."
