"""Features of events and of requests: their values in examples, and what is learnt of them.

Imports no TensorFlow.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import log_names
from pipelines.ingestion.events.log_names import NO_NAME
from pipelines.ingestion.events.number_counts import NO_NUMBERS, NumberCounts
from pipelines.sources.events import EventSource
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns import fitting
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn

_UNKNOWN, _FIRST_NAME = 1, 2
"""In examples: a name outside of the vocabulary, and the first one of it (`FeatureEncoder`)."""

VALUE_COUNTS, NAME_USES = "value_counts", "name_uses"
"""Names of what steps leave of features: counts of training events, of names in all events."""

FeatureCounts = dict[str, np.ndarray | NumberCounts]
"""Feature -> how often each of its names occurs, by its number, or each number."""


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
        InputError: It lacks a column or times.
    """
    features = config.features.of_log
    if config.features.need_times and not source.columns.has_time:
        name = next(c.name for c in features if c.kind == "timestamp")
        raise InputError(
            f"{source.spec} has no times, which the feature {name!r} needs. Leave it out."
        )
    return source.with_features(features)


def count(features: Sequence[FeatureColumn], values: np.ndarray | None) -> FeatureCounts:
    """What the values of some events say about vocabularies and scales.

    Args:
        features: Those of the log.
        values: `[n, num_features]` of `Sequences.values`; None where there are no events.
    """
    found: FeatureCounts = {}
    for place, feature in enumerate(log_names.with_values(features)):
        own = np.zeros(0, np.float32) if values is None else values[:, place]
        is_named = feature.kind == "categorical"
        found[feature.name] = (
            np.bincount(own.astype(np.int64)) if is_named else NumberCounts.of(own)
        )
    return found


def count_names(features: Sequence[FeatureColumn], values: np.ndarray | None) -> FeatureCounts:
    """The same of names alone; nothing where there are no events."""
    return {
        feature.name: np.bincount(values[:, place].astype(np.int64))
        for place, feature in log_names.with_names(features)
        if values is not None
    }


def write_counts(files: ShardFiles, step: str, number: int, counts: FeatureCounts) -> None:
    """Stores counts as those of a step."""
    for name, own in counts.items():
        if isinstance(own, NumberCounts):
            own.write(files, f"{step}_of_{name}", number)
        else:
            files.write_array(f"{step}_of_{name}", number, own)


def read_counts(
    files: ShardFiles, step: str, number: int, features: Sequence[FeatureColumn]
) -> FeatureCounts:
    """Inverse of `write_counts`."""
    found: FeatureCounts = {}
    for feature in log_names.with_values(features):
        name, is_named = f"{step}_of_{feature.name}", feature.kind == "categorical"
        read = files.read_array if is_named else partial(NumberCounts.read, files)
        found[feature.name] = read(name, number)
    return found


def add_counts(counts: FeatureCounts, other: FeatureCounts, sign: int = 1) -> FeatureCounts:
    """FeatureCounts with others added, or taken away where `sign` is -1."""
    total = dict(counts)
    for name, own in other.items():
        if isinstance(own, NumberCounts):
            total[name] = total.get(name, NO_NUMBERS).add(own, sign)
        else:
            before = total.get(name, np.zeros(0, np.int64))
            size = max(len(before), len(own))
            total[name] = _filled_up(before, size) + sign * _filled_up(own, size)
    return total


def sum_counts(
    files: ShardFiles, step: str, shards: Sequence[int], features: Sequence[FeatureColumn]
) -> FeatureCounts:
    """The counts of a step in all shards."""
    total = count(features, None)
    for shard in shards:
        for feature in log_names.with_values(features):
            name = f"{step}_of_{feature.name}"
            if files.has(name, shard) or files.has_array(name, shard):  # Else it has no events.
                total = add_counts(total, read_counts(files, step, shard, [feature]))
    return total


def _filled_up(counts: np.ndarray, size: int) -> np.ndarray:
    return np.pad(counts, [0, size - len(counts)])


def fit_columns(
    features: Sequence[FeatureColumn], counts: FeatureCounts, files: ShardFiles
) -> list[FittedColumn]:
    """What is learnt of features.

    Args:
        features: Those of the log.
        counts: Of training events.
        files: That have the names of the log.

    Returns:
        The features with `FittedColumn.numbers` for the numbers of the names of the log.
    """
    fitted = []
    for feature in features:
        if feature.kind == "timestamp":
            fitted.append(FittedColumn(feature))
        elif feature.kind == "categorical":
            names = log_names.read_names(files, feature).to_pylist()
            own = _filled_up(counts[feature.name], len(names) + 1)[1:]
            column = fitting.fit_names(feature, names, own.tolist())
            numbers = {name: at for at, name in enumerate(column.values, start=_FIRST_NAME)}
            of_names = (numbers.get(name, _UNKNOWN) for name in names)
            fitted.append(column.with_numbers((NO_NAME, *of_names)))
        else:
            own = counts[feature.name]
            numbers = own.numbers.astype(np.float64)
            fitted.append(fitting.fit_numbers(feature, numbers, own.counts))
    return fitted


def fit_shards(
    features: Sequence[FeatureColumn], files: ShardFiles, shards: Sequence[int]
) -> tuple[list[FittedColumn], FeatureCounts]:
    """What is learnt of features from what the shards have counted, and the sum of that."""
    counts = sum_counts(files, VALUE_COUNTS, shards, features)
    return fit_columns(features, counts, files), counts


def to_examples(
    fitted: Sequence[FittedColumn], values: np.ndarray | None, *, as_in_log: bool
) -> tuple[LogValues, ...]:
    """Values of the log as examples hold them.

    Args:
        fitted: Of `fit_columns`.
        values: `[n, num_features]` of `Sequences.values`.
        as_in_log: Whether names have the numbers of the log, which stay what they are when
            days are added and vocabularies change.
    """
    found = []
    for place, column in enumerate(c for c in fitted if c.kind != "timestamp"):
        own = np.zeros(0, np.float32) if values is None else values[:, place]
        if column.kind == "categorical":
            own = own.astype(np.int64)
            own = own if as_in_log else np.array(column.numbers)[own]
        found.append(LogValues(column.name, column.column.owner, own))
    return tuple(found)


def describe(
    fitted: Sequence[FittedColumn], counts: FeatureCounts, config: RecallConfig
) -> dict[str, Any]:
    """What statistics.json says of features: name -> owner, kind and counts; nothing of none.

    Args:
        fitted: Of `fit_columns`.
        counts: Of training events.
        config: The settings.
    """
    facts = {}
    for column in fitted:
        own: dict[str, Any] = {"owner": column.column.owner, "kind": column.kind}
        if column.kind == "categorical":
            of_names = _filled_up(counts[column.name], len(column.numbers))
            own |= {
                "num_missing": int(of_names[NO_NAME]),
                "num_values": int(of_names[1:].sum()),
                "num_unknown": int(of_names[np.array(column.numbers) == _UNKNOWN].sum()),
            }
        facts[column.name] = own
    share = config.features.max_unknown_share
    return {"features": facts, "max_unknown_share": share} if facts else {}
