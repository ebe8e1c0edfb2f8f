"""Kinds and features of events when days are added or users go: their numbers, their counts.

A number of a kind or of a name stays what it is, because examples of users who do not change
hold it; new ones follow. Imports no TensorFlow and no Beam.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import log_features, log_names
from pipelines.ingestion.events.log_features import NAME_USES, VALUE_COUNTS
from pipelines.ingestion.sequences import Sequences
from recall.feature_columns.declaration import FeatureColumn

_NEW_NUMBERS, _NEW_KINDS = "new_numbers_of_", "new_kinds"
"""Number of a name of a feature, or of a kind, in the log of a day -> the one that is kept."""
_NO_NAME = ""
"""In the place of a name that no event has any more."""


def add_names(stored: ShardFiles, files: ShardFiles, features: Sequence[FeatureColumn]) -> None:
    """Numbers the names of a day: new ones follow those that are kept.

    Args:
        stored: What is kept; takes the new names.
        files: Of the day, as its readers have left them; take what leads to the new numbers.
        features: Those of the log.
    """
    for _, feature in log_names.with_names(features):
        kept = log_names.read_names(stored, feature)
        names = log_names.read_names(files, feature)
        added = names.filter(pc.invert(pc.is_in(names, value_set=kept)))
        every = pa.concat_arrays([kept, added])
        log_names.check_number(feature, len(every))
        log_names.write_names(stored, feature, every)
        numbers = pc.index_in(names, value_set=every).to_numpy() + 1
        files.write_array(_NEW_NUMBERS + feature.name, 0, np.append(log_names.NO_NAME, numbers))


def add_kinds(counts: Mapping[str, int], names: Sequence[str], files: ShardFiles) -> dict[str, int]:
    """Kinds with their events, in the order of their numbers: new ones of a day follow.

    Args:
        counts: Those that are kept.
        names: Kinds of the day, by their numbers there.
        files: Of the day; take what leads to the new numbers.
    """
    every = dict(counts) | {name: 0 for name in names if name not in counts}
    numbers = [0, *(list(every).index(name) + 1 for name in names)]
    files.write_array(_NEW_KINDS, 0, np.array(numbers, np.int8))
    return every


def with_kept_numbers(
    files: ShardFiles, features: Sequence[FeatureColumn], log: Sequences
) -> Sequences:
    """Events of a day with the numbers of kinds and names that are kept."""
    kinds, values = log.kinds, log.values
    if kinds is not None:
        kinds = files.read_array(_NEW_KINDS, 0)[kinds]
    if values is not None:
        values = values.copy()
        for place, feature in log_names.with_names(features):
            numbers = files.read_array(_NEW_NUMBERS + feature.name, 0)
            values[:, place] = numbers[values[:, place].astype(np.int64)]
    return log._replace(kinds=kinds, values=values)


def change_counts(
    stored: ShardFiles,
    files: ShardFiles,
    features: Sequence[FeatureColumn],
    shards: Sequence[int],
    before: str,
    now: str,
) -> None:
    """Changes what is kept of values by what users had before and have now.

    Args:
        stored: What is kept.
        files: Of the change.
        features: Those of the log.
        shards: That changed.
        before: Added behind the names of the counts of users as they were.
        now: The same as they are.
    """
    named = [feature for _, feature in log_names.with_names(features)]
    for step, counted in ((VALUE_COUNTS, features), (NAME_USES, named)):
        counts = log_features.read_counts(stored, step, 0, counted)
        for suffix, sign in ((before, -1), (now, 1)):
            changes = log_features.sum_counts(files, f"{step}_{suffix}", shards, counted)
            counts = log_features.add_counts(counts, changes, sign)
        log_features.write_counts(stored, step, 0, counts)
    _blank_unused_names(stored, features)


def _blank_unused_names(stored: ShardFiles, features: Sequence[FeatureColumn]) -> None:
    """Takes out names that no event has any more; the numbers of the others stay."""
    named = [feature for _, feature in log_names.with_names(features)]
    uses = log_features.read_counts(stored, NAME_USES, 0, named)
    for feature in named:
        names = log_names.read_names(stored, feature)
        of_names = np.zeros(len(names), np.int64)
        own = uses[feature.name][1:]
        of_names[: len(own)] = own
        is_gone = pa.array(of_names == 0)
        if pc.any(is_gone).as_py():
            log_names.write_names(stored, feature, pc.if_else(is_gone, _NO_NAME, names))
