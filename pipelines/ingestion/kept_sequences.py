"""The events of every user beside the examples, for `recall ingest --append` and `recall forget`.

They lie in `sequences/` in generations: what ingest leaves is the first, and each
append adds one with the whole sequences of the users it has touched. A user is
alive in one generation at most. Items are numbered by their place in
`catalogue`, to which appends add at the end. Imports no TensorFlow.
"""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.artifacts.event_columns import COLUMNS
from pipelines.ingestion.encoding import facts
from pipelines.ingestion.encoding.narrow_numbers import narrow
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.sequences import PART_LABELS, Part, Sequences
from recall.errors import InputError

FOLDER = "sequences"
STATE = "state"
USERS, ALIVE = "users", "alive"
CATALOGUE, DENSE_IDS, ITEM_COUNTS = "catalogue", "dense_ids", "item_counts"
"""By the number of an item: its id, its dense id (0 for none), its events in all sequences."""
BY_ITEM = (DENSE_IDS, ITEM_COUNTS, *(f"{label}_counts" for label in PART_LABELS))
"""Arrays by the number of an item."""
_OFFSETS, _ITEMS, _TIMESTAMPS, _PARTS = "offsets", "items", "timestamps", "parts"
_MORE = ("kinds", "weights", "values")
"""Columns of a log that says more of events. Impressions are events of their kind here."""
_SHOWN = "shown"
"""By the user: impressions that are negatives in her examples; where the log tells of any."""
_OWNERS = "owners"
_GENERATION = 10_000
"""Room between the numbers of two generations: shards. Those below are for all shards."""


class _KeptFiles(ShardFiles):
    """Files that lie for months: one that cannot be read is a folder that is damaged."""

    def read_batch(self, step: str, number: int, at: int = 0) -> pa.RecordBatch:
        with _damage_of(self._path(step, number, "arrow")):
            return super().read_batch(step, number, at)

    def read_array(self, step: str, number: int) -> np.ndarray:
        with _damage_of(self._path(step, number, "npy")):
            return super().read_array(step, number)

    def map_array(self, step: str, number: int) -> np.ndarray:
        with _damage_of(self._path(step, number, "npy")):
            return super().map_array(step, number)


@contextlib.contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, ValueError) as error:  # Errors of Arrow are one of the last two.
        raise _damaged(path.name) from error


def _damaged(name: str) -> InputError:
    return InputError(
        f"{FOLDER}/{name} of the examples is missing or damaged. Copy the folder again, or make "
        "all examples again."
    )


def open_files(examples_dir: str | Path) -> ShardFiles:
    """The files of a folder of examples; reading raises `InputError` where one is damaged."""
    return _KeptFiles(Path(examples_dir) / FOLDER)


def check_files(files: ShardFiles, columns: Sequence[str], batches: Sequence[str]) -> None:
    """Refuses what has lost a file, which would look like a log that never had the column.

    Args:
        files: Of `open_files`.
        columns: Of events, which every shard of a generation has.
        batches: Of all shards.

    Raises:
        InputError: One is missing.
    """
    for path in files.directory.glob(f"{USERS}-*.arrow"):
        number = path.stem.rpartition("-")[2]
        for name in columns:
            if not files.has_array(name, int(number)):
                raise _damaged(f"{name}-{number}.npy")
    for name in batches:
        if not files.has(name, 0):
            raise _damaged(f"{name}-00000.arrow")


def part_counts(part: Part) -> str:
    """Name of the array of the events of a part by item."""
    return f"{part.label}_counts"


def file_number(generation: int, shard: int) -> int:
    """Number of a shard of a generation in the names of files."""
    return (generation + 1) * _GENERATION + shard


def write_generation(
    examples_dir: str | Path, shard: int, log: Sequences, generation: int = 0
) -> None:
    """Stores the sequences of a shard, all alive."""
    files, number = open_files(examples_dir), file_number(generation, shard)
    users = pa.RecordBatch.from_arrays([log.user_ids], names=["user_id"])
    files.write_batches(USERS, number, [users])
    for name in (_OFFSETS, _ITEMS):
        files.write_array(name, number, getattr(log, name))
    files.write_array(_TIMESTAMPS, number, narrow(log.timestamps))
    # Without a split column they are not known yet, and all the same.
    files.write_array(_PARTS, number, log.parts if log.parts.any() else log.parts[:0])
    for name in _MORE:
        if getattr(log, name) is not None:
            files.write_array(name, number, getattr(log, name))
    files.write_array(ALIVE, number, np.ones(len(log.user_ids), bool))


