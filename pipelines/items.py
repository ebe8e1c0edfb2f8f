"""The items file: categories and titles by raw item id."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import table_files
from pipelines.bad_rows import BadRows
from pipelines.column_types import has_text, to_text
from recall.errors import InputError

ITEM_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("categories", pa.list_(pa.string())),
        ("title", pa.string()),
    ]
)

CATEGORY_SEPARATOR = "|"


class ItemColumns(NamedTuple):
    """Names of an items file's columns; a file may lack the title."""

    item_id: str = "item_id"
    category: str = "category"
    title: str = "title"


DEFAULT_COLUMNS = ItemColumns()


def read_items(path: str, columns: ItemColumns = DEFAULT_COLUMNS) -> pa.Table:
    """Reads an items file: CSV or Parquet; a file, folder or pattern.

    Several categories of one item are separated by `|` (or, in Parquet, are a
    list of texts). White space around them is removed.

    Returns:
        Table of `ITEM_SCHEMA`, one row per item in the order of the file, "" for
        a missing title.

    Raises:
        InputError: A file cannot be read, lacks a column, repeats an item, or
            has a row without an item id.
    """
    parts, seen = [], {}
    for file in table_files.list_files(str(path)):
        names = table_files.read_names(file)
        has_title = columns.title in names
        wanted = [columns.item_id, columns.category]
        if has_title or columns.title != DEFAULT_COLUMNS.title:
            wanted.append(columns.title)
        table_files.require_columns(file, names, wanted)
        for rows, batch in table_files.read_rows(file, wanted, BadRows()):
            table = _convert(batch, file, columns, has_title)
            _check_ids(table["item_id"], rows, file, columns.item_id, seen)
            parts.append(table)
    if not seen:
        raise InputError(f"{path} has no items. Give a file with at least one, or leave it out.")
    return pa.Table.from_batches(parts, schema=ITEM_SCHEMA)


def _convert(
    batch: pa.RecordBatch, file: Path, columns: ItemColumns, has_title: bool
) -> pa.RecordBatch:
    item_ids = to_text(batch[columns.item_id], str(file), columns.item_id)
    categories = _split_categories(batch[columns.category], str(file), columns.category)
    if has_title:
        titles = to_text(batch[columns.title], str(file), columns.title).fill_null("")
    else:
        titles = pa.array([""] * batch.num_rows, pa.string())
    return pa.RecordBatch.from_arrays([item_ids, categories, titles], schema=ITEM_SCHEMA)


def _split_categories(array: pa.Array, file: str, column: str) -> pa.ListArray:
    """Category cells as lists of distinct, non-empty names in the order given."""
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lists = array
        names = to_text(pc.list_flatten(lists), file, column)
    else:
        lists = pc.split_pattern(to_text(array, file, column), CATEGORY_SEPARATOR)
        names = pc.list_flatten(lists)
    owners = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    names = pc.utf8_trim_whitespace(names).fill_null("")
    codes = names.dictionary_encode().indices.to_numpy().astype(np.int64)
    _, firsts = np.unique(owners * (len(names) + 1) + codes, return_index=True)
    kept = np.sort(firsts[has_text(names)[firsts]])
    sizes = np.bincount(owners[kept], minlength=len(array))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names.take(pa.array(kept)))


def _check_ids(
    item_ids: pa.Array, rows: np.ndarray, file: Path, column: str, seen: dict[str, str]
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
                f"Keep one row per item; separate its categories by {CATEGORY_SEPARATOR!r}."
            )
        seen[item_id] = f"data row {row + 1}"
