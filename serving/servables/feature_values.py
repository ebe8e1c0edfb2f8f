"""Values of features that callers give: counted, and a warning where many say nothing.

Imports no TensorFlow. The towers count in their graphs, feature by feature; those of releases of
earlier versions count all features together.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from recall.feature_columns import unknown_values
from serving.monitoring.metrics import Metrics
from serving.protocol.signatures import VALUE_COUNTS

_LOGGER = logging.getLogger(__name__)

ITEM_OWNERS, USER_OWNERS = ("item",), ("user", "event", "request")
"""Owners of the features that each tower looks at."""

_DECLARED = {
    "item": "features",
    "user": "user_features",
    "event": "log_features",
    "request": "log_features",
}
"""Owner -> where the manifest of a tower has its features."""

_ALL = "all"
"""Stands for the features of a tower that does not tell them apart."""

_OF_TIMES = "timestamp"
"""Kind of features that no caller gives: they are made of times, and no vocabulary lacks them."""

_ENOUGH, _MOST = 100, 2000
"""Latest values of a feature before its share is looked at; and when half of them is forgotten."""

_DEFAULT_SHARE = 0.05
"""Of releases without a limit in their manifest."""


class FeatureCount(NamedTuple):
    """Values of one feature in one call.

    Attributes:
        owner: Of the feature.
        feature: Its name.
        known: Values that the model knows.
        unknown: Values outside of its vocabulary.
    """

    owner: str
    feature: str
    known: int
    unknown: int


class ValueCounter(Protocol):
    """Whoever is told of the outputs of a tower."""

    def count(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Counts the values of one call."""


class DeclaredFeatures:
    """Features of one tower, in the order in which it counts their values.

    Attributes:
        max_share: Share of unknown values that asks for a warning.
    """

    def __init__(self, owners: Sequence[str], manifest: Mapping[str, Any]):
        """Reads what the tower of a release declares.

        Args:
            owners: `ITEM_OWNERS` or `USER_OWNERS`.
            manifest: Of the tower.
        """
        self.max_share = manifest.get("max_unknown_share", _DEFAULT_SHARE)
        self._features = {owner: _columns_of(owner, manifest) for owner in owners}
        # What such towers call their totals.
        self._suffix = "" if owners == ITEM_OWNERS else "_values"

    def names(self) -> Iterator[tuple[str, str]]:
        """Owner and name of every feature whose values are counted."""
        for owner, columns in self._features.items():
            for column in columns:
                if column.get("kind") != _OF_TIMES:
                    yield owner, column["name"]

    def read(self, outputs: Mapping[str, np.ndarray]) -> Iterator[FeatureCount]:
        """The features of which a call has values.

        Args:
            outputs: Of the tower.
        """
        tells_apart = False
        for owner, columns in self._features.items():
            counts = outputs.get(VALUE_COUNTS[owner])
            if counts is None:
                continue
            tells_apart = True
            sums = counts.sum(axis=0, dtype=np.int64).tolist()
            for column, (known, unknown) in zip(columns, sums, strict=False):
                if (known or unknown) and column.get("kind") != _OF_TIMES:
                    yield FeatureCount(owner, column["name"], known, unknown)
        totals = [outputs.get(f"{name}{self._suffix}") for name in ("num_known", "num_unknown")]
        if not tells_apart and all(total is not None for total in totals):
            known, unknown = (int(total.sum()) for total in totals)
            if known or unknown:
                yield FeatureCount(next(iter(self._features)), _ALL, known, unknown)


def _columns_of(owner: str, manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    declared = manifest.get(_DECLARED[owner], ())
    # Those of the log stand together; all others have a part of their own.
    return [c for c in declared if c.get("owner", owner) == owner]


class FeatureValues:
    """Of one tower of one release; safe to use from several threads."""

    def __init__(
        self,
        owners: Sequence[str],
        manifest: Mapping[str, Any],
        version: int,
        metrics: Metrics | None = None,
    ):
        """Begins to count.

        Args:
            owners: `ITEM_OWNERS` or `USER_OWNERS`.
            manifest: Of the tower.
            version: Of the release.
            metrics: Told of all values.
        """
        self._declared = DeclaredFeatures(owners, manifest)
        self._version, self._metrics = version, metrics
        self._lock = threading.Lock()
        names = self._declared.names()
        self._latest = {name: _Latest(*name, metrics) for name in names}

    def count(self, outputs: Mapping[str, np.ndarray], *, are_new: bool = True) -> None:
        """Counts the values of one call.

        Args:
            outputs: Of the tower.
            are_new: Whether a caller gave them. Else another version, or an earlier process, has
                counted them: they count for the share that this version does not know alone.
        """
        for found in self._declared.read(outputs):
            with self._lock:
                latest = self._latest.get(found[:2])
                if latest is None:
                    latest = self._latest[found[:2]] = _Latest(*found[:2], self._metrics)
                has_changed = latest.add(found.known, found.unknown, self._declared.max_share)
                share, is_high = latest.share, latest.is_high
            if latest.series is not None:
                if are_new:
                    latest.series.count(found.known, found.unknown)
                latest.series.show(share, is_high)
            if has_changed:
                self._log(found, share, is_high)

    def close(self) -> None:
        """Takes back warnings of a version that is dropped: nobody gives it values any more."""
        for latest in self._latest.values():
            if latest.series is not None and latest.is_high:
                latest.series.show(0.0, False)

    def _log(self, found: FeatureCount, share: float, is_high: bool) -> None:
        told = unknown_values.describe_share(
            share, found.owner, found.feature, self._declared.max_share, values="latest values"
        )
        if is_high:
            _LOGGER.warning("Version %d: %s: %s", self._version, told, unknown_values.SEND_OTHERS)
        else:
            _LOGGER.info("Version %d: only %s. That is over.", self._version, told)


class _Latest:
    """The latest values of one feature.

    Attributes:
        series: Shown to Prometheus; None without metrics.
        share: Of unknown ones.
        is_high: Whether it is above its limit.
    """

    def __init__(self, owner: str, feature: str, metrics: Metrics | None):
        self.series = None if metrics is None else metrics.features.series(owner, feature)
        self.share, self.is_high = 0.0, False
        self._known, self._unknown = 0.0, 0.0

    def add(self, known: int, unknown: int, max_share: float) -> bool:
        """Adds values; whether the share has crossed its limit."""
        self._known += known
        self._unknown += unknown
        total = self._known + self._unknown
        self.share = self._unknown / total
        was_high = self.is_high
        if total >= _ENOUGH:
            self.is_high = self.share > max_share
        if total > _MOST:
            self._known, self._unknown = self._known / 2, self._unknown / 2
        return self.is_high != was_high
