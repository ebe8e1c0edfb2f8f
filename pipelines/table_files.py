"""Tables in files: which files a path names, and their rows as Arrow batches.

A path is a file, a folder, or a pattern with `*`, `?` or `[...]`; the format
follows from the name. What the columns mean is decided elsewhere.
"""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines import csv_files, parquet_files
from pipelines.bad_rows import BadRows
from recall.errors import InputError
from serving import paths, storage

_FORMATS = (csv_files, parquet_files)
SUFFIXES = csv_files.SUFFIXES + parquet_files.SUFFIXES


def list_files(path: str) -> list[Path]:
    """The files that `path` names, sorted.

    Below a folder, files count whose names end like a table's and start with
    neither `.` nor `_`, as engines mark their own files.

    Raises:
        InputError: There is no such file, or its name ends otherwise.
    """
    suffixes = ", ".join(SUFFIXES)
    if os.path.isdir(path):
        files = [p for p in sorted(Path(path).rglob("*")) if _is_table(p.relative_to(path))]
        if not files:
            raise InputError(f"The folder {path} holds no table ({suffixes}).")
        return files
    if os.path.exists(path):
        files = [Path(path)]
    elif glob.has_magic(path):
        files = paths.find_files(path)
    else:
        files = []
    if not files:
        raise InputError(f"{path} does not exist. Check the path.")
    for file in files:
        if not file.name.endswith(SUFFIXES):
            raise InputError(f"{file} is of an unknown format. Its name must end with: {suffixes}.")
    return files


def read_names(path: Path) -> list[str]:
    """The names of the columns of one file.

    Raises:
        InputError: The file cannot be read.
    """
    return _format_of(path).read_names(path)


def require_columns(path: Path, found: Sequence[str], wanted: Iterable[str]) -> None:
    """Checks that each wanted column is there once.

    Raises:
        InputError: One is missing or repeated.
    """
    for name in wanted:
        if found.count(name) != 1:
            state = "lacks the column" if name not in found else "repeats the column"
            raise InputError(
                f"{path} {state} {name!r}; its columns are: {', '.join(found)}. "
                "Rename the column, or name the one to read (--user_column, --item_column, ...)."
            )


def read_rows(
    path: Path, names: list[str], bad_rows: BadRows
) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """Streams the columns `names` of one file in bounded memory.

    Yields:
        `[n]` int64, the 0-based data row numbers, and the `n` rows.

    Raises:
        InputError: The file is damaged, or has too many bad rows.
    """
    return _format_of(path).read_rows(path, names, bad_rows)


def fingerprint(files: Sequence[Path], settings: Sequence[str]) -> str:
    """Hexadecimal SHA-256 over the bytes of the files, in order, and `settings`."""
    digest = hashlib.sha256("\0".join(settings).encode())
    for file in files:
        try:
            digest.update(storage.sha256_of_file(file).encode())
        except OSError as error:
            raise InputError(f"Cannot read {file}: {error.strerror}. Check the path.") from error
    return digest.hexdigest()


def _is_table(path: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.parts)
    return path.name.endswith(SUFFIXES) and not hidden


def _format_of(path: Path):
    return next(module for module in _FORMATS if path.name.endswith(module.SUFFIXES))
