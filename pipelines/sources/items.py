"""The items file: categories and titles by raw item id."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.column_types import has_text, to_mask, to_text
from pipelines.sources.tables import table_files
from pipelines.sources.tables.text_format import TextOptions
from recall.errors import InputError
from serving.api.item_changes import ITEM_FIELDS
from serving.api.request_fields import Kind
from serving.release import storage
from serving.stores import urls

_ARROW = {Kind.TEXT: pa.string(), Kind.TEXTS: pa.list_(pa.string())}

ITEM_SCHEMA = pa.schema([(f.name, _ARROW[f.kind]) for f in ITEM_FIELDS if f.in_items_file])
"""The fields of an item that a file may have: ids, categories, titles."""

_TEXTS = tuple(f.name for f in ITEM_FIELDS[1:] if f.in_items_file and f.kind is Kind.TEXT)
"""Those that are one text: a file may lack them."""

CATEGORY_SEPARATOR = "|"


class ItemColumns(NamedTuple):
    """Names of an items file's columns; a file may lack the title.

    Attributes:
        item_id: The column of ids.
        category: The column of categories, or several separated by commas.
            Where several hold nothing but 0 and 1, their names are the
            categories of the items with a 1.
        title: The column of titles.
        separator: What stands between several categories in one text.
    """

    item_id: str = "item_id"
    category: str = "category"
    title: str = "title"
    separator: str = CATEGORY_SEPARATOR


DEFAULT_ITEM_COLUMNS = ItemColumns()
_REMEDY = (
    "Rename the column, or name the one to read (--items_id_column, --items_category_column, "
    "--items_title_column); name all columns of a file without a header (--items_columns)."
)


class ItemsFile(NamedTuple):
    """An items file and how it is to be read.

    Attributes:
        path: A file, folder or pattern.
        columns: Names of the columns.
        options: How text files are written.
    """

    path: str
    columns: ItemColumns = DEFAULT_ITEM_COLUMNS
    options: TextOptions = TextOptions(prefix="items_")

    @classmethod
    def of(cls, file: "ItemsFile | str | Path | None") -> "ItemsFile | None":
        """The file at a path, read as by default; an `ItemsFile` or None stays."""
        return file if file is None or isinstance(file, ItemsFile) else cls(str(file))

    def read(self) -> pa.Table:
        """The items (see `read_items`).

        Raises:
            InputError: It cannot be read.
        """
        return read_items(self.path, self.columns, self.options)

    def fingerprint(self) -> str:
        """SHA-256 over the bytes of the file and what says how it is read.

        Raises:
            InputError: It cannot be read.
        """
        if self[1:] != ItemsFile(self.path)[1:] or urls.is_url(self.path):
            files = table_files.list_files(self.path)
            return table_files.fingerprint(files, [repr(self.columns), repr(self.options)])
        try:
            return storage.sha256_of_file(self.path)
        except OSError as error:
            raise InputError(f"Cannot read {self.path}: {error.strerror}.") from error


def read_items(
    path: str,
    columns: ItemColumns = DEFAULT_ITEM_COLUMNS,
    options: TextOptions = ItemsFile._field_defaults["options"],
) -> pa.Table:
    """Reads an items file: text or Parquet; a file, folder or pattern.

    Several categories of one item are separated by `columns.separator` (or, in
    Parquet, are a list of texts; in a RecBole column of words, by blanks). White
    space around them is removed.

    Returns:
        Table of `ITEM_SCHEMA`, one row per item in the order of the file, "" for
        a missing title.

    Raises:
        InputError: A file cannot be read, lacks a column, repeats an item, or
            has a row without an item id.
    """
    category_columns = columns.category.split(",")
    parts, raw, seen = [], [], {}
    for table in table_files.open_tables(str(path), options):
        texts = {name: getattr(columns, name, name) for name in _TEXTS}
        texts = {n: column for n, column in texts.items() if column in table.names or column != n}
        wanted = [columns.item_id, *category_columns, *texts.values()]
        table.require(wanted, _REMEDY)
        table.require_single([columns.item_id])
        for rows, batch in table.read_rows(list(dict.fromkeys(wanted)), BadRows()):
            file = str(table.path)
            item_ids = to_text(batch[columns.item_id], file, columns.item_id)
            _check_ids(item_ids, rows, table.path, columns.item_id, seen, columns.separator)
            raw.append([batch[name] for name in category_columns])
            parts.append(_Part(table, item_ids, _read_texts(batch, file, texts)))
    if not seen:
        raise InputError(f"{path} has no items. Give a file with at least one, or leave it out.")
    read = _read_flags if _are_flags(raw) else _read_names
    batches = [
        pa.RecordBatch.from_pydict(
            {
                "item_id": part.item_ids,
                "categories": read(part.table, cells, columns),
                **part.texts,
            },
            schema=ITEM_SCHEMA,
        )
        for part, cells in zip(parts, raw, strict=True)
    ]
    return pa.Table.from_batches(batches, schema=ITEM_SCHEMA)


class _Part(NamedTuple):
    """Some rows of an items file, but for their categories."""

    table: table_files.Table
    item_ids: pa.Array
    texts: dict[str, pa.Array]


def _read_texts(batch: pa.RecordBatch, file: str, columns: dict[str, str]) -> dict[str, pa.Array]:
    """Texts by the name of the field; "" where there is none.

    Args:
        batch: Rows of the file.
        file: For errors.
        columns: Name of the field -> column; fields that the file lacks are left out.
    """
    return {
        name: to_text(batch[columns[name]], file, columns[name]).fill_null("")
        if name in columns
        else pa.array([""] * batch.num_rows, pa.string())
        for name in _TEXTS
    }


def _are_flags(parts: list[list[pa.Array]]) -> bool:
    """Whether several columns say by 0 and 1 which categories an item has."""
    if len(parts[0]) < 2:
        return False
    flags = pa.array(["0", "1"])
    return all(
        not pa.types.is_nested(array.type)
        and pc.all(pc.is_in(array.cast(pa.string()), value_set=flags)).as_py() is not False
        for arrays in parts
        for array in arrays
    )


def _read_flags(
    table: table_files.Table, cells: list[pa.Array], columns: ItemColumns
) -> pa.ListArray:
    """Names of the columns that hold a 1."""
    del table
    marked = np.stack([to_mask(pc.equal(a.cast(pa.string()), "1")) for a in cells], axis=1)
    owners, which = np.nonzero(marked)
    names = pa.array(columns.category.split(",")).take(pa.array(which))
    return _group(owners, names, len(marked))


def _read_names(
    table: table_files.Table, cells: list[pa.Array], columns: ItemColumns
) -> pa.ListArray:
    """Category cells as lists of distinct, non-empty names in the order given."""
    owners, names = [], []
    for column, array in zip(columns.category.split(","), cells, strict=True):
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            lists = array
            texts = to_text(pc.list_flatten(lists), str(table.path), column)
        else:
            separator = " " if column in table.lists else columns.separator
            lists = pc.split_pattern(to_text(array, str(table.path), column), separator)
            texts = pc.list_flatten(lists)
        owners.append(pc.list_parent_indices(lists).to_numpy().astype(np.int64))
        names.append(pc.utf8_trim_whitespace(texts).fill_null(""))
    return _group(np.concatenate(owners), pa.concat_arrays(names), len(cells[0]))


def _group(owners: np.ndarray, names: pa.StringArray, num_rows: int) -> pa.ListArray:
    """Names as one list of distinct, non-empty ones per row, in the order given.

    Args:
        owners: `[n]` int64, the row of each name.
        names: `[n]` texts.
        num_rows: Lists wanted.
    """
    order = np.argsort(owners, kind="stable")
    owners, names = owners[order], names.take(pa.array(order))
    codes = names.dictionary_encode().indices.to_numpy().astype(np.int64)
    _, firsts = np.unique(owners * (len(names) + 1) + codes, return_index=True)
    kept = np.sort(firsts[has_text(names)[firsts]])
    sizes = np.bincount(owners[kept], minlength=num_rows)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names.take(pa.array(kept)))


def _check_ids(
    item_ids: pa.Array,
    rows: np.ndarray,
    file: Path,
    column: str,
    seen: dict[str, str],
    separator: str,
) -> None:
    """Refuses empty and repeated ids; `seen` maps an id to its place."""
    empty = np.flatnonzero(~has_text(item_ids))
    if len(empty):
        raise InputError(
            f"Data row {rows[empty[0]] + 1} of {file}: column {column!r} is empty. "
            "Give every item an id."
        )
    for row, item_id in zip(rows.tolist(), item_ids.to_pylist(), strict=True):
        if item_id in seen:
            raise InputError(
                f"Data row {row + 1} of {file} repeats the item {item_id!r} of {seen[item_id]}. "
                f"Keep one row per item; separate its categories by {separator!r}."
            )
        seen[item_id] = f"data row {row + 1}"
