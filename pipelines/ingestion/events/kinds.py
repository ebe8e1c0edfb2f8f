"""Kinds of events: their numbers, and how many events a log has of each.

Imports no TensorFlow.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.artifacts.event_columns import COLUMNS, check_kinds
from pipelines.sources.events import EventSource
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.ingest import IMPRESSION

MOST_KINDS = 100
"""A column with more values says something else."""


class RunKinds(NamedTuple):
    """The kinds of the events of a log, which was read in runs.

    Attributes:
        names: All kinds; the number of a kind is its place here, from 1.
        of_runs: Number of a run -> its kinds, by their numbers there.
    """

    names: tuple[str, ...]
    of_runs: Mapping[int, Sequence[str]]

    @classmethod
    def merge(cls, of_units: Iterable[Mapping[str, Sequence[str]]]) -> "RunKinds":
        """What the readers of all units have found, by the numbers of their runs."""
        of_runs = {int(run): kinds for unit in of_units for run, kinds in unit.items()}
        names = {kind for kinds in of_runs.values() for kind in kinds}
        return cls(tuple(sorted(names)), of_runs)

    def check(self, spec: str, column: str) -> None:
        """Refuses a column that is none of kinds.

        Raises:
            InputError: It has too many values.
        """
        if len(self.names) > MOST_KINDS:
            raise InputError(
                f"{spec}: the column {column!r} has {len(self.names):,} different values, for "
                f"example {self.names[0]!r} and {self.names[-1]!r}; at most {MOST_KINDS} kinds of "
                "events are possible. Check --event_type_column."
            )

    def check_clicks(self, source: EventSource, config: RecallConfig) -> None:
        """Refuses a log in which items were only shown, or no click counts in training.

        What training would refuse costs no more than reading so.

        Raises:
            InputError: It is one, or the settings name kinds that it lacks.
        """
        if self.names == (IMPRESSION,):
            raise InputError(
                f"{source.spec}: all events are of the kind {IMPRESSION!r}, which says that an "
                "item was shown. Add the events of clicks, or leave out --event_type_column to "
                "take these as clicks."
            )
        if self.names:
            check_kinds(config, self.names, source.spec)

    @staticmethod
    def of_run(kinds: pa.DictionaryArray) -> tuple[list[str], pa.Array]:
        """The kinds of a run, and their numbers; rows that were left out may have had others."""
        used, numbers = np.unique(kinds.indices.to_numpy(), return_inverse=True)
        return kinds.dictionary.take(pa.array(used)).to_pylist(), pa.array(numbers.astype(np.int32))

    def numbers(self, run: int) -> np.ndarray:
        """The numbers of the kinds of a run, by their numbers there."""
        return np.array([self.names.index(kind) + 1 for kind in self.of_runs[run]], np.int8)

    def count(self, kinds: np.ndarray | None) -> np.ndarray:
        """`[num_kinds]` events of each kind; None stands for no events."""
        kinds = np.zeros(0, np.int8) if kinds is None else kinds
        return np.bincount(kinds, minlength=len(self.names) + 1)[1:]

    def find_impressions(self, kinds: np.ndarray | None) -> np.ndarray | None:
        """`[n]` bool, where an item was shown; None where no event of the log is such."""
        if kinds is None or IMPRESSION not in self.names:
            return None
        return kinds == self.names.index(IMPRESSION) + 1


NO_KINDS = RunKinds((), {})


def check_source(source: EventSource, config: RecallConfig) -> None:
    """Refuses settings of kinds for a log that is read without any.

    Raises:
        InputError: The settings name one.
    """
    if not source.columns.event_type:
        check_kinds(config, (), f"{source.spec} is read without any")


def count_all(names: Sequence[str], of_shards: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Kind -> its events, in the order of their numbers, from facts of shards.

    >>> count_all(("cart", "view"), [{"kinds": [1, 2]}, {"kinds": [0, 3]}])
    {'cart': 1, 'view': 5}
    """
    return {name: sum(fact["kinds"][at] for fact in of_shards) for at, name in enumerate(names)}


def count_shown(written: Sequence[Mapping[str, Any]]) -> int | None:
    """Negatives that were shown, from facts of shards; None where the log does not tell."""
    shown = [fact["shown_items"] for fact in written if "shown_items" in fact]
    return sum(shown) if shown else None


def describe(
    counts: Mapping[str, int],
    *,
    has_weights: bool,
    config: RecallConfig,
    shown: int | None,
    features: Mapping[str, Any],
) -> dict[str, Any]:
    """What examples say of events, for statistics.json; nothing for a log of items alone.

    Args:
        counts: Kind -> its events, in the order of the numbers of kinds.
        has_weights: Whether events have weights.
        config: Says whether examples have times, and the rows of users.
        shown: Negatives that were shown; None where the log does not tell.
        features: From `log_features.describe`.
    """
    has_times, has_users = config.needs_times, bool(config.features.of("user"))
    if not any((counts, features, has_weights, has_times, has_users)):
        return {}
    found = {"kinds": dict(counts), "weights": has_weights, "shown": shown}
    return {COLUMNS: {**found, "times": has_times, "users": has_users, **features}}


def lines(statistics: Mapping[str, Any]) -> list[str]:
    """What was found, for people."""
    found = statistics.get(COLUMNS, {})
    told = []
    if found.get("kinds"):
        counts = ", ".join(f"{number:,} {name}" for name, number in found["kinds"].items())
        told.append(f"Events by kind: {counts}.")
    if found.get("shown") is not None:
        told.append(
            f"{found['shown']:,} items that were shown and not clicked are negatives of the "
            "click that follows."
        )
    return told


def look_alikes(statistics: Mapping[str, Any]) -> list[str]:
    """Kinds that may be meant as others, for people: names are taken letter by letter."""
    found: dict[str, list[str]] = {}
    for name in statistics.get(COLUMNS, {}).get("kinds", {}):
        found.setdefault(name.strip().casefold(), []).append(name)
    shown = {IMPRESSION, f"{IMPRESSION}s"}
    told = [
        f"The kind of events {name!r} counts as clicks: only {IMPRESSION!r} says that an item was "
        "shown."
        for plain, names in found.items()
        for name in names
        if plain in shown and name != IMPRESSION
    ]
    return told + [
        f"The kinds of events {', '.join(map(repr, names))} differ in capitals or blanks alone, "
        "and are kept apart."
        for plain, names in found.items()
        if plain not in shown and len(names) > 1
    ]
