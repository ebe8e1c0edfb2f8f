"""Features of events and of requests on their way from the log into examples.

A name is a number from the moment that it is read: first of its run, then of the log, in
examples of the vocabulary. Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifacts.event_columns import COLUMNS
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import kinds
from pipelines.sources.event_checks import encode_ids
from pipelines.sources.event_columns import FEATURE_FIELD
from pipelines.sources.events import EventSource
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns import fitting
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.vocabulary import ItemVocabulary

NO_NAME = 0
"""Number of a missing name, in runs, in the log and in examples."""
_UNKNOWN, _FIRST_NAME = 1, 2
"""In examples: a name outside of the vocabulary, and the first one of it (`FeatureEncoder`)."""

_MOST_NAMES = 1 << 24
"""Float32 holds whole numbers up to here."""

_FITTED_NUMBERS = 1 << 20
"""Numbers that means and buckets are learnt from, at most, spread over the log: the error of
a quantile is below .001."""

_RUN_NAMES, _NAMES = "run_names_of_", "names_of_"
_NAME_CODES, _NAME_COUNTS = "name_codes_of_", "name_counts_of_"
_NUMBERS = "numbers_of_"
"""Names of what steps leave, before that of the feature."""


class LogValues(NamedTuple):
    """One feature of the events of some users.

    Attributes:
        name: Of the feature.
        owner: `event` or `request`.
        values: `[num_events]`, int numbers of names as in examples, or float32.
    """

    name: str
    owner: str
    values: np.ndarray

    def with_starts(self, firsts: np.ndarray) -> "LogValues":
        """The same with a slot that is no event before the first one of each user."""
        missing = NO_NAME if self.values.dtype.kind == "i" else np.nan
        return self._replace(values=np.insert(self.values, firsts, missing))


def open_with(source: EventSource, config: RecallConfig) -> EventSource:
    """The log, of which the declared features are read.

    Raises:
        InputError: It lacks a column or times, or other settings do not go with features.
    """
    features = config.features.of_log
    if features and config.ingest.keep_sequences:
        raise InputError(
            "ingest.keep_sequences=true beside declared features of events or requests: `recall "
            "ingest --append` keeps no values of events. Leave one of them out."
        )
    if config.features.need_times and not source.columns.has_time:
        name = next(c.name for c in features if c.kind == "timestamp")
        raise InputError(
            f"{source.spec} has no times, which the feature {name!r} needs. Leave it out."
        )
    return source.with_features(features)


def with_values(features: Sequence[FeatureColumn]) -> list[FeatureColumn]:
    """Those of which the log has a column."""
    return [column for column in features if column.kind != "timestamp"]


def columns_of(
    batch: pa.RecordBatch, features: Sequence[FeatureColumn]
) -> dict[str, pa.DictionaryArray | pa.Array]:
    """Field -> the values of some events: names as a dictionary, numbers."""
    columns = {}
    for feature in features:
        field = FEATURE_FIELD + feature.name
        is_named = feature.kind == "categorical"
        columns[field] = encode_ids(batch[field]) if is_named else batch[field].cast(pa.float32())
    return columns


def number_names(
    files: ShardFiles,
    features: Sequence[FeatureColumn],
    run: int,
    columns: Mapping[str, pa.Array],
) -> dict[str, pa.Array]:
    """Field -> `[n]` int32 numbers of the names of a run, from 1, 0 for none; stores the names.

    Args:
        files: Of the steps.
        features: Those of the log that have values; others than names are passed over.
        run: Its number.
        columns: Of `columns_of`.
    """
    numbers = {}
    for feature in features:
        if feature.kind != "categorical":
            continue
        names = columns[FEATURE_FIELD + feature.name]
        texts = pc.fill_null(pc.utf8_trim_whitespace(names.dictionary.cast(pa.string())), "")
        codes = names.indices.fill_null(len(texts)).to_numpy()
        is_used = np.bincount(codes, minlength=len(texts) + 1)[: len(texts)] > 0
        distinct = pc.unique(texts.filter(pa.array(is_used)))
        distinct = distinct.filter(pc.not_equal(distinct, ""))
        number_of = pc.index_in(texts, value_set=distinct).fill_null(-1).to_numpy() + 1
        stored = pa.RecordBatch.from_arrays([distinct], names=["name"])
        files.write_batches(_RUN_NAMES + feature.name, run, [stored])
        own = np.append(number_of, NO_NAME)[codes].astype(np.int32)
        numbers[FEATURE_FIELD + feature.name] = pa.array(own)
    return numbers


def merge_names(files: ShardFiles, features: Sequence[FeatureColumn], runs: Sequence[int]) -> None:
    """Numbers the names of all runs, ascending as texts; leaves what leads there from each run.

    Raises:
        InputError: A column has too many names.
    """
    for feature in with_values(features):
        if feature.kind != "categorical":
            continue
        of_runs = [files.read_batch(_RUN_NAMES + feature.name, run)["name"] for run in runs]
        known = pc.unique(pa.chunked_array(of_runs, pa.string()))
        known = known.take(pc.sort_indices(known))
        if len(known) > _MOST_NAMES:
            raise InputError(
                f"The column {feature.source!r} of the feature {feature.name!r} has {len(known):,} "
                "different values; nothing can be learnt of so many. Leave the feature out."
            )
        for run, names in zip(runs, of_runs, strict=True):
            numbers = pc.index_in(names, value_set=known).to_numpy().astype(np.int32) + 1
            files.write_array(_NAME_CODES + feature.name, run, np.append(NO_NAME, numbers))
        merged = pa.RecordBatch.from_arrays([known], names=["name"])
        files.write_batches(_NAMES + feature.name, 0, [merged])


def values_of_run(
    files: ShardFiles, features: Sequence[FeatureColumn], run: int, events: pa.RecordBatch
) -> np.ndarray:
    """`[n, num_features]` float32 values of some events of a run, see `Sequences.values`.

    Args:
        files: Of the steps.
        features: Those of the log that have values.
        run: Its number.
        events: As the run has them.
    """
    values = np.empty([events.num_rows, len(features)], np.float32)
    for place, feature in enumerate(features):
        own = events[FEATURE_FIELD + feature.name].to_numpy(zero_copy_only=False)
        if feature.kind == "categorical":
            own = files.read_array(_NAME_CODES + feature.name, run)[own]
        values[:, place] = own
    return values


def names_of(files: ShardFiles, feature: FeatureColumn, numbers: np.ndarray) -> pa.Array:
    """`[n]` names by their numbers in the log; null where there is none."""
    names = files.read_batch(_NAMES + feature.name, 0)["name"]
    places = numbers.astype(np.int64) - 1
    return names.take(pa.array(places, mask=places < 0))


def count(
    files: ShardFiles, features: Sequence[FeatureColumn], shard: int, values: np.ndarray, most: int
) -> None:
    """Stores what the values of the training events of a shard say about vocabularies and scales.

    Args:
        files: Of the steps.
        features: Those of the log that have values.
        shard: Its number.
        values: `[n, num_features]` of training events.
        most: Numbers of each feature that are stored.
    """
    for place, feature in enumerate(features):
        own = values[:, place]
        if feature.kind == "categorical":
            num_names = files.read_batch(_NAMES + feature.name, 0).num_rows
            counts = np.bincount(own.astype(np.int64), minlength=num_names + 1)
            files.write_array(_NAME_COUNTS + feature.name, shard, counts)
        else:
            every = -(-len(own) // most) if len(own) else 1
            files.write_array(_NUMBERS + feature.name, shard, own[::every])


def numbers_per_shard(num_shards: int) -> int:
    """`most` of `count`."""
    return max(1, _FITTED_NUMBERS // num_shards)


def add_columns(
    vocabulary: ItemVocabulary, config: RecallConfig, files: ShardFiles
) -> ItemVocabulary:
    """The vocabulary with what is learnt of the features from what the shards have stored."""
    fitted = []
    for feature in config.features.of_log:
        if feature.kind == "timestamp":
            fitted.append(FittedColumn(feature))
        elif feature.kind == "categorical":
            counts = sum(files.read_all_arrays(_NAME_COUNTS + feature.name))[1:]
            names = files.read_batch(_NAMES + feature.name, 0)["name"].to_pylist()
            fitted.append(fitting.fit_names(feature, names, counts.tolist()))
        else:
            # In the order of their values: files come in any order, and a mean of floats knows.
            numbers = np.sort(np.concatenate(list(files.read_all_arrays(_NUMBERS + feature.name))))
            fitted.append(fitting.fit(feature, pa.array(numbers, pa.float64(), from_pandas=True)))
    return vocabulary.with_log_columns(fitted)


def to_examples(
    files: ShardFiles, fitted: Sequence[FittedColumn], values: np.ndarray | None
) -> tuple[LogValues, ...]:
    """Values of the log as examples hold them."""
    found = []
    for place, column in enumerate(c for c in fitted if c.kind != "timestamp"):
        own = values[:, place]
        if column.kind == "categorical":
            names = files.read_batch(_NAMES + column.name, 0)["name"]
            rows = pc.index_in(names, value_set=pa.array(column.values, pa.string()))
            numbers = rows.fill_null(_UNKNOWN - _FIRST_NAME).to_numpy() + _FIRST_NAME
            own = np.append(NO_NAME, numbers)[own.astype(np.int64)]
        found.append(LogValues(column.name, column.column.owner, own))
    return tuple(found)


def add_facts(
    statistics: dict[str, Any], vocabulary: ItemVocabulary, config: RecallConfig, files: ShardFiles
) -> None:
    """Adds to statistics.json what examples say of events: feature -> owner, kind and counts."""
    if not vocabulary.log_columns:
        return
    facts = {}
    for column in vocabulary.log_columns:
        own: dict[str, Any] = {"owner": column.column.owner, "kind": column.kind}
        if column.kind == "categorical":
            counts = sum(files.read_all_arrays(_NAME_COUNTS + column.name))
            names = files.read_batch(_NAMES + column.name, 0)["name"]
            known = pc.is_in(names, value_set=pa.array(column.values, pa.string()))
            of_known = counts[1:][known.to_numpy(zero_copy_only=False)].sum()
            own |= {
                "num_missing": int(counts[NO_NAME]),
                "num_values": int(counts[1:].sum()),
                "num_unknown": int(counts[1:].sum() - of_known),
            }
        facts[column.name] = own
    found = {"features": facts, "max_unknown_share": config.features.max_unknown_share}
    statistics[COLUMNS] = statistics.get(COLUMNS, {}) | found


def lines(statistics: Mapping[str, Any]) -> list[str]:
    """What was found of events, for people."""
    found, told = statistics.get(COLUMNS, {}), kinds.lines(statistics)
    for name, facts in found.get("features", {}).items():
        if not facts.get("num_values"):
            continue
        share = facts["num_unknown"] / facts["num_values"]
        if share > found["max_unknown_share"]:
            told.append(
                f"{share:.1%} of the values of {name!r} (owner {facts['owner']}) are outside of "
                "its vocabulary: seen too rarely in training. See min_count and max_vocabulary."
            )
    return told
