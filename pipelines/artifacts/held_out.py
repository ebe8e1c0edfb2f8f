"""Examples read into memory: held-out users, and training windows file by file."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.example_files import open_kept_examples
from recall.datasets import without_tuning
from recall.errors import InputError
from recall.feature_columns.fitting import FittedColumn
from recall.features import (
    HISTORY,
    HISTORY_TIMESTAMPS,
    HISTORY_VALUES,
    ITEM_IDS,
    NUM_TRAINED,
    POSITIVE_KINDS,
    POSITIVE_TIMESTAMPS,
    POSITIVES,
    REQUEST_VALUES,
    USER_ID,
    USER_ROW,
    encode_values,
    value_types,
)
from recall.ragged import Histories, Ragged, pack_values
from serving.release import storage

HELD_OUT_SPLITS = ("valid", "test")
"""The splits whose users have held-out positives."""

_BATCH_SIZE = 4096
"""Examples parsed at once; parsing one by one is ten times slower."""

UNKNOWN_NUMBER = -1
"""Of training events, where the examples do not say it."""

_INT64_LIST = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
_FEATURES = {
    USER_ID: tf.io.FixedLenFeature([], tf.string),
    HISTORY: _INT64_LIST,
    POSITIVES: _INT64_LIST,
    NUM_TRAINED: tf.io.FixedLenFeature([], tf.int64, default_value=UNKNOWN_NUMBER),
    POSITIVE_KINDS: _INT64_LIST,
    HISTORY_TIMESTAMPS: _INT64_LIST,
    POSITIVE_TIMESTAMPS: _INT64_LIST,
    USER_ROW: tf.io.FixedLenFeature([], tf.int64, default_value=0),
}


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutUsers:
    """Users of one held-out split, read into memory.

    Attributes:
        user_ids: `[num_users]` bytes objects, raw ids in UTF-8.
        histories: Dense ids of every earlier event per user, oldest first; `Histories`
            where examples say more: the request is at the time of the first positive.
        positives: Dense ids of the held-out events per user, at least one.
        num_trained: `[num_users]` int64, events of each user that training learns from, or
            `UNKNOWN_NUMBER`; None stands for the latter everywhere.
        positive_kinds: Numbers of the kinds of all positives, user by user; None where the
            log has no kinds.
        starts_with_slot: Whether every history begins with a slot that is no event, as where
            examples have features of users.
    """

    user_ids: np.ndarray
    histories: Ragged
    positives: Ragged
    num_trained: np.ndarray | None = None
    positive_kinds: np.ndarray | None = None
    starts_with_slot: bool = False

    def __post_init__(self):
        if self.num_trained is None:
            unknown = np.full(len(self.user_ids), UNKNOWN_NUMBER)
            object.__setattr__(self, "num_trained", unknown)
        numbers = (self.histories, self.positives, self.num_trained)
        if any(len(values) != len(self.user_ids) for values in numbers):
            raise ValueError("User ids, histories and positives differ in number.")
        kinds = self.positive_kinds
        if kinds is not None and len(kinds) != len(self.positives.values):
            raise ValueError("Positives and their kinds differ in number.")

    @property
    def num_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def history_lengths(self) -> np.ndarray:
        """`[num_users]` int64, earlier events of each user."""
        return self.histories.lengths - self.starts_with_slot

    def take(self, rows: np.ndarray) -> "HeldOutUsers":
        """The given users, in the given order."""
        return HeldOutUsers(
            self.user_ids[rows],
            self.histories.take(rows),
            self.positives.take(rows),
            self.num_trained[rows],
            None if self.positive_kinds is None else self._of_positives("positive_kinds", rows),
            self.starts_with_slot,
        )

    def of_kinds(self, numbers: Sequence[int]) -> tuple[np.ndarray, "HeldOutUsers"]:
        """Those with held-out events of some kinds, and these alone; the rows they have here.

        Args:
            numbers: Of the kinds.
        """
        is_of_kind = np.isin(self.positive_kinds, numbers)
        offsets = np.concatenate([[0], np.cumsum(is_of_kind)])[self.positives.offsets]
        rows = np.flatnonzero(np.diff(offsets))

        def keep(values: np.ndarray) -> Ragged:
            return Ragged(values[is_of_kind], offsets).take(rows)

        positives, kinds = keep(self.positives.values), keep(self.positive_kinds).values
        users = self.take(rows)
        return rows, dataclasses.replace(users, positives=positives, positive_kinds=kinds)

    def _of_positives(self, name: str, rows: np.ndarray) -> np.ndarray:
        """A column of the positives, of some users."""
        return Ragged(getattr(self, name), self.positives.offsets).take(rows).values


def read_held_out(examples_dir: str | Path, split: str) -> HeldOutUsers:
    """Reads the users of a held-out split.

    Args:
        examples_dir: The folder that `recall ingest` wrote.
        split: `valid` or `test`.

    Returns:
        All users, in the order of the files.

    Raises:
        InputError: A file is missing, damaged or incomplete, or there are no
            held-out users.
    """
    if split not in HELD_OUT_SPLITS:
        raise ValueError(f"`split` must be one of {HELD_OUT_SPLITS}, received {split!r}.")
    log_columns = records.read_log_columns(examples_dir)
    names = [(HISTORY_VALUES, _of(log_columns, "event"))]
    names += [(REQUEST_VALUES, _of(log_columns, "request"))]
    specs = _FEATURES | {
        prefix + name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
        for prefix, columns in names
        for name, dtype in value_types(columns).items()
    }
    parts = read_parts(examples_dir, split, specs)
    kinds = np.concatenate([part[POSITIVE_KINDS].values.numpy() for part in parts])
    return HeldOutUsers(
        np.concatenate([part[USER_ID].numpy() for part in parts]),
        _with_columns(concatenate([part[HISTORY] for part in parts]), parts, log_columns),
        concatenate([part[POSITIVES] for part in parts]),
        np.concatenate([part[NUM_TRAINED].numpy() for part in parts]),
        kinds if len(kinds) else None,
        any(part[USER_ROW].numpy().any() for part in parts),
    )


def read_parts(examples_dir: str | Path, split: str, specs: dict) -> list[dict]:
    """The parsed batches of all users of a held-out split, in the order of the files.

    Args:
        examples_dir: The folder that `recall ingest` wrote.
        split: `valid` or `test`.
        specs: Of the columns that are read, `POSITIVES` among them.

    Raises:
        InputError: As `read_held_out`.
    """
    parts = []
    for path, batches in _read_split(Path(examples_dir), split, specs):
        parts += batches
        if any((batch[POSITIVES].row_lengths() == 0).numpy().any() for batch in batches):
            raise InputError(f"{path} has a user without positives. {_remedy(path)}")
    if not parts:
        raise InputError(
            f"{Path(examples_dir) / f'Split-{split}'} holds no users. Every user has too few "
            "events for the protocol; check the log and the config section `ingest`."
        )
    return parts


def _of(columns: Sequence[FittedColumn], owner: str) -> list[FittedColumn]:
    return [column for column in columns if column.column.owner == owner]


def _with_columns(
    histories: Ragged, parts: list[dict], log_columns: Sequence[FittedColumn]
) -> Ragged:
    """The histories with their times, users and features, as far as examples have them."""
    times = np.concatenate([part[HISTORY_TIMESTAMPS].values.numpy() for part in parts])
    users, requests = np.concatenate([part[USER_ROW].numpy() for part in parts]), None
    if len(times) != len(histories.values):
        times = None
    else:
        firsts = [part[POSITIVE_TIMESTAMPS][:, :1].values.numpy() for part in parts]
        requests = np.concatenate(firsts)
    if times is None and not users.any() and not log_columns:
        return histories
    of_clicks = of_requests = None
    if events := _of(log_columns, "event"):
        pairs = None if times is None else _with_times_before(histories, times)
        of_clicks = _encode(events, HISTORY_VALUES, parts, pairs)
    if asked := _of(log_columns, "request"):
        pairs = None
        if times is not None:  # A history is never empty.
            pairs = np.stack([requests, times[histories.offsets[1:] - 1]], axis=1)
        of_requests = _encode(asked, REQUEST_VALUES, parts, pairs)
    return Histories.of(histories, times, requests, users, of_clicks, of_requests)


def _with_times_before(histories: Ragged, times: np.ndarray) -> np.ndarray:
    """`[num_events, 2]` int64 seconds, of each event and of the one before it, 0 for none."""
    before = np.concatenate([[0], times[:-1]])
    before[histories.offsets[:-1]] = 0
    return np.stack([times, before], axis=1)


def _encode(
    columns: Sequence[FittedColumn], prefix: str, parts: list[dict], times: np.ndarray | None
) -> np.ndarray:
    """The values of features as `Histories` has them."""
    values = {
        name: tf.concat([part[prefix + name].values for part in parts], axis=0)
        for name in value_types(columns)
    }
    encoded = encode_values(columns, values, None if times is None else tf.constant(times))
    return pack_values(*(array.numpy() for array in encoded))


def read_training_windows(examples_dir: str | Path) -> Iterator[Ragged]:
    """The training windows, dense ids, one file at a time.

    Raises:
        InputError: A file is missing, damaged or incomplete.
    """
    for _, batches in _read_split(Path(examples_dir), "train", {ITEM_IDS: _INT64_LIST}):
        if batches:
            yield concatenate([batch[ITEM_IDS] for batch in batches])


def _read_split(
    examples_dir: Path, split: str, features: dict
) -> Iterator[tuple[Path, list[dict]]]:
    """Every file of a split with its parsed batches."""
    split_dir = examples_dir / f"Split-{split}"
    expected = _expected_counts(examples_dir, split)
    paths = {path.name: path for path in sorted(split_dir.glob("*.tfrecord.gz"))}
    for name in sorted(set(expected) - set(paths)):
        raise InputError(f"{split_dir / name} is missing. {_remedy(split_dir / name)}")
    for name, path in paths.items():
        yield path, _read_file(path, features, expected.get(name))


def _expected_counts(examples_dir: Path, split: str) -> dict[str, int]:
    """Examples per file by the statistics; a file cut off early may read as empty."""
    path = examples_dir / records.STATISTICS_NAME
    if not path.exists():
        return {}
    return storage.read_json(path).get("splits", {}).get(split, {}).get("files", {})


def _read_file(path: Path, features: dict, expected: int | None) -> list[dict]:
    """The parsed batches of one TFRecord file."""
    dataset = open_kept_examples([str(path)]).batch(_BATCH_SIZE)
    batches, number = [], 0
    try:
        for serialized in without_tuning(dataset):
            batches.append(tf.io.parse_example(serialized, features))
            number += len(serialized)
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise InputError(f"{path} is damaged. {_remedy(path)}") from error
    except tf.errors.OpError as error:
        raise InputError(f"Cannot read {path}: {error.message}") from error
    if expected is not None and number != expected:
        raise InputError(f"{path} holds {number} examples instead of {expected}. {_remedy(path)}")
    return batches


def _remedy(path: Path) -> str:
    """What to do about a damaged file of a split."""
    return records.how_to_renew(path.parent.parent, "ingest")


def concatenate(parts: list[tf.RaggedTensor]) -> Ragged:
    """All rows of `parts`, one after the other."""
    lengths = [np.diff(part.row_splits.numpy()) for part in parts]
    offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
    return Ragged(np.concatenate([part.values.numpy() for part in parts]), offsets)