def write_owners(
    examples_dir: str | Path,
    shard: int,
    owners: Mapping[tuple[str, int], np.ndarray],
    rows: np.ndarray,
    shown: np.ndarray | None = None,
    generation: int = 0,
) -> None:
    """Stores whose examples the files of a shard hold, where the generation has users in it.

    Args:
        examples_dir: The folder of examples.
        shard: Of users.
        owners: Split and bucket -> user of each example, among the users that were written.
        rows: Their rows among the users of the generation.
        shown: Impressions that are negatives of each; None where the log does not tell.
        generation: That the files belong to.
    """
    files, number = open_files(examples_dir), file_number(generation, shard)
    if not files.has(USERS, number):
        return
    users = np.concatenate([np.empty(0, np.int64), *owners.values()])
    files.write_array(_OWNERS, number, rows[users].astype(np.int32))
    sizes = [[*at, len(users)] for at, users in owners.items() if len(users)]
    files.write_facts(_OWNERS, number, sizes)
    if shown is not None:
        of_users = np.zeros(files.read_batch(USERS, number).num_rows, np.int64)
        of_users[rows] = shown
        files.write_array(_SHOWN, number, of_users)


def read_owners(files: ShardFiles, number: int) -> dict[tuple[str, int], np.ndarray]:
    """Split and bucket of each file of examples of a shard and generation -> rows of users."""
    if files.has_facts(_OWNERS, number):
        sizes = files.read_facts(_OWNERS, number)
        ends = np.cumsum([size for _, _, size in sizes])
        users = np.split(files.read_array(_OWNERS, number), ends)
        return {(split, bucket): of for (split, bucket, _), of in zip(sizes, users, strict=False)}
    # Earlier versions had a file for each.
    names = [step for step in files.steps_of(number) if step.startswith(f"{_OWNERS}_")]
    at = {name: name.split("_") for name in names}
    return {(at[n][1], int(at[n][2])): files.read_array(n, number) for n in names}


