"""Items of the log beside those of the items file: one vocabulary, with what is known of each.

Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources import items as item_files
from pipelines.sources.columns import id_checks
from pipelines.sources.events import EventSource
from pipelines.sources.items import ItemsFile
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.attributes import ItemAttribute
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import ItemVocabulary
from serving.index.attributes import ItemAttributes


def items_of(
    source: EventSource, items_file: ItemsFile | None, config: RecallConfig
) -> pa.Table | None:
    """The table of items, with what the settings declare of them; None without one.

    Raises:
        InputError: It cannot be read, or there is none although features or attributes are.
    """
    features, attributes = config.features.of("item"), config.features.attributes
    declared = (*features, *attributes)
    items = source.items() if items_file is None else items_file.read(declared)
    if declared and items is None:
        key = "columns" if features else "attributes"
        raise InputError(
            f"features.{key} declares {declared[0].name!r} of items, but there is no items "
            "file. Pass --items, or leave it out."
        )
    return items


def join_log(
    items: pa.Table, log_ids: pa.Array, clicks: np.ndarray, config: RecallConfig
) -> tuple[ItemVocabulary, dict[str, Any]]:
    """The vocabulary of a log and an items file, and how they match, for the report.

    Args:
        items: Of `items_of`.
        log_ids: `[n]` string, ids of the log.
        clicks: `[n]` int, their training clicks.
        config: The settings.

    Raises:
        InputError: No item of the log is in the file, where a model is to learn from it.
    """
    file_ids = items["item_id"].combine_chunks()
    match = {"items": len(file_ids), **id_checks.match_items(log_ids, file_ids)}
    check_match(match, config)
    lists = items["categories"].combine_chunks()
    match["marked_categories"] = id_checks.find_marked_categories(lists)
    vocabulary = build_vocabulary(items, log_ids, clicks, config.features.of("item"))
    num_unclicked = vocabulary.num_items - len(log_ids)
    return vocabulary, match | describe(vocabulary.features, num_unclicked, config)


def check_match(match: Mapping[str, Any], config: RecallConfig) -> None:
    """Refuses an items file of other items where a model is to learn from it.

    Args:
        match: From `pipelines.sources.columns.id_checks.match_items`.
        config: The settings.

    Raises:
        InputError: No item of the log is in it.
    """
    if config.features.of("item"):
        needed, key = "features features.columns declares", "features.columns"
    elif config.features.attributes:
        needed, key = "attributes features.attributes declares", "features.attributes"
    else:
        return
    if match["matched"] == 0:
        raise InputError(
            f"None of the {match['unmatched']:,} items of the log is in the items file, whose "
            f"{needed}: for example the log has {match['only_in_log']!r}, the file has "
            f"{match['only_in_file']!r}. Write the ids of both alike, or leave {key} out."
        )


def build_vocabulary(
    items: pa.Table, log_ids: pa.Array, clicks: np.ndarray, features: Sequence[FeatureColumn]
) -> ItemVocabulary:
    """The items of the log in their order and, where they have features, those that nobody clicked.

    Args:
        items: Of `read_items`.
        log_ids: `[n]` string, ids of the log.
        clicks: `[n]` int, their training clicks.
        features: Declared features of items.
    """
    file_ids = items["item_id"].combine_chunks()
    ids = log_ids
    if features:
        is_new = pc.invert(pc.is_in(file_ids, value_set=log_ids))
        ids = pa.concat_arrays([log_ids.cast(pa.string()), file_ids.filter(is_new)])
        clicks = np.concatenate([clicks, np.zeros(len(ids) - len(clicks), np.int64)])
    rows = pc.index_in(ids, value_set=file_ids)
    categories, titles = (items[name].take(rows).to_pylist() for name in ("categories", "title"))
    values = None
    if features:
        values = item_files.features_of(items, features).take(rows)
    fitted = None if values is None else ItemFeatures.fit(features, values, clicks)
    return ItemVocabulary(
        ids.to_pylist(), clicks, [c or () for c in categories], titles, features=fitted
    )


def attribute_rows(
    items: pa.Table, vocabulary: ItemVocabulary, attributes: Sequence[ItemAttribute]
) -> ItemAttributes | None:
    """The attributes of the items of a vocabulary, row by row; None where none are declared.

    Args:
        items: Of `read_items` with these attributes.
        vocabulary: Of `build_vocabulary`.
        attributes: As declared.
    """
    if not attributes:
        return None
    item_ids = pa.array(vocabulary.item_ids)
    rows = pc.index_in(item_ids, value_set=items["item_id"].combine_chunks())
    return ItemAttributes(attributes, item_files.features_of(items, attributes).take(rows))


def describe(
    features: ItemFeatures | None, num_unclicked: int, config: RecallConfig
) -> dict[str, Any]:
    """Facts of the features for the report; nothing where there are none."""
    if features is None:
        return {}
    counted = features.count_values()
    columns = {
        column.name: {"kind": column.kind, **counted[column.name]._asdict()}
        for column in features.columns
    }
    return {
        "features": {
            "unclicked_items": num_unclicked,
            "max_unknown_share": config.features.max_unknown_share,
            "columns": columns,
        }
    }
