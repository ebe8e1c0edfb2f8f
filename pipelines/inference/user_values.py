"""What a file says of users beside their ids, as requests carry it. Imports no TensorFlow.

Features of users and of requests: columns of the file that chooses users.
"""

import dataclasses
import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.inference.answer_tables import USER_ID
from pipelines.inference.id_files import IdFile
from pipelines.sources import feature_values
from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.tables import table_files
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn

_log = logging.getLogger(__name__)


def find_columns(
    features: Sequence[FeatureColumn], file: IdFile | None
) -> tuple[FeatureColumn, ...]:
    """The features that a file has, each with the name of its column; says which it lacks.

    Args:
        features: Of users and of requests.
        file: That chooses users; None where all of a log are wanted.

    Raises:
        InputError: The file cannot be read.
    """
    if not features:
        return ()
    if file is None:
        _log.warning(
            "The release looks at features of users or requests (%s), which the log does not "
            "have: they are answered as unknown. Pass --users=FILE with their columns.",
            ", ".join(feature.name for feature in features),
        )
        return ()
    names = next(iter(table_files.open_tables(file.path))).names
    found = []
    for feature in features:
        name = _column_of(feature, names)
        if name is None:
            _log.warning(
                "The feature %r is answered as unknown: %s lacks the column %r.",
                *(feature.name, file.path, feature.source),
            )
        else:
            found.append(dataclasses.replace(feature, column=name))
    return tuple(found)


def _column_of(feature: FeatureColumn, names: Collection[str]) -> str | None:
    """A request says its features by name; the file of users has them as that of training."""
    usual = (feature.name, feature.source)
    usual = usual if feature.is_of_log else usual[::-1]
    return next((name for name in usual if name in names), None)


def read(file: IdFile, features: Sequence[FeatureColumn]) -> pa.Table:
    """The users of a file.

    Args:
        file: With a row for each.
        features: Of `find_columns`.

    Returns:
        Their distinct ids in the order of the file, `user_id`, and a column for each feature, by
        the name of its input.

    Raises:
        InputError: The file cannot be read, lacks a column in one of its parts, has a value of
            another kind, or says something of a user twice.
    """
    ids = file.read()
    if not features:
        return pa.table([ids], names=[USER_ID])
    parts = []
    for table in table_files.open_tables(file.path):
        sources = [feature.source for feature in features]
        table.require(sources, "Every file of the folder needs the columns of the first.")
        for rows, batch in table.read_rows(list(dict.fromkeys(sources)), BadRows()):
            columns = [
                feature_values.read_feature(f, batch[f.source], rows, str(table.path))
                for f in features
            ]
            parts.append(
                pa.RecordBatch.from_arrays(
                    [_as_said(f, c) for f, c in zip(features, columns, strict=True)],
                    names=[f.input_name for f in features],
                )
            )
    values = pa.Table.from_batches(parts)
    if values.num_rows != len(ids):
        raise InputError(
            f"{file.path} has {values.num_rows:,} rows of {len(ids):,} users. Keep one row per "
            "user: each says what the features of a user are."
        )
    return values.add_column(0, USER_ID, ids)


def fields_of(features: Sequence[FeatureColumn]) -> list[pa.Field]:
    """Columns of `read` behind the ids."""
    return [pa.field(feature.input_name, _type_of(feature)) for feature in features]


def _type_of(feature: FeatureColumn) -> pa.DataType:
    """The Arrow type of a value in a request."""
    names = pa.list_(pa.string()) if feature.has_several_values else pa.string()
    types = {"categorical": names, "numeric": pa.float64(), "text": pa.string()}
    return types.get(feature.kind, pa.list_(pa.float32()))


def _as_said(feature: FeatureColumn, values: pa.Array) -> pa.Array:
    """Values as a request says them: of one category its name, null where there is none."""
    if feature.kind != "categorical" or feature.has_several_values:
        return values.cast(_type_of(feature))
    starts = values.offsets.to_numpy()
    sizes = np.diff(starts)
    places = pa.array(starts[:-1], mask=sizes == 0)
    return values.values.take(places)


def describe(features: Sequence[FeatureColumn]) -> list[dict[str, Any]]:
    """Plain values of the features that are read, for the record of a job."""
    return [feature.to_dict() for feature in features]
