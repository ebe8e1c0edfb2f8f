"""What examples say of events beside their items, read back. Imports no TensorFlow."""

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.artifacts import records
from serving.release import storage

COLUMNS = "event_columns"
"""Key of statistics.json."""


class ColumnsFound(NamedTuple):
    """What examples say of events.

    Attributes:
        kinds: Names of the kinds of events, by their numbers from 1; () where the log has none.
        weights: Whether events have weights.
        shown: Items that were shown and not clicked; None where the log does not tell.
        times: Whether examples have times.
        users: Whether examples have the rows of users.
        features: Declared features of events and of requests: name -> `owner`, `kind`.
    """

    kinds: tuple[str, ...] = ()
    weights: bool = False
    shown: int | None = None
    times: bool = False
    users: bool = False
    features: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({})

    @classmethod
    def of_statistics(cls, statistics: dict[str, Any]) -> "ColumnsFound":
        """Those that the statistics of examples tell of."""
        found = statistics.get(COLUMNS, {})
        kinds = tuple(found.get("kinds", ()))
        weights, times, users = (found.get(name, False) for name in ("weights", "times", "users"))
        features = found.get("features", {})
        return cls(kinds, weights, found.get("shown"), times, users, features)

    @classmethod
    def read(cls, examples_dir: str | Path) -> "ColumnsFound":
        """Those of a folder of examples."""
        return cls.of_statistics(storage.read_json(Path(examples_dir) / records.STATISTICS_NAME))


NOTHING_FOUND = ColumnsFound()
