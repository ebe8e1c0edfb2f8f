"""Schema and statistics of the events as protos of TensorFlow Metadata.

TensorFlow Data Validation reads them (`tfdv.load_schema_text`,
`tfdv.load_stats_binary`), compares two nights and draws them. Raw ids, because
dense ones mean another item every night. Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipelines.ingestion.sequences import Part
from pipelines.sources.columns.time_findings import DAY_S

EVENT_SCHEMA_NAME = "event_schema.pbtxt"
FOLDER = "event_statistics"
FILE_NAME = "FeatureStats.pb"
"""As TFX's StatisticsGen names it, below `Split-<name>/`."""
LOG, USERS = "log", "users"
"""The splits that are none of the examples': all events, and one row per user."""
EVENTS = "events"
"""The environment of all splits but `users`, which has its own."""
_TOP, _RANKS = 20, 1000
"""As many values as TFDV keeps by default."""
_BUCKETS = 10


def build_schema(*, has_times: bool) -> schema_pb2.Schema:
    """Describes the events of every split, and the users.

    Args:
        has_times: Whether their timestamps are times.
    """
    schema = schema_pb2.Schema(default_environment=[EVENTS, USERS])
    _add_feature(schema, "item_id", schema_pb2.BYTES, without=USERS)
    _add_feature(schema, "num_events", schema_pb2.INT, without=EVENTS).int_domain.min = 1
    if has_times:  # Statistics have them of the whole log alone.
        _add_feature(schema, "timestamp", schema_pb2.FLOAT, without=USERS).presence.Clear()
    return schema


def _add_feature(
    schema: schema_pb2.Schema, name: str, kind: int, *, without: str
) -> schema_pb2.Feature:
    feature = schema.feature.add(name=name, type=kind, not_in_environment=[without])
    feature.presence.min_fraction = 1.0
    feature.presence.min_count = 1
    feature.value_count.min = feature.value_count.max = 1
    return feature


def build_statistics(
    counts: Mapping[str, pa.Table],
    lengths: Sequence[Sequence[int]],
    days: Sequence[Sequence[int]],
) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Statistics of every split.

    Args:
        counts: Split -> `item_id` and `count`, its events by item.
        lengths: Pairs of a number of events and the users that have it.
        days: Pairs of a day since 1970 and its events; none where the log has no times.

    Returns:
        Split -> its list of one dataset. `log` has the times too, by the day; `users` a row
        per user. Ids of users are left out: they are nobody's business.
    """
    found = {}
    for split, table in counts.items():
        dataset, statistics = _dataset(split, pc.sum(table["count"]).as_py() or 0)
        _add_texts(dataset, "item_id", table)
        if split == LOG and days:
            values, events = np.array(days, np.int64).T
            feature = _add_numbers(dataset, "timestamp", values * DAY_S, events)
            feature.type = statistics_pb2.FeatureNameStatistics.FLOAT
        found[split] = statistics
    values, users = np.array(lengths, np.int64).T
    dataset, found[USERS] = _dataset(USERS, int(users.sum()))
    _add_numbers(dataset, "num_events", values, users)
    return found


def tables_of(item_ids: pa.StringArray, counts: Mapping[Part, np.ndarray]) -> dict[str, pa.Table]:
    """Name of a part -> its events by item."""
    return {
        part.label: pa.table({"item_id": item_ids, "count": of_part})
        for part, of_part in counts.items()
    }


def write_all(
    examples_dir: str | Path,
    counts: Mapping[str, pa.Table],
    statistics: Mapping[str, Any],
    report: Mapping[str, Any],
) -> None:
    """Writes schema and statistics of a log that was ingested.

    Args:
        examples_dir: The folder of examples.
        counts: Name of a part -> `item_id` and `count`, its events by item.
        statistics: `statistics.json`.
        report: `ingest_report.json`.
    """
    days = report["clicks_by_day"]
    whole = _add_up(list(counts.values()))
    splits = {name: counts[name] for name in statistics["splits"]}
    built = build_statistics({LOG: whole, **splits}, statistics["lengths"], days)
    write(examples_dir, build_schema(has_times=bool(days)), built)


def _add_up(tables: Sequence[pa.Table]) -> pa.Table:
    """The sum of tables of `item_id` and `count` that have the same items in the same order."""
    total = np.sum([table["count"].to_numpy() for table in tables], axis=0)
    return pa.table({"item_id": tables[0]["item_id"], "count": total})


def write(
    examples_dir: str | Path,
    schema: schema_pb2.Schema,
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
) -> None:
    """Writes the schema, and each split's statistics into a folder of its own."""
    text = text_format.MessageToString(schema)
    (Path(examples_dir) / EVENT_SCHEMA_NAME).write_text(text, encoding="utf-8")
    for split, one in statistics.items():
        path = Path(examples_dir) / FOLDER / f"Split-{split}" / FILE_NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(one.SerializeToString(deterministic=True))


