"""The items file: categories, titles and declared features by raw item id."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources import feature_values
from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.column_types import has_text, to_mask, to_text
from pipelines.sources.feature_values import DeclaredColumn
from pipelines.sources.tables import table_files
from pipelines.sources.tables.text_format import TextOptions
from recall.errors import InputError
from recall.feature_columns.attributes import CATEGORY_NAMES
from recall.feature_columns.fitting import raw_type
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

FROM_FIELDS = ("categories", "title")
"""What a feature names as its column to be made of a field that every item has: the
categories and the title as the flags say where they are."""

_PREFIX = "feature:"
"""Of the columns of other features in a table of items, as a feature may be named as a field."""

_FEATURE_REMEDY = (
    "Correct `features.columns` of the settings: `column` says what a feature is called here; "
    "categories and title are read as --items_category_column and --items_title_column say."
)


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

    def found_in(self, names: Sequence[str]) -> "ItemColumns":
        """The same; the default is `categories` where a file has this and no `category`."""
        is_missing = self.category == ItemColumns().category and self.category not in names
        is_other = is_missing and CATEGORY_NAMES in names
        return self._replace(category=CATEGORY_NAMES) if is_other else self


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

    def read(self, features: Sequence[DeclaredColumn] = ()) -> pa.Table:
        """The items, and their values of declared features (see `read_items`).

        Raises:
            InputError: It cannot be read.
        """
        return read_items(self.path, self.columns, self.options, features)

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
    features: Sequence[DeclaredColumn] = (),
) -> pa.Table:
    """Reads an items file: text or Parquet; a file, folder or pattern.

    Several categories of one item are separated by `columns.separator` (or, in
    Parquet, are a list of texts; in a RecBole column of words, by blanks). White
    space around them is removed.

    Where features or attributes are declared, a file may lack the categories.

    Args:
        path: Of the file.
        columns: Names of its columns.
        options: How text files are written.
        features: Declared features and attributes of items; `features_of` has their values.

    Returns:
        Table of `ITEM_SCHEMA`, one row per item in the order of the file, "" for
        a missing title; behind them a column for every feature that is not made of these.

    Raises:
        InputError: A file cannot be read, lacks a column, repeats an item, or
            has a row without an item id.
    """
    own = [column for column in features if column.source not in FROM_FIELDS]
    parts, raw, seen = [], [], {}
    tables = table_files.open_tables(str(path), options)
    columns = columns.found_in(tables[0].names)
    for table in tables:
        category_columns = _category_columns(table, columns, features)
        texts = {name: getattr(columns, name, name) for name in _TEXTS}
        texts = {n: column for n, column in texts.items() if column in table.names or column != n}
        named = [columns.item_id, *category_columns, *texts.values()]
        table.require(named, _REMEDY)
        table.require([column.source for column in own], _FEATURE_REMEDY)
        table.require_single([columns.item_id])
        wanted = list(dict.fromkeys([*named, *(column.source for column in own)]))
        for rows, batch in table.read_rows(wanted, BadRows()):
            file = str(table.path)
            item_ids = to_text(batch[columns.item_id], file, columns.item_id)
            _check_ids(item_ids, rows, table.path, columns, seen)
            raw.append([batch[name] for name in category_columns])
            values = {
                _PREFIX + c.name: feature_values.read_feature(
                    c, batch[c.source], rows, file, columns.separator
                )
                for c in own
            }
            parts.append(_Part(table, item_ids, _read_texts(batch, file, texts) | values))
    if not seen:
        raise InputError(f"{path} has no items. Give a file with at least one, or leave it out.")
    read = _read_flags if _are_flags(raw) else _read_names
    types = [pa.field(_PREFIX + column.name, raw_type(column)) for column in own]
    schema = pa.schema([*ITEM_SCHEMA, *types])
    batches = [
        pa.RecordBatch.from_pydict(
            {
                "item_id": part.item_ids,
                "categories": read(part.table, cells, columns)
                if cells
                else pa.array([[]] * len(part.item_ids), ITEM_SCHEMA.field("categories").type),
                **part.columns,
            },
            schema=schema,
        )
        for part, cells in zip(parts, raw, strict=True)
    ]
    return pa.Table.from_batches(batches, schema=schema)


def features_of(items: pa.Table, features: Sequence[DeclaredColumn]) -> pa.Table:
    """The values of declared features, one column of `fitting.raw_type` for each.

    Args:
        items: Of `read_items` with these features, or what a source brings itself.
        features: Declared features or attributes of items.

    Raises:
        InputError: One has no column.
    """
    values = {}
    for column in features:
        name = column.source if column.source in FROM_FIELDS else _PREFIX + column.name
        if name not in items.column_names:
            raise InputError(
                f"The log brings its items itself, without a column {column.source!r} for "
                f"{column.name!r}. Give an items file (--items), or leave it out."
            )
        array = items[name].combine_chunks()
        if column.source in FROM_FIELDS:
            array = feature_values.read_feature(column, array, np.arange(len(array)), "The items")
        values[column.name] = array
    return pa.table(values)


def _category_columns(
    table: table_files.Table, columns: ItemColumns, features: Sequence[DeclaredColumn]
) -> list[str]:
    """Names of the columns of categories; none where features make them needless."""
    names = columns.category.split(",")
    is_default = columns.category == DEFAULT_ITEM_COLUMNS.category
    is_needed = not features or any(column.source == "categories" for column in features)
    return names if is_needed or not is_default or names[0] in table.names else []


class _Part(NamedTuple):
    """Some rows of an items file, but for their categories."""

    table: table_files.Table
    item_ids: pa.Array
    columns: dict[str, pa.Array]


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
    item_ids: pa.Array, rows: np.ndarray, file: Path, columns: ItemColumns, seen: dict[str, str]
) -> None:
    """Refuses empty and repeated ids; `seen` maps an id to its place."""
    empty = np.flatnonzero(~has_text(item_ids))
    if len(empty):
        raise InputError(
            f"Data row {rows[empty[0]] + 1} of {file}: column {columns.item_id!r} is empty. "
            "Give every item an id."
        )
    for row, item_id in zip(rows.tolist(), item_ids.to_pylist(), strict=True):
        if item_id in seen:
            raise InputError(
                f"Data row {row + 1} of {file} repeats the item {item_id!r} of {seen[item_id]}. "
                f"Keep one row per item; separate its categories by {columns.separator!r}."
            )
        seen[item_id] = f"data row {row + 1}"
