"""The items of examples that have grown: vocabulary, features, what is said of the items file.

Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.artifacts import item_attributes, records
from pipelines.sources import items as item_files
from pipelines.sources.columns import id_checks
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.attributes import ItemAttribute
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import FIRST_ITEM_ID
from serving.index.attributes import ItemAttributes


class LogItems(NamedTuple):
    """The items of a log, by their numbers.

    Attributes:
        item_ids: `[num]` ids.
        dense: `[num]` their dense ids, 0 for none.
        clicks: `[num]` their events that are learnt from.
        events: `[num]` all their events that are kept.
    """

    item_ids: pa.StringArray
    dense: np.ndarray
    clicks: np.ndarray
    events: np.ndarray

    def number(self, vocabulary: pa.Table) -> tuple[np.ndarray, int]:
        """Dense ids with those of new items: behind all others, the most frequent first.

        Args:
            vocabulary: From before; with features it may have items that nobody has clicked.

        Returns:
            `[num]` dense ids, and how many of the new items the vocabulary has already.
        """
        new = np.flatnonzero((self.events > 0) & (self.dense == 0))
        new = new[pc.sort_indices(self.item_ids.take(pa.array(new))).to_numpy()]
        new = new[np.argsort(-self.clicks[new], kind="stable")]
        known = vocabulary["item_id"].combine_chunks()
        rows = pc.index_in(self.item_ids.take(pa.array(new)), value_set=known)
        places = rows.fill_null(0).to_numpy().astype(np.int64)
        follow = rows.is_null().to_numpy(zero_copy_only=False)
        places[follow] = len(known) + np.arange(follow.sum())
        dense = self.dense.copy()
        dense[new] = places + FIRST_ITEM_ID
        return dense, int((~follow).sum())

    def in_order(self) -> np.ndarray:
        """Numbers of the items with a dense id, ascending by it."""
        numbers = np.flatnonzero(self.dense)
        return numbers[np.argsort(self.dense[numbers])]


class GrownItems(NamedTuple):
    """What the statistics say about an `ItemVocabulary`, which takes longer to make.

    Attributes:
        num_items: How many there are.
        counts: `[num_items]` clicks that are learnt from.
        categories: `[num_items]` how many each has.
        first_new: The first one of the log that was not there before, None where there is none.
        num_unclicked: Items that nobody clicks.
        features: Values of declared features.
    """

    num_items: int
    counts: np.ndarray
    categories: list[int]
    first_new: str | None
    num_unclicked: int
    features: ItemFeatures | None


def read_vocabulary(examples_dir: Path) -> pa.Table:
    """The vocabulary of examples as a table.

    Raises:
        InputError: It is missing or damaged.
    """
    return _read(examples_dir / records.VOCABULARY_NAME)


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot read the vocabulary {path}: it is missing or damaged. Copy the folder again, "
            "or make all examples again."
        ) from error


def write_vocabulary(
    old_dir: Path,
    new_dir: Path,
    catalogue: LogItems,
    config: RecallConfig,
    items: pa.Table | None = None,
) -> GrownItems:
    """Writes the old items in their places, and the new ones behind them.

    Args:
        old_dir: Folder of the vocabulary from before.
        new_dir: Folder to write to.
        catalogue: The items of the log.
        config: Says which features and attributes items have.
        items: Table of `item_rows.items_of` that all items take theirs from; None leaves the
            old ones as they are, and new ones without.

    Raises:
        InputError: The old vocabulary is missing or damaged.
    """
    old, features = read_vocabulary(old_dir), config.features.of("item")
    numbers = catalogue.in_order()
    places = catalogue.dense[numbers] - FIRST_ITEM_ID
    added = catalogue.item_ids.take(pa.array(numbers[places >= old.num_rows]))
    first_new = added[0].as_py() if len(added) else None
    if features and items is not None:
        known = pa.chunked_array([*old["item_id"].chunks, added]).combine_chunks()
        of_file = items["item_id"].combine_chunks()
        added = pa.concat_arrays(
            [added, of_file.filter(pc.invert(pc.is_in(of_file, value_set=known)))]
        )
    counts = np.zeros(old.num_rows + len(added), np.int64)
    counts[places] = catalogue.clicks[numbers]
    ids = pa.concat_arrays([*old["item_id"].chunks, added])
    rows = None
    if items is not None:
        rows = pc.index_in(ids, value_set=items["item_id"].combine_chunks())
    table = _grow(old, ids, counts, items, rows)
    pq.write_table(table, new_dir / records.VOCABULARY_NAME)
    found = None
    if features:
        before = old_dir / records.ITEM_FEATURES_NAME
        values = _values(before, items, rows, features, len(added))
        found = ItemFeatures.fit(features, values, counts)
        pq.write_table(found.to_table(), new_dir / records.ITEM_FEATURES_NAME)
    if attributes := config.features.attributes:
        before = old_dir / item_attributes.FILE_NAME
        values = _values(before, items, rows, attributes, len(added))
        item_attributes.write(new_dir, ItemAttributes(attributes, values))
    sizes = pc.list_value_length(table["categories"]).fill_null(0).to_pylist()
    num_unclicked = len(ids) - int((catalogue.events > 0).sum())
    return GrownItems(table.num_rows, counts, sizes, first_new, num_unclicked, found)


def _grow(
    old: pa.Table,
    item_ids: pa.StringArray,
    counts: np.ndarray,
    items: pa.Table | None,
    rows: pa.Array | None,
) -> pa.Table:
    """A vocabulary with items behind those of the old one, and what an items file says of all."""
    columns = {"item_id": item_ids, "count": pa.array(counts)}
    for name, none in (("categories", []), ("title", "")):
        kind = old.schema.field(name).type
        if items is None:
            added = pa.array([none] * (len(item_ids) - old.num_rows), kind)
            columns[name] = pa.chunked_array([*old[name].chunks, added])
        else:
            values = [value or none for value in items[name].take(rows).to_pylist()]
            columns[name] = pa.array(values, kind)
    return pa.table(columns).cast(old.schema)


def _values(
    before: Path,
    items: pa.Table | None,
    rows: pa.Array | None,
    declared: Sequence[FeatureColumn | ItemAttribute],
    num_added: int,
) -> pa.Table:
    """Values of all items: those of a new items file, or those from before."""
    if items is not None:
        return item_files.features_of(items, declared).take(rows)
    old = _read(before).replace_schema_metadata(None)
    added = {field.name: pa.nulls(num_added, field.type) for field in old.schema}
    return pa.concat_tables([old, pa.table(added, schema=old.schema)])


def match_file(items: pa.Table, catalogue: LogItems) -> dict[str, Any]:
    """How a new items file matches a catalogue that has grown, for the report.

    Args:
        items: As of `write_vocabulary`.
        catalogue: The items of the log.
    """
    numbers = catalogue.in_order()
    by_clicks = numbers[np.argsort(-catalogue.clicks[numbers], kind="stable")]
    file_ids = items["item_id"].combine_chunks()
    found = id_checks.match_items(catalogue.item_ids.take(pa.array(by_clicks)), file_ids)
    lists = items["categories"].combine_chunks()
    marked = id_checks.find_marked_categories(lists)
    return {"items": len(file_ids), **found, "marked_categories": marked}


def match_grown(
    old_report: Mapping[str, Any], catalogue: LogItems, num_known: int, first_new: str | None
) -> dict[str, Any]:
    """What the items file of the first log says of a catalogue that has grown.

    The file is not there any more: none of the new items is taken from it, but for those that
    it told of before somebody clicked them.

    Args:
        old_report: From before the change.
        catalogue: The items of the log.
        num_known: New ones among them that the file told of.
        first_new: An item that is new, None where there is none.
    """
    match = {**old_report["items_file"], **old_report["unmatched_items"]}
    match["matched"] += num_known
    match["marked_categories"] = old_report["marked_categories"]
    if not match["items"]:
        return match
    only_in_log = match.get("only_in_log")
    return {
        "matched_plain": match["matched"],
        "only_in_file": None,
        **match,
        "unmatched": int((catalogue.dense > 0).sum()) - match["matched"],
        "only_in_log": first_new if only_in_log is None else only_in_log,
    }
