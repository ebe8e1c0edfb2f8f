"""How every test user fared: places of the held-out clicks in every ranker's list, as Parquet.

Metrics of any group of users, and their intervals, follow from it without a model. Imports
no TensorFlow.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recall.errors import InputError
from recall.metrics.ranking import UserMetric, compute_user_metrics
from recall.ragged import Ragged

MAX_USERS = 100_000
"""Users that are stored, at most, drawn at random: a share has then a standard error below
.0016, and the file some 2 MB."""

NOT_FOUND = 0
"""Place of a click that is not in the list; the first place is 1."""

_PREFIX = "place_"
_KINDS = "positive_kinds"

_ENOUGH_SHARED = 0.5
"""Share of the test users that two runs must have in common to be compared user by user."""


@dataclasses.dataclass(frozen=True, eq=False)
class UserResults:
    """Test users with what happened to their held-out clicks.

    Attributes:
        user_ids: `[num_users]` str.
        history_lengths: `[num_users]` int, clicks before the held-out ones.
        num_trained: `[num_users]` int, clicks of the user that training learnt from, -1 where
            nobody knows.
        positives: Vocabulary rows of the held-out clicks, negative for unknown items.
        places: Ranker -> `[num_positives]` int, the place of each in the user's list, from 1,
            `NOT_FOUND` where it is not there.
        depth: Length of the lists.
        num_tested: Test users there are in all.
        kinds: `[num_positives]` str, the kind of each held-out event; None where the log has
            no kinds.
    """

    user_ids: np.ndarray
    history_lengths: np.ndarray
    num_trained: np.ndarray
    positives: Ragged
    places: Mapping[str, np.ndarray]
    depth: int
    num_tested: int
    kinds: np.ndarray | None = None

    @property
    def num_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    def user_metrics(self, ranker: str, ks: Sequence[int]) -> dict[str, UserMetric]:
        """Ranking metrics of every user by one ranker.

        Args:
            ranker: A key of `places`.
            ks: Cut-offs, at most `depth`.
        """
        places = self.places[ranker]
        ranks = np.where(places == NOT_FOUND, self.depth, places - 1)
        return compute_user_metrics(ranks, self.positives, ks)

    def take(self, rows: np.ndarray) -> "UserResults":
        """The given users, in the given order."""
        events = Ragged(np.arange(len(self.positives.values)), self.positives.offsets).take(rows)
        return dataclasses.replace(
            self,
            user_ids=self.user_ids[rows],
            history_lengths=self.history_lengths[rows],
            num_trained=self.num_trained[rows],
            positives=self.positives.take(rows),
            places={name: places[events.values] for name, places in self.places.items()},
            kinds=None if self.kinds is None else self.kinds[events.values],
        )

    def write(self, path: str | Path) -> None:
        """Writes the users as one Parquet file."""
        offsets = pa.array(self.positives.offsets.astype(np.int32))

        def lists(values: np.ndarray) -> pa.ListArray:
            return pa.ListArray.from_arrays(offsets, pa.array(values.astype(np.int32)))

        columns = {
            "user_id": pa.array(self.user_ids, pa.string()),
            "history_length": pa.array(self.history_lengths.astype(np.int32)),
            "num_trained": pa.array(self.num_trained.astype(np.int32)),
            "positives": lists(self.positives.values),
            **{f"{_PREFIX}{name}": lists(places) for name, places in self.places.items()},
        }
        if self.kinds is not None:
            columns[_KINDS] = pa.ListArray.from_arrays(offsets, pa.array(self.kinds, pa.string()))
        facts = {"depth": str(self.depth), "num_tested": str(self.num_tested)}
        table = pa.table(columns).replace_schema_metadata(facts)
        pq.write_table(table, path, compression="zstd")

    @classmethod
    def read(cls, path: str | Path) -> "UserResults":
        """Inverse of `write`.

        Raises:
            InputError: The file is missing, damaged or another one.
        """
        try:
            table = pq.read_table(path).combine_chunks()
            lists = {
                name.removeprefix(_PREFIX): table[name].combine_chunks().values.to_numpy()
                for name in table.column_names
                if name.startswith(_PREFIX)
            }
            positives = table["positives"].combine_chunks()
            kinds = None
            if _KINDS in table.column_names:
                kinds = np.array(table[_KINDS].combine_chunks().values.to_pylist(), object)
            return cls(
                np.array(table["user_id"].to_pylist(), object),
                table["history_length"].to_numpy(),
                table["num_trained"].to_numpy(),
                Ragged(positives.values.to_numpy(), positives.offsets.to_numpy()),
                lists,
                int(table.schema.metadata[b"depth"]),
                int(table.schema.metadata[b"num_tested"]),
                kinds,
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"Cannot read {path}: {error}. Run `recall evaluate` again."
            ) from error


def match_users(mine: UserResults, theirs: UserResults) -> tuple[UserResults, UserResults] | None:
    """The users that both have, in one order; None where these are too few.

    Of another log a user may have the same id: who has another history, or another number of
    clicks held out, is another user.
    """
    _, own, their = np.intersect1d(mine.user_ids, theirs.user_ids, return_indices=True)
    same = (mine.history_lengths[own] == theirs.history_lengths[their]) & (
        mine.positives.lengths[own] == theirs.positives.lengths[their]
    )
    if same.sum() < _ENOUGH_SHARED * max(mine.num_users, theirs.num_users):
        return None
    return mine.take(own[same]), theirs.take(their[same])
