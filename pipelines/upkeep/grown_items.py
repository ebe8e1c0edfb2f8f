"""The items of examples that have grown: vocabulary, and what is said of the items file.

Imports no TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.artifacts import records
from pipelines.sources.columns import id_checks
from recall.errors import InputError


class GrownItems(NamedTuple):
    """What the statistics say about an `ItemVocabulary`, which takes longer to make.

    Attributes:
        num_items: How many there are.
        counts: `[num_items]` clicks that are learnt from.
        categories: `[num_items]` how many each has.
        first_new: The first one that was not there before, None where there is none.
    """

    num_items: int
    counts: np.ndarray
    categories: list[int]
    first_new: str | None


def write_vocabulary(
    old_dir: Path,
    new_dir: Path,
    item_ids: pa.StringArray,
    dense: np.ndarray,
    clicks: np.ndarray,
    items: pa.Table | None = None,
) -> GrownItems:
    """Writes the old items in their places, and the new ones behind them.

    Args:
        old_dir: Folder of the vocabulary from before.
        new_dir: Folder to write to.
        item_ids: `[num]` all items of the log.
        dense: `[num]` their dense ids, 0 for none.
        clicks: `[num]` their events that are learnt from.
        items: Table of `item_id`, `categories` and `title` that all items take theirs from;
            None leaves the old ones as they are, and new ones without.

    Raises:
        InputError: The old vocabulary is missing or damaged.
    """
    path = old_dir / records.VOCABULARY_NAME
    try:
        old = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot read the vocabulary {path}: it is missing or damaged. Copy the folder again, "
            "or make all examples again."
        ) from error
    numbers = np.flatnonzero(dense)
    numbers = numbers[np.argsort(dense[numbers])]
    clicks = clicks[numbers]
    added = len(numbers) - old.num_rows
    new = pa.table(
        {
            "item_id": item_ids.take(pa.array(numbers[old.num_rows :])),
            "count": np.zeros(added, np.int64),
            "categories": pa.array([[]] * added, old.schema.field("categories").type),
            "title": pa.array([""] * added, pa.string()),
        }
    )
    table = pa.concat_tables([old, new.cast(old.schema)])
    at = table.schema.get_field_index("count")
    table = table.set_column(at, "count", pa.array(clicks))
    if items is not None:
        rows = pc.index_in(table["item_id"].combine_chunks(), items["item_id"].combine_chunks())
        for name, none in (("categories", []), ("title", "")):
            at, values = table.schema.get_field_index(name), items[name].take(rows).to_pylist()
            column = pa.array([value or none for value in values], table.schema.field(at).type)
            table = table.set_column(at, name, column)
    pq.write_table(table.cast(old.schema), new_dir / records.VOCABULARY_NAME)
    sizes = pc.list_value_length(table["categories"]).fill_null(0)
    first_new = table["item_id"][old.num_rows].as_py() if added else None
    return GrownItems(table.num_rows, clicks, sizes.to_pylist(), first_new)


def match_file(items: pa.Table, new_dir: Path) -> dict[str, Any]:
    """How a new items file matches a catalogue that has grown, for the report.

    Args:
        items: As of `write_vocabulary`.
        new_dir: Where it has written to.
    """
    table = pq.read_table(new_dir / records.VOCABULARY_NAME, columns=["item_id", "count"])
    by_clicks = table.sort_by([("count", "descending")])["item_id"].combine_chunks()
    file_ids = items["item_id"].combine_chunks()
    match = {"items": len(file_ids), **id_checks.match_items(by_clicks, file_ids)}
    lists = items["categories"].combine_chunks()
    return match | {"marked_categories": id_checks.find_marked_categories(lists)}


def match_grown(
    old_report: Mapping[str, Any], num_items: int, first_new: str | None
) -> dict[str, Any]:
    """What the items file of the first log says of a catalogue that has grown.

    The file is not there any more: none of the new items is taken from it.

    Args:
        old_report: From before the change.
        num_items: Of the catalogue now.
        first_new: An item that is new, None where there is none.
    """
    match = {**old_report["items_file"], **old_report["unmatched_items"]}
    match["marked_categories"] = old_report["marked_categories"]
    if not match["items"]:
        return match
    only_in_log = match.get("only_in_log")
    return {
        "matched_plain": match["matched"],
        "only_in_file": None,
        **match,
        "unmatched": num_items - match["matched"],
        "only_in_log": first_new if only_in_log is None else only_in_log,
    }
