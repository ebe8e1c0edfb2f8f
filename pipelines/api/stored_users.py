"""Users of a run by their raw ids: what each clicked, and what is known of her beside that."""

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.artifacts import held_out, held_out_clicks, records
from pipelines.artifacts.held_out_clicks import HeldOutClicks
from pipelines.inference.contexts import CLICK_TIMES, REQUEST_TIME, Wanted
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.vocabulary import FIRST_ITEM_ID
from serving.release import storage

_OTHER_NAME = "\0\0"
"""In the place of a name that examples hold as one outside of the vocabulary. No name is it."""


class StoredUser(NamedTuple):
    """What a request says of a user.

    Attributes:
        history: Raw ids, oldest first.
        context: What is known beside it, by name; None where a release looks at nothing else.
    """

    history: tuple[str, ...]
    context: Mapping[str, Any] | None = None

    def with_said(self, said: Mapping[str, Any] | None) -> "StoredUser":
        """The same with what a caller says of her, which goes first."""
        return self._replace(context={**(self.context or {}), **(said or {})} or None)


class StoredUsers:
    """The users with held-out clicks and all their clicks, the held-out ones included."""

    def __init__(self, examples_dir: Path):
        """Reads them.

        Raises:
            InputError: There are none, or a file is damaged.
        """
        self._vocabulary = records.read_vocabulary(examples_dir)
        columns = [c for c in self._vocabulary.log_columns if c.column.owner == "event"]
        self._names = {c.name: _names_of(c) for c in columns if c.kind == "categorical"}
        self._places: dict[str, tuple[HeldOutClicks, int]] = {}
        for split in held_out.HELD_OUT_SPLITS:  # The test split comes last and is the longest.
            try:
                users = held_out_clicks.read(examples_dir, split, columns)
            except InputError:
                if split == held_out.HELD_OUT_SPLITS[-1] and not self._places:
                    raise
                continue
            self._places |= {
                user_id.decode(): (users, row) for row, user_id in enumerate(users.user_ids)
            }
        self._examples_dir = examples_dir

    @property
    def user_ids(self) -> list[str]:
        """Raw ids."""
        return list(self._places)

    def read(self, user_ids: Sequence[str], wanted: Wanted) -> list[StoredUser]:
        """What is said of users.

        Args:
            user_ids: Raw ids.
            wanted: What a release looks at.

        Raises:
            InputError: One is no user of the run.
        """
        unknown = [user_id for user_id in user_ids if user_id not in self._places]
        if unknown:
            raise InputError(
                f"{len(unknown)} of {len(user_ids)} users are unknown, first {unknown[0]!r}. A run "
                f"keeps the {len(self._places)} users that have enough events to hold some out; "
                "for others give histories=[...], and what is known of them as context={...}."
            )
        return [self._read_one(*self._places[user_id], wanted) for user_id in user_ids]

    def _read_one(self, users: HeldOutClicks, row: int, wanted: Wanted) -> StoredUser:
        start, stop = users.clicks.offsets[row : row + 2]
        # A slot before the first click is none.
        kept = start + np.flatnonzero(users.clicks.values[start:stop] >= FIRST_ITEM_ID)
        history = tuple(self._vocabulary.to_raw(users.clicks.values[kept]))
        context: dict[str, Any] = {}
        for feature in wanted.features:
            if feature.name in users.values:
                values = users.values[feature.name][kept]
                context[feature.input_name] = self._as_said(feature, values)
        if wanted.times and users.times is not None:
            context[CLICK_TIMES] = np.maximum(users.times[kept], 0).tolist()
            context[REQUEST_TIME] = self._latest_s
        return StoredUser(
            history, {**context, **self._of_user(users.user_rows[row], wanted)} or None
        )

    @functools.cached_property
    def _latest_s(self) -> int:
        """Seconds of the last click of the log: when requests are made, on whatever day."""
        path = self._examples_dir / records.STATISTICS_NAME
        spans = storage.read_json(path)["split"]["spans"].values()
        latest = max(datetime.fromisoformat(last) for _, last in spans)
        return int(latest.replace(tzinfo=timezone.utc).timestamp())

    def _as_said(self, feature: FeatureColumn, values: np.ndarray) -> list[Any]:
        """Values of clicks as a request says them."""
        if feature.name in self._names:
            return [self._names[feature.name][number] for number in values.tolist()]
        return [None if np.isnan(value) else value for value in values.tolist()]

    def _of_user(self, row: int, wanted: Wanted) -> dict[str, Any]:
        """The values of a user of the users file; none of others."""
        known = self._vocabulary.users
        if known is None or not row:
            return {}
        values = known.table.slice(int(row) - 1, 1).to_pylist()[0]
        return {
            f.input_name: _one_of_user(f, values[f.name])
            for f in wanted.of_users
            if f.name in values
        }


def _one_of_user(feature: FeatureColumn, value: Any) -> Any:
    """A value of the users file as a request says it: of one category its name."""
    if feature.kind == "categorical" and not feature.has_several_values:
        return value[0] if value else None
    return value


def _names_of(column: FittedColumn) -> list[str | None]:
    """Names by their numbers in examples."""
    names = [None, _OTHER_NAME, *column.values]
    return [names[number] for number in column.numbers] if column.numbers else names
