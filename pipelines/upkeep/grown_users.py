"""Users of the users file when there is a new one, or some users go.

A row stays that of its user, because examples of users who do not change hold its number; new
users follow. Imports no TensorFlow and no Beam.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.artifacts import records
from pipelines.ingestion import kept_sequences
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import user_rows
from pipelines.ingestion.kept_sequences import Generation
from pipelines.sources.users import USERS_ID, UsersFile
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.item_features import ItemFeatures


def read(examples_dir: Path) -> ItemFeatures:
    """The values of the users of examples, row by row.

    Raises:
        InputError: The file is missing or damaged.
    """
    path = examples_dir / records.USER_FEATURES_NAME
    try:
        return ItemFeatures.from_table(pq.read_table(path))
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot read the values of users {path}: it is missing or damaged. Copy the folder "
            "again, or make all examples again."
        ) from error


def take_file(
    stored: ShardFiles, file: UsersFile, features: Sequence[FeatureColumn]
) -> tuple[ItemFeatures, pa.StringArray]:
    """What a new users file says of all users, old and new ones.

    Users that it lacks are as users of whom nothing is known.

    Args:
        stored: What is kept beside examples; takes the ids.
        file: The users file.
        features: Declared features of users.

    Returns:
        The values row by row, and the ids of users who had no row.
    """
    table = file.read(features)
    ids, values = table[USERS_ID].combine_chunks(), table.drop_columns([USERS_ID])
    known = user_rows.read_known(stored)
    rows = pc.index_in(known, value_set=ids)
    is_new = pc.invert(pc.is_in(ids, value_set=known.drop_null()))
    new_ids = ids.filter(is_new)
    kept = _with_nulls(known, rows.is_null())
    user_rows.write_known(stored, pa.concat_arrays([kept, new_ids]))
    new_rows = np.flatnonzero(is_new.to_numpy(zero_copy_only=False)).astype(np.int32)
    values = values.take(pa.concat_arrays([rows, pa.array(new_rows)]))
    return user_rows.fit(values, features), new_ids


def take_out(stored: ShardFiles, users: ItemFeatures, user_ids: pa.StringArray) -> ItemFeatures:
    """The values without those of some users; their ids go as well."""
    known = user_rows.read_known(stored)
    is_gone = pc.is_in(known, value_set=user_ids)
    user_rows.write_known(stored, _with_nulls(known, is_gone))
    rows = pc.if_else(is_gone, None, pa.array(np.arange(len(known))))
    return user_rows.fit(users.table.take(rows), [column.column for column in users.columns])


def describe(stored: ShardFiles, users: ItemFeatures, config: RecallConfig) -> dict[str, Any]:
    """Facts of the users file for the report, of users who count.

    Raises:
        InputError: No user of the log is in the file.
    """
    known = user_rows.read_known(stored)
    matched = 0
    for path in stored.directory.glob(f"{kept_sequences.USERS}-*.arrow"):
        users_of = Generation.read(stored, int(path.stem.rpartition("-")[2]))
        is_known = pc.is_in(users_of.user_ids, value_set=known).to_numpy(zero_copy_only=False)
        matched += int((is_known & users_of.alive).sum())
    there = ItemFeatures(users.columns, users.table.filter(known.is_valid()))
    return user_rows.describe_values(there, matched, config)


def _with_nulls(texts: pa.StringArray, is_null: pa.BooleanArray) -> pa.StringArray:
    """Texts without some; `if_else` would leave their bytes where they are."""
    return texts.take(pc.if_else(is_null, None, pa.array(np.arange(len(texts)))))


def write(examples_dir: Path, users: ItemFeatures) -> None:
    """Writes the values, in the place of those that were there."""
    pq.write_table(users.to_table(), examples_dir / records.USER_FEATURES_NAME)
