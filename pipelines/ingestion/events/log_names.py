"""Names that features of events and of requests have in a log: a number each.

A name is a number from the moment that it is read, first of its run, then of the log.
Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.sources.event_checks import encode_ids
from pipelines.sources.event_columns import FEATURE_FIELD
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn

NO_NAME = 0
"""Number of a missing name, in runs, in the log and in examples."""

_MOST_NAMES = 1 << 24
"""Float32 holds whole numbers up to here."""

_RUN_NAMES, _NAMES = "run_names_of_", "names_of_"
_NAME_CODES = "name_codes_of_"
"""Names of what steps leave, before that of the feature."""


def with_values(features: Sequence[FeatureColumn]) -> list[FeatureColumn]:
    """Those of which the log has a column."""
    return [column for column in features if column.kind != "timestamp"]


def with_names(features: Sequence[FeatureColumn]) -> list[tuple[int, FeatureColumn]]:
    """Those whose values are names, with their places among those that have values."""
    own = enumerate(with_values(features))
    return [(place, column) for place, column in own if column.kind == "categorical"]


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
    for _, feature in with_names(features):
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
    for _, feature in with_names(features):
        of_runs = [files.read_batch(_RUN_NAMES + feature.name, run)["name"] for run in runs]
        known = pc.unique(pa.chunked_array(of_runs, pa.string()))
        known = known.take(pc.sort_indices(known))
        check_number(feature, len(known))
        for run, names in zip(runs, of_runs, strict=True):
            numbers = pc.index_in(names, value_set=known).to_numpy().astype(np.int32) + 1
            files.write_array(_NAME_CODES + feature.name, run, np.append(NO_NAME, numbers))
        write_names(files, feature, known)


def check_number(feature: FeatureColumn, num_names: int) -> None:
    """Refuses a column of too many names.

    Raises:
        InputError: Nothing can be learnt of so many.
    """
    if num_names > _MOST_NAMES:
        raise InputError(
            f"The column {feature.source!r} of the feature {feature.name!r} has {num_names:,} "
            "different values; nothing can be learnt of so many. Leave the feature out."
        )


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


def read_names(files: ShardFiles, feature: FeatureColumn) -> pa.StringArray:
    """The names of a log; the number of one is its place from 1."""
    return files.read_batch(_NAMES + feature.name, 0)["name"]


def write_names(files: ShardFiles, feature: FeatureColumn, names: pa.StringArray) -> None:
    """Inverse of `read_names`."""
    batch = pa.RecordBatch.from_arrays([names], names=["name"])
    files.write_batches(_NAMES + feature.name, 0, [batch])


def names_of(files: ShardFiles, feature: FeatureColumn, numbers: np.ndarray) -> pa.Array:
    """`[n]` names by their numbers in the log; null where there is none."""
    names = read_names(files, feature)
    places = numbers.astype(np.int64) - 1
    return names.take(pa.array(places, mask=places < 0))