def _dataset(name: str, num_examples: int) -> tuple[Any, Any]:
    """A dataset, and the list it is alone in."""
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    return statistics.datasets.add(name=name, num_examples=num_examples), statistics


def _add_texts(
    dataset: statistics_pb2.DatasetFeatureStatistics, name: str, table: pa.Table
) -> None:
    """A text per example, from a table of them with their counts."""
    table = table.filter(pc.greater(table["count"], 0))
    feature = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    feature.path.step.append(name)
    strings = feature.string_stats
    _fill_common(strings.common_stats, dataset.num_examples)
    strings.unique = table.num_rows
    counts = table["count"].to_numpy()
    sizes = pc.binary_length(table["item_id"].cast(pa.binary())).to_numpy()
    strings.avg_length = float(sizes @ counts / max(dataset.num_examples, 1))
    if len(counts) > _RANKS:  # Most of a catalogue need not be sorted.
        table = table.filter(pa.array(counts >= np.partition(counts, -_RANKS)[-_RANKS]))
    table = table.sort_by([("count", "descending"), ("item_id", "ascending")])
    rows = table.slice(0, _RANKS).to_pylist()
    for rank, row in enumerate(rows):
        strings.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=row["item_id"], sample_count=row["count"]
        )
    for row in rows[:_TOP]:
        strings.top_values.add(value=row["item_id"], frequency=row["count"])


def _add_numbers(
    dataset: statistics_pb2.DatasetFeatureStatistics,
    name: str,
    values: np.ndarray,
    weights: np.ndarray,
) -> statistics_pb2.FeatureNameStatistics:
    """A number per example, from ascending values with the examples that have each."""
    feature = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.INT)
    feature.path.step.append(name)
    numbers, values = feature.num_stats, values.astype(np.float64)
    _fill_common(numbers.common_stats, int(weights.sum()))
    mean = float(np.average(values, weights=weights))
    numbers.mean = mean
    numbers.std_dev = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
    numbers.num_zeros = int(weights[values == 0].sum())
    numbers.min, numbers.max = float(values[0]), float(values[-1])
    cumulative = np.cumsum(weights)
    at = np.linspace(0, cumulative[-1] - 1, _BUCKETS + 1).round().astype(int)
    quantiles = values[np.searchsorted(cumulative, at, side="right")]
    numbers.median = float(quantiles[_BUCKETS // 2])
    standard = numbers.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    heights, edges = np.histogram(values, _BUCKETS, weights=weights)
    _fill_buckets(standard, edges, heights)
    by_rank = numbers.histograms.add(type=statistics_pb2.Histogram.QUANTILES)
    _fill_buckets(by_rank, quantiles, np.full(_BUCKETS, weights.sum() / _BUCKETS))
    return feature


def _fill_buckets(
    histogram: statistics_pb2.Histogram, edges: np.ndarray, heights: np.ndarray
) -> None:
    for low, high, height in zip(edges[:-1], edges[1:], heights, strict=True):
        histogram.buckets.add(
            low_value=float(low), high_value=float(high), sample_count=float(height)
        )


def _fill_common(common: statistics_pb2.CommonStatistics, num_examples: int) -> None:
    """Every example has the feature, once."""
    common.num_non_missing = common.tot_num_values = num_examples
    common.min_num_values = common.max_num_values = 1
    common.avg_num_values = 1.0
    for _ in range(_BUCKETS):
        common.num_values_histogram.buckets.add(
            low_value=1, high_value=1, sample_count=num_examples / _BUCKETS
        )
    common.num_values_histogram.type = statistics_pb2.Histogram.QUANTILES
