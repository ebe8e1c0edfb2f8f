"""Users of the log in the users file, and the slot before the first click of each.

Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events.event_features import EventValues
from pipelines.ingestion.events.impressions import ShownItems
from pipelines.sources.events import EventSource
from pipelines.sources.users import USERS_ID
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import UNKNOWN_ID, ItemVocabulary

KNOWN_USERS = "known_users"
"""Name of the ids of the users file among the files of the steps, for all shards (0)."""
_LEARNT, _CONTEXT = 0, 3
"""As in `sequences.Part`. Where the first event is history only, so is the slot before it."""
SESSION_MARK = "#"
"""Behind the id of a user in the names of her sessions."""


class StartedLog(NamedTuple):
    """The events of some users, each sequence with a slot before its first one.

    Attributes:
        offsets: `[num_users + 1]`.
        dense: `[num_events + num_users]` dense ids, `UNKNOWN_ID` in the slots that are no event.
        parts: The same of the parts; such a slot is learnt, but never predicted.
        values: What else is known.
    """

    offsets: np.ndarray
    dense: np.ndarray
    parts: np.ndarray
    values: EventValues


def inputs_of(source: EventSource, config: RecallConfig) -> dict[str, str]:
    """The users file among the inputs of a record; nothing where no feature needs it, or
    there is none.

    Raises:
        InputError: It cannot be read.
    """
    if source.users_file is None or not config.features.of("user"):
        return {}
    return {"users": source.users_file.fingerprint()}


def check_file(source: EventSource, config: RecallConfig) -> None:
    """Refuses to go on without a users file that is needed.

    Raises:
        InputError: Features of users are declared and there is no file.
    """
    features = config.features.of("user")
    if features and source.users_file is None:
        raise InputError(
            f"features.columns declares {features[0].name!r} of users, but there is no users "
            "file. Pass --users, or leave the feature out."
        )


def add_users(
    vocabulary: ItemVocabulary, source: EventSource, config: RecallConfig, files: ShardFiles
) -> ItemVocabulary:
    """The vocabulary with the values of the users of the file, whose ids are left in `files`."""
    features = config.features.of("user")
    if not features:
        return vocabulary
    table = source.users_file.read(features)
    write_known(files, table[USERS_ID].combine_chunks())
    return vocabulary.with_users(fit(table.drop_columns([USERS_ID]), features))


def fit(values: pa.Table, features: Sequence[FeatureColumn]) -> ItemFeatures:
    """Values of users, and what is learnt of them: of all rows, who clicks or not."""
    return ItemFeatures.fit(features, values, np.ones(len(values)))


def write_known(files: ShardFiles, user_ids: pa.StringArray) -> None:
    """Stores the ids of the users file, row by row; null where a user is there no longer."""
    known = pa.RecordBatch.from_arrays([user_ids], names=[USERS_ID])
    files.write_batches(KNOWN_USERS, 0, [known])


def read_known(files: ShardFiles) -> pa.StringArray | None:
    """Inverse of `write_known`; None where no features of users are declared."""
    return files.read_batch(KNOWN_USERS, 0)[USERS_ID] if files.has(KNOWN_USERS, 0) else None


def owners_of(session_ids: pa.StringArray) -> pa.StringArray:
    """Ids of users, from the names of their sessions.

    >>> owners_of(pa.array(["a#2", "b"])).to_pylist()
    ['a', 'b']
    """
    return pc.replace_substring_regex(session_ids, f"{SESSION_MARK}[0-9]+$", "")


def rows_in_file(user_ids: pa.StringArray, known_ids: pa.StringArray) -> np.ndarray:
    """`[num_users]` int64 rows of users, or of sessions of users, from 1; 0 for others.

    >>> rows_in_file(pa.array(["b", "c", "a#2"]), pa.array(["a", "b"])).tolist()
    [2, 0, 1]
    """
    rows = pc.index_in(user_ids, value_set=known_ids)
    rows = pc.coalesce(rows, pc.index_in(owners_of(user_ids), value_set=known_ids))
    return rows.fill_null(-1).to_numpy().astype(np.int64) + 1


def count_known(rows: np.ndarray) -> int:
    """How many different users of the file some rows are of.

    >>> count_known(np.array([2, 0, 1, 2]))
    2
    """
    return len(np.unique(rows[rows > 0]))


def describe(
    vocabulary: ItemVocabulary, config: RecallConfig, written: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Facts of the users file for the report; None where no feature needs one.

    Args:
        vocabulary: With the values of users.
        config: The settings.
        written: Facts of the shards.

    Raises:
        InputError: No user of the log is in the file.
    """
    if vocabulary.users is None:
        return None
    matched = sum(facts[KNOWN_USERS] for facts in written)
    return describe_values(vocabulary.users, matched, config)


def describe_values(users: ItemFeatures, matched: int, config: RecallConfig) -> dict[str, Any]:
    """Facts of the users file for the report.

    Args:
        users: Their values.
        matched: Users of the log who are in the file.
        config: The settings.

    Raises:
        InputError: No user of the log is in the file.
    """
    if not matched:
        raise InputError(
            f"None of the {len(users):,} users of the users file is in the log, whose "
            "users features.columns declares features of. Write the ids of both alike, or leave "
            "the features out."
        )
    counted = users.count_values()
    return {
        "users": len(users),
        "matched": matched,
        "max_unknown_share": config.features.max_unknown_share,
        "columns": {
            column.name: {"kind": column.kind, **counted[column.name]._asdict()}
            for column in users.columns
        },
    }


def add_starts(
    offsets: np.ndarray, dense: np.ndarray, parts: np.ndarray, values: EventValues
) -> StartedLog:
    """Puts a slot before the first event of every user, from which that one is predicted.

    Args:
        offsets: `[num_users + 1]`.
        dense: `[num_events]` dense ids.
        parts: `[num_events]` int8 of `Part`.
        values: What else is known of them.
    """
    firsts = offsets[:-1]

    def insert(column: np.ndarray | None, value: Any) -> np.ndarray | None:
        return None if column is None else np.insert(column, firsts, value)

    shown = values.shown
    if shown is not None:
        counts = np.insert(np.diff(shown.offsets), firsts, 0)
        shown = ShownItems(shown.item_ids, np.concatenate([[0], np.cumsum(counts)]))
    return StartedLog(
        offsets + np.arange(len(offsets)),
        np.insert(dense, firsts, UNKNOWN_ID),
        np.insert(parts, firsts, np.where(parts[firsts] == _CONTEXT, _CONTEXT, _LEARNT)),
        values._replace(
            kinds=insert(values.kinds, 0),
            weights=insert(values.weights, 0),
            shown=shown,
            times=None
            if values.times is None
            else np.insert(values.times, firsts, values.times[firsts]),
            features=tuple(one.with_starts(firsts) for one in values.features),
        ),
    )
