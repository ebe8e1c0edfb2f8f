"""What examples say of events beside their items, read back. Imports no TensorFlow."""

import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.artifacts import records
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.ingest import IMPRESSION
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


def check_kinds(config: RecallConfig, kinds: Sequence[str], without: str) -> None:
    """Refuses settings of kinds of events that do not fit those of a log.

    Args:
        config: Its sections `loss`, `train` and `evaluation` name kinds.
        kinds: All of the log; () where it has none.
        without: What has no kinds, for the error.

    Raises:
        InputError: A kind is named that the log lacks or that is no target, or none counts.
    """
    clicks = [kind for kind in kinds if kind != IMPRESSION]
    settings = {
        "loss.event_weights": config.loss.event_weights,
        "loss.target_kinds": config.loss.target_kinds,
        "train.stopping_kinds": config.train.stopping_kinds,
        "evaluation.thresholds": config.evaluation.kinds,
    }
    check_named_kinds(settings, kinds, without)
    if clicks and max(map(config.loss.weight_of, clicks)) == 0:
        raise InputError(
            "loss.event_weights and loss.target_kinds leave no click that counts: all of "
            f"{', '.join(clicks)} count 0."
        )


def check_named_kinds(
    settings: Mapping[str, Iterable[str]], kinds: Sequence[str], without: str
) -> None:
    """Refuses settings that name kinds of events which a log lacks.

    Args:
        settings: Name of a setting -> the kinds that it names.
        kinds: All of the log; () where it has none.
        without: What has no kinds, for the error.

    Raises:
        InputError: A kind is named that the log lacks or that is no target.
    """
    clicks = [kind for kind in kinds if kind != IMPRESSION]
    for setting, names in settings.items():
        if names and not kinds:
            raise InputError(
                f"{setting} names kinds of events, but {without}. "
                "Ingest the log with --event_type_column."
            )
        if IMPRESSION in names:
            raise InputError(
                f"{setting} names {IMPRESSION!r}, but items that were only shown are no "
                "targets: they are negatives of the click that follows. Leave it out."
            )
        unknown = [name for name in names if name not in kinds]
        if unknown:
            raise InputError(
                f"{setting} names {unknown[0]!r}, but the events are of the kinds "
                f"{', '.join(clicks)}."
            )
