"""Files with a user and a list of item ids in every row. Imports no TensorFlow.

Ready histories, or recommendations. Parquet, whose column holds lists, or JSON lines. Ids are
those of a log, text or whole numbers; an item may also be a record with its `item_id`.
"""

import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.bad_rows import BadRows, shorten
from pipelines.sources.columns.column_types import has_text, to_text
from pipelines.sources.tables import compression, parquet_files, table_files
from pipelines.sources.tables.parquet_files import ParquetTable
from recall.errors import InputError
from serving.stores.store_path import AnyPath

USER_ID, ITEM_ID, ITEMS = "user_id", "item_id", "items"

LISTS_SCHEMA = pa.schema([(USER_ID, pa.string()), (ITEMS, pa.list_(pa.string()))])
"""A row per user, whatever the file calls its columns."""

_CONTEXT = pa.field("context", pa.string())

NAME_COLUMNS = "Columns of other names: --user_column, --history_column."
"""What a user can do whose columns have other names."""

JSON_ENDINGS = (".jsonl", ".ndjson")
"""Of JSON lines, also compressed."""

_CHUNK_BYTES = 1 << 20


class ListFile(NamedTuple):
    """A file, a folder or a pattern of such.

    Attributes:
        path: Where it is.
        user_column: Name of the column, or key, of user ids.
        list_column: Name of that of the lists of item ids.
        other_columns: Names that it may have instead; the first one that is there is read.
        remedy: What a user can do whose columns have other names.
        context_column: Name of a column, or key, that a file may have beside: what is said of
            each row beyond the list, an object. None reads none.
    """

    path: str
    user_column: str
    list_column: str
    other_columns: tuple[str, ...] = ()
    remedy: str = NAME_COLUMNS
    context_column: str | None = None

    def fingerprint(self) -> str:
        """Changes when what is read changes."""
        return table_files.fingerprint(self._files(), [self.user_column, *self._list_columns])

    def read(self, max_rows: int) -> Iterator[pa.Table]:
        """Streams the rows in their order, a user as often as the file has it.

        Args:
            max_rows: Rows that are wanted at a time; sometimes twice as many come.

        Yields:
            Tables of `LISTS_SCHEMA`; with a `context_column` also `context`, the object as JSON,
            null where there is none.

        Raises:
            InputError: A file cannot be read, or a row has no user id, no list, or a value
                that is no id.
        """
        for path in self._files():
            is_json = _is_json_lines(path)
            yield from (self._read_json if is_json else self._read_parquet)(path, max_rows)

    @property
    def _list_columns(self) -> tuple[str, ...]:
        return (self.list_column, *self.other_columns)

    def _find_column(self, names: Collection[str]) -> str:
        """That of the lists, among the names of a file or a row; where none is, the usual one."""
        found = (name for name in self._list_columns if name in names)
        return next(found, self.list_column)

    def _files(self) -> list[AnyPath]:
        in_folder, found = table_files.look(self.path)
        files = [path for path in found if _is_json_lines(path) and path.is_file()]
        if files and in_folder and any(table_files.ending_of(path) for path in found):
            raise InputError(
                f"The folder {self.path} holds JSON lines and tables. Name one kind by a pattern."
            )
        if not in_folder:
            self._check_endings(found)
        if not files:
            files = table_files.list_files(self.path)
        self._check_endings(files)
        return files

    def _check_endings(self, files: Sequence[AnyPath]) -> None:
        for path in files:
            if not (_is_json_lines(path) or table_files.ending_of(path) in parquet_files.ENDINGS):
                raise InputError(
                    f"{path} has no lists of item ids. Give Parquet or JSON lines "
                    f"({', '.join(JSON_ENDINGS)})."
                )

    def _read_parquet(self, path: AnyPath, max_rows: int) -> Iterator[pa.Table]:
        table = ParquetTable(path)
        column = self._find_column(table.names)
        names = [self.user_column, column]
        for name in names:
            if table.names.count(name) != 1:
                raise InputError(
                    f"{path} lacks the column {name!r}; its columns are: "
                    f"{', '.join(map(repr, table.names))}. {self.remedy}"
                )
        if has_context := self.context_column in table.names:
            names.append(self.context_column)
        where = f"Data row {{}} of {path}"
        for rows, batch in table.read_rows(names, BadRows(), batch_rows=max_rows):
            users = to_text(batch[self.user_column], str(path), self.user_column)
            sizes, ids = self._read_lists(batch[column], path, column)
            said = batch[self.context_column].to_pylist() if has_context else [None] * len(users)
            lists = self._join(users, sizes, ids, rows + 1, where, column)
            yield self._add_contexts(lists, said, rows + 1, where)

    def _read_lists(
        self, array: pa.Array, path: AnyPath, column: str
    ) -> tuple[np.ndarray, pa.Array]:
        """The sizes of lists of any kind, and the ids in them; a missing list is empty."""
        kind = array.type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            if not pa.types.is_fixed_size_list(kind):
                raise InputError(
                    f"{path}: column {column!r} has the type {kind}; lists of item ids are "
                    f"wanted. Convert it, or read another. {self.remedy}"
                )
            array = array.cast(pa.list_(kind.value_type))
        sizes = pc.list_value_length(array).fill_null(0).to_numpy()
        ids = array.flatten()
        if pa.types.is_struct(ids.type) and ids.type.get_field_index(ITEM_ID) >= 0:
            ids = pc.struct_field(ids, ITEM_ID)
        return sizes, to_text(ids, str(path), column)

    def _read_json(self, path: AnyPath, max_rows: int) -> Iterator[pa.Table]:
        numbered = ((n, line) for n, line in enumerate(_lines(path), 1) if line.strip())
        while some := list(itertools.islice(numbered, max_rows)):
            rows = [self._parse(line, f"Line {n} of {path}") for n, line in some]
            users = pa.array([user for user, *_ in rows], pa.string())
            sizes = np.array([len(items) for _, items, *_ in rows])
            ids = pa.array([one for _, items, *_ in rows for one in items], pa.string())
            numbers, column, place = [n for n, _ in some], rows[0][2], f"Line {{}} of {path}"
            lists = self._join(users, sizes, ids, numbers, place, column)
            yield self._add_contexts(lists, [said for *_, said in rows], numbers, place)

    def _parse(self, line: bytes, where: str) -> tuple[str, list[str | None], str, Any]:
        """User, items, under which name they were, and what is said beside."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "" if isinstance(error, RecursionError) else f": {error}"
            raise InputError(f"{where} is no JSON{reason}.") from error
        column = self._find_column(row) if isinstance(row, dict) else self.list_column
        if not isinstance(row, dict) or not {self.user_column, column} <= row.keys():
            raise InputError(
                f"{where} is no object with the keys {self.user_column!r} and {column!r}. Write "
                f"{{{json.dumps(self.user_column)}: ..., {json.dumps(column)}: [...]}}. "
                f"{self.remedy}"
            )
        user, items = row[self.user_column], row[column]
        if items is not None and not isinstance(items, list):
            raise InputError(f"{where}: {column!r} is no list of item ids.")
        ids = [
            _to_id(one.get(ITEM_ID) if isinstance(one, dict) else one, where, column)
            for one in items or ()
        ]
        said = row.get(self.context_column) if self.context_column else None
        return _to_id(user, where, self.user_column), ids, column, said

    def _add_contexts(
        self, lists: pa.Table, said: Sequence[Any], numbers: Sequence[int], where: str
    ) -> pa.Table:
        """The lists with what is said beside them, if that is read."""
        if self.context_column is None:
            return lists
        texts = []
        for number, value in zip(numbers, said, strict=True):
            if value is not None and not isinstance(value, dict):
                raise InputError(
                    f"{where.format(int(number))}: {self.context_column!r} is no object of names "
                    "and values."
                )
            texts.append(None if value is None else _to_json(value, where.format(int(number))))
        return lists.append_column(_CONTEXT, pa.array(texts, pa.string()))

    def _join(
        self,
        users: pa.Array,
        sizes: np.ndarray,
        ids: pa.Array,
        numbers: Sequence[int],
        where: str,
        column: str,
    ) -> pa.Table:
        """Rows of users and the next `sizes` of `ids`; a missing id is refused by its place."""
        without = np.flatnonzero(~has_text(users))
        if len(without):
            place = where.format(int(numbers[int(without[0])]))
            raise InputError(f"{place}: {self.user_column!r} is empty. Give every row a user id.")
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        wrong = np.flatnonzero(~has_text(ids))
        if len(wrong):
            row = int(np.searchsorted(offsets, wrong[0], side="right")) - 1
            raise InputError(
                f"{where.format(int(numbers[row]))}: {column!r} has an empty item id. Leave it out."
            )
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), ids)
        return pa.table([users, lists], schema=LISTS_SCHEMA)


def _is_json_lines(path: AnyPath) -> bool:
    stem = path.name.lower().removesuffix(compression.packed_ending(path))
    return stem.endswith(JSON_ENDINGS)


def _to_id(value: Any, where: str, name: str) -> str | None:
    """A text, or a whole number as its digits; None stays."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    shown = shorten(json.dumps(value))
    raise InputError(f"{where}: {name!r} holds {shown}; ids are texts or whole numbers.")


def _to_json(values: dict[str, Any], where: str) -> str:
    """An object as text, without what is null: a column of records has all names in every row."""
    try:
        return json.dumps({name: value for name, value in values.items() if value is not None})
    except TypeError as error:
        raise InputError(f"{where}: {error}. Write texts, numbers and lists of these.") from error


def _lines(path: AnyPath) -> Iterator[bytes]:
    """The lines of a file, whole or compressed."""
    try:
        with compression.open_bytes(path) as stream:
            rest = b""
            while chunk := stream.read(_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
            yield rest
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
