"""Tables in files: which files a path names, and their rows as Arrow batches.

A path is a file, a folder, or a pattern with `*`, `?` or `[...]`, here or in an object store
(`s3://...`); the format follows from the name. What the columns mean is decided elsewhere.
"""

import glob
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.tables import compression, hive_partitions, parquet_files, text_format
from pipelines.sources.tables.csv_files import TextTable
from pipelines.sources.tables.file_parts import WHOLE_FILE, FilePart
from pipelines.sources.tables.parquet_files import ParquetTable
from pipelines.sources.tables.text_format import DEFAULT_TEXT, TextOptions
from recall.errors import InputError
from serving.release import paths, storage
from serving.stores import files as store_files
from serving.stores import urls
from serving.stores.store_path import AnyPath, StorePath

_log = logging.getLogger(__name__)

ENDINGS = text_format.ENDINGS + parquet_files.ENDINGS
_FOLDER_ENDINGS = text_format.FOLDER_ENDINGS + parquet_files.ENDINGS

_REMEDY = (
    "Rename the column, or name the one to read (--user_column, --item_column, ...); name all "
    "columns of a file without a header (--columns)."
)


class Table:
    """One file of a table, with the columns that the names of its folders give.

    Attributes:
        path: The file.
        names: Names of all columns.
        lists: Names of those that hold several words, separated by blanks.
        partitions: Name -> value of the columns that the folders give.
    """

    def __init__(self, path: AnyPath, root: AnyPath, options: TextOptions = DEFAULT_TEXT):
        """Looks at the header.

        Args:
            path: The file.
            root: Folder below which names of folders are columns.
            options: How a text file is written.

        Raises:
            InputError: The file cannot be read.
        """
        self.path = path
        is_text = bool(text_format.text_ending(path))
        self._file = TextTable(path, options) if is_text else ParquetTable(path)
        partitions = hive_partitions.read_partitions(path, root)
        # Where a file has the column too, the file's own is taken.
        self.partitions = {k: v for k, v in partitions.items() if k not in self._file.names}
        self.names = [*self._file.names, *self.partitions]
        self.lists = self._file.lists

    @property
    def share_read(self) -> float:
        """Share of the file that the newest `read_rows` has taken, in [0, 1]."""
        return self._file.share_read

    def require(self, wanted: Iterable[str], remedy: str = _REMEDY) -> None:
        """Checks that each wanted column is there once.

        Args:
            wanted: Names.
            remedy: What the user can do, for the message.

        Raises:
            InputError: One is missing or repeated.
        """
        for name in wanted:
            if self.names.count(name) != 1:
                state = "lacks the column" if name not in self.names else "repeats the column"
                raise InputError(
                    f"{self.path} {state} {name!r}; its columns are: "
                    f"{', '.join(map(repr, self.names))}. {remedy}"
                )

    def require_single(self, wanted: Iterable[str]) -> None:
        """Checks that no wanted column is one of RecBole's sequences.

        Args:
            wanted: Names of columns of which a row has one value.

        Raises:
            InputError: One is.
        """
        for name in wanted:
            if name in self.lists:
                raise InputError(
                    f"{self.path}: the column {name!r} is a sequence (token_seq or float_seq), so "
                    "a row holds several values; one is wanted. Write one row for each of them, "
                    f"or, where there is only one, {name}:token (or :float) in the header."
                )

    def parts(self) -> list[FilePart]:
        """The file in parts that can be read apart, in their order.

        Raises:
            InputError: The file cannot be read.
        """
        return self._file.parts()

    def first_rows(self, names: list[str]) -> pa.RecordBatch | None:
        """The columns `names` of some rows from the beginning, None where there are none.

        Raises:
            InputError: The file is damaged.
        """
        batch = self._file.first_rows(self._to_read(names))
        return None if batch is None else self._with_partitions(batch, names)

    def read_rows(
        self,
        names: list[str],
        bad_rows: BadRows,
        part: FilePart = WHOLE_FILE,
        encoded: Sequence[str] = (),
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Streams the columns `names` in bounded memory.

        Args:
            names: Of the columns.
            bad_rows: Counts rows that have other columns.
            part: What is read of the file.
            encoded: Names of columns whose texts may come as dictionaries.

        Yields:
            `[n]` int64, the 0-based data row numbers in the file, and the `n` rows.

        Raises:
            InputError: The file is damaged, or has too many bad rows.
        """
        for rows, batch in self._file.read_rows(self._to_read(names), bad_rows, part, encoded):
            yield rows, self._with_partitions(batch, names)

    def _to_read(self, names: list[str]) -> list[str]:
        """Columns to read from the file: rows are counted by one, whatever is wanted."""
        return [name for name in names if name not in self.partitions] or self._file.names[:1]

    def _with_partitions(self, batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
        columns = {
            name: pa.repeat(pa.scalar(self.partitions[name], pa.string()), batch.num_rows)
            if name in self.partitions
            else batch.column(name)
            for name in names
        }
        return pa.RecordBatch.from_pydict(columns)


def open_tables(path: str, options: TextOptions = DEFAULT_TEXT) -> list[Table]:
    """The files that `path` names, opened, in the order of their names.

    Raises:
        InputError: There is no such file, or one cannot be read.
    """
    root, files = hive_partitions.root_of(path), list_files(path)
    if not any(map(text_format.text_ending, files)):
        text_format.refuse(options, f"{path} is Parquet")
    return [Table(file, root, options) for file in files]


def list_files(path: str) -> list[AnyPath]:
    """The files that `path` names, sorted.

    Below a folder, files count whose names end in `.csv`, `.tsv` or `.parquet`
    (compressed or not) and start with neither `.` nor `_`, as engines mark
    their own files.

    Raises:
        InputError: There is no such file, or its name ends otherwise.
    """
    in_folder, found = look(path)
    if in_folder and found:
        files = [p for p in found if _is_table(p)]
        if not files:
            endings = ", ".join(_FOLDER_ENDINGS)
            raise InputError(
                f"The folder {path} holds no table ({endings}). Name a file of another ending "
                "itself, or by a pattern."
            )
        _report_left_out([p for p in found if _is_other_text(p)], path)
        return files
    files = found
    if not files:
        raise InputError(f"{path} does not exist. Check the path.")
    for file in files:
        if not ending_of(file):
            packed = f", and for text {', '.join(compression.ENDINGS)} after it"
            raise InputError(
                f"{file} is of an unknown format. Its name must end with: "
                f"{', '.join(ENDINGS)}{packed}."
            )
    return files


def look(path: str) -> tuple[bool, list[AnyPath]]:
    """Whether a path is a folder, and all that it names, of any format.

    Raises:
        InputError: A store cannot be asked.
    """
    return _look_in_store(path) if urls.is_url(path) else _look_here(path)


def _look_here(path: str) -> tuple[bool, list[Path]]:
    """Whether a path is a folder, and the files that it names."""
    if os.path.isdir(path):
        found = sorted(Path(path).rglob("*"))
        # An empty folder is one that holds no table.
        return True, [p for p in found if not _is_hidden(p.relative_to(path))] or [Path(path)]
    if os.path.exists(path):
        return False, [Path(path)]
    return False, paths.find_files(path) if glob.has_magic(path) else []


def _look_in_store(url: str) -> tuple[bool, list[StorePath]]:
    """As `_look_here`; a file or folder of just that name goes before a pattern."""
    entry = store_files.look_at(url)
    if entry is not None:
        return False, [StorePath(url, entry)]
    below = [StorePath(entry.place, entry) for entry in store_files.list_files(url)]
    if below or not glob.has_magic(url):
        return True, [p for p in below if not _is_hidden(p.relative_to(StorePath(url)))]
    return False, [StorePath(entry.place, entry) for entry in store_files.find_files(url)]


def fingerprint(files: Sequence[AnyPath], settings: Sequence[str]) -> str:
    """Hexadecimal SHA-256 that changes with the files, in their order, and with `settings`.

    Over the bytes of local files, and over sizes and ETags of those in a store: to read
    all of a log there would cost as much as to ingest it.

    Raises:
        InputError: A file cannot be read.
    """
    digest = hashlib.sha256("\0".join(settings).encode())
    in_store = [file.entry for file in files if isinstance(file, StorePath)]
    if in_store:
        digest.update("\0".join(store_files.identities(in_store)).encode())
        return digest.hexdigest()
    for file in files:
        try:
            digest.update(storage.sha256_of_file(file).encode())
        except OSError as error:
            raise InputError(f"Cannot read {file}: {error.strerror}. Check the path.") from error
    return digest.hexdigest()


def ending_of(path: AnyPath) -> str:
    """The ending that says what a table is, in small letters, or ""."""
    name = path.name.lower()
    binary = next((ending for ending in parquet_files.ENDINGS if name.endswith(ending)), "")
    return binary or text_format.text_ending(path)


def _is_hidden(path: PurePath) -> bool:
    # Spark's rule: `_temporary/` is its own, `_day=2/` a column's folder.
    return any(part.startswith(".") or _is_marked(part) for part in path.parts)


def _is_bare_archive(path: AnyPath) -> bool:
    """Whether a name does not say what is in the `.zip`."""
    return compression.packed_ending(path) == ".zip" and len(path.suffixes) < 2


def _is_table(path: AnyPath) -> bool:
    """Whether a file found in a folder is taken for a part of the table."""
    is_named_so = not _is_bare_archive(path) and ending_of(path) in _FOLDER_ENDINGS
    return is_named_so and path.is_file()


def _is_other_text(path: AnyPath) -> bool:
    """Whether a file found in a folder may be meant as a part, but is not taken for one."""
    is_text = _is_bare_archive(path) or bool(ending_of(path))
    return is_text and path.is_file() and not _is_table(path)


def _report_left_out(files: Sequence[AnyPath], folder: str) -> None:
    if files:
        _log.warning(
            "%s: %s not read, the first is %s. Name them by a pattern to read them.",
            folder,
            "1 file is" if len(files) == 1 else f"{len(files):,} files are",
            files[0].name,
        )


def _is_marked(part: str) -> bool:
    return part.startswith("_") and "=" not in part