class Generation(NamedTuple):
    """The users of one shard and generation.

    Attributes:
        number: In the names of its files.
        user_ids: `[num_users]`, ascending as text.
        alive: `[num_users]` bool; of the others a later generation has the sequence, or none.
    """

    number: int
    user_ids: pa.StringArray
    alive: np.ndarray

    @classmethod
    def read(cls, files: ShardFiles, number: int) -> "Generation":
        """Reads users alone; nobody, where no one of the generation is left."""
        if not files.has(USERS, number):
            if files.steps_of(number):  # All of a number goes, or nothing.
                raise _damaged(f"{USERS}-{number:05d}.arrow")
            return cls(number, pa.array([], pa.string()), np.zeros(0, bool))
        users = files.read_batch(USERS, number)["user_id"]
        return cls(number, users, files.read_array(ALIVE, number))

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left."""
        return len(self.user_ids) == 0

    def column(self, files: ShardFiles, name: str) -> np.ndarray:
        """One of the columns of all sequences; what is not looked at is not read."""
        return files.map_array(name, self.number)

    def read_all(self, files: ShardFiles) -> Sequences:
        """The sequences of all users, maps of their files."""
        if self.is_empty:
            return NO_SEQUENCES
        items, timestamps = (self.column(files, name) for name in (_ITEMS, _TIMESTAMPS))
        return Sequences(
            self.user_ids,
            self.column(files, _OFFSETS),
            items,
            timestamps.astype(np.float64, copy=False),
            None,
            self._parts(files, len(items)),
            **{name: self.column(files, name) for name in self._more(files)},
        )

    def take(self, files: ShardFiles, rows: np.ndarray) -> Sequences:
        """The sequences of some users."""
        offsets = self.column(files, _OFFSETS)
        starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
        ends = np.cumsum(lengths)
        events = np.repeat(starts - (ends - lengths), lengths) + np.arange(lengths.sum())
        items, timestamps = (self.column(files, name)[events] for name in (_ITEMS, _TIMESTAMPS))
        return Sequences(
            self.user_ids.take(pa.array(rows)),
            np.concatenate([[0], ends]),
            items,
            timestamps.astype(np.float64, copy=False),
            None,
            self._parts(files, offsets[-1])[events],
            **{name: self.column(files, name)[events] for name in self._more(files)},
        )

    def _more(self, files: ShardFiles) -> list[str]:
        return [name for name in _MORE if files.has_array(name, self.number)]

    def sum_shown(self, files: ShardFiles, rows: np.ndarray) -> int:
        """Impressions that are negatives in the examples of some users."""
        has_shown = files.has_array(_SHOWN, self.number)
        return int(self.column(files, _SHOWN)[rows].sum()) if has_shown else 0

    def _parts(self, files: ShardFiles, num_events: int) -> np.ndarray:
        """`[num_events]` what a split column said, `Part.TRAIN` without one."""
        parts = files.read_array(_PARTS, self.number)
        return parts if len(parts) else np.broadcast_to(np.int8(Part.TRAIN), num_events)


NO_SEQUENCES = Sequences(
    pa.array([], pa.string()),
    np.zeros(1, np.int64),
    np.empty(0, np.int32),
    np.empty(0),
    None,
    np.empty(0, np.int8),
)
"""Of nobody."""


def read_users(examples_dir: str | Path) -> Iterator[pa.StringArray]:
    """The users of every shard and generation, those who do not count as well."""
    files = open_files(examples_dir)
    for path in sorted(files.directory.glob(f"{USERS}-*.arrow")):
        yield files.read_batch(USERS, int(path.stem.rpartition("-")[2]))["user_id"]


def write_items(
    examples_dir: str | Path,
    item_ids: pa.StringArray,
    dense_ids: np.ndarray,
    item_counts: np.ndarray,
    counts: Mapping[Part, np.ndarray],
) -> None:
    """Stores the catalogue of a log that was just ingested, `[num_items]` each."""
    files = open_files(examples_dir)
    batch = pa.RecordBatch.from_arrays([item_ids], names=["item_id"])
    files.write_batches(CATALOGUE, 0, [batch])
    files.write_array(DENSE_IDS, 0, dense_ids)
    files.write_array(ITEM_COUNTS, 0, item_counts)
    for part, of_part in counts.items():
        files.write_array(part_counts(part), 0, of_part)


def read_catalogue(files: ShardFiles) -> pa.StringArray:
    """`[num_items]` raw ids by the number of an item."""
    return files.read_batch(CATALOGUE, 0)["item_id"]


def first_state(
    statistics: Mapping[str, Any],
    sorted_facts: Sequence[Mapping[str, Any]],
    split_facts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What changes add to, of a log that was just ingested: facts of the reports.

    Args:
        statistics: `statistics.json`.
        sorted_facts: What `SortShard` left.
        split_facts: What `SplitShard` left.
    """
    written = {
        name: {"files": values["files"], "targets": values["targets"]}
        for name, values in statistics["splits"].items()
    }
    state = {"generations": 1, "written": written}
    # Kinds are added up by name.
    plain = [{name: v for name, v in fact.items() if name != "kinds"} for fact in sorted_facts]
    state["sorted"] = functools.reduce(facts.add, plain)
    split = {"train_targets": written["train"]["targets"]}
    state["split"] = functools.reduce(facts.add, split_facts, split)
    found = statistics.get(COLUMNS, {})
    return state | {name: found.get(name) for name in ("kinds", "weights", "shown")}


def write_state(examples_dir: str | Path, state: Mapping[str, Any]) -> None:
    """Stores what the next append adds to: `generations` and the facts of the reports."""
    open_files(examples_dir).write_facts(STATE, 0, dict(state))


def read_state(examples_dir: str | Path) -> dict[str, Any]:
    """Inverse of `write_state`."""
    found = open_files(examples_dir).read_all_facts(STATE)
    if len(found) != 1:
        raise _damaged(f"{STATE}-00000.json")
    return found[0]
