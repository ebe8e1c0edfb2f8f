"""Values of features that callers give: counted, and a warning where many say nothing.

Imports no TensorFlow. The towers count in their graphs, feature by feature (`value_counts`);
those of releases of earlier versions count all features together.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.monitoring.metrics import Metrics

_LOGGER = logging.getLogger(__name__)

COUNTS_OUTPUT = "value_counts"
"""Of a tower: `[batch, num_features, 2]` values that it knows and does not, of each feature."""

_ALL = "all"
"""Stands for the features of a tower that does not tell them apart."""

_ENOUGH, _MOST = 100, 2000
"""Latest values of a feature before its share is looked at; and when half of them is forgotten."""

_DEFAULT_SHARE = 0.05
"""Of releases without a limit in their manifest."""


class FeatureValues:
    """Of one tower of one release; safe to use from several threads.

    Attributes:
        names: Features, in the order of the counts, and what stands for all of them.
        max_share: Share of the latest values outside of a vocabulary that asks for a warning.
    """

    def __init__(
        self, owner: str, manifest: Mapping[str, Any], version: int, metrics: Metrics | None = None
    ):
        """Begins to count.

        Args:
            owner: `item` or `user`.
            manifest: Of the tower.
            version: Of the release.
            metrics: Told of all values.
        """
        declared = manifest.get("features" if owner == "item" else "user_features", ())
        self.names: Sequence[str] = (*(column["name"] for column in declared), _ALL)
        self.max_share = manifest.get("max_unknown_share", _DEFAULT_SHARE)
        self._owner, self._version, self._metrics = owner, version, metrics
        self._lock = threading.Lock()
        self._latest = np.zeros((len(self.names), 2))
        self._is_high = np.zeros(len(self.names), np.bool_)

    def count(
        self, outputs: Mapping[str, np.ndarray], suffix: str = "", *, are_new: bool = True
    ) -> None:
        """Counts the values of one call.

        Args:
            outputs: Of the tower.
            suffix: Of the names `num_known` and `num_unknown` where the tower tells no features
                apart.
            are_new: Whether a caller gave them. Else another version, or an earlier process, has
                counted them: they count for the share that this version does not know alone.
        """
        counts = outputs.get(COUNTS_OUTPUT)
        if counts is not None:
            by_feature = counts.sum(axis=0, dtype=np.int64)
            for place in np.flatnonzero(by_feature.sum(axis=1)).tolist():
                self._add(place, by_feature[place], are_new=are_new)
            return
        totals = [outputs.get(f"{name}{suffix}") for name in ("num_known", "num_unknown")]
        if all(total is not None for total in totals) and np.any(totals):
            of_all = np.array([total.sum() for total in totals])
            self._add(len(self.names) - 1, of_all, are_new=are_new)

    def _add(self, place: int, known_and_unknown: np.ndarray, *, are_new: bool) -> None:
        with self._lock:
            latest = self._latest[place]
            latest += known_and_unknown
            total = latest.sum()
            share = latest[1] / total
            if total > _MOST:
                latest /= 2
            was_high = bool(self._is_high[place])
            is_high = share > self.max_share if total >= _ENOUGH else was_high
            self._is_high[place] = is_high
        name = self.names[place]
        if self._metrics is not None:
            if are_new:
                self._metrics.count_feature_values(self._owner, name, *known_and_unknown.tolist())
            self._metrics.show_unknown_share(self._owner, name, share, is_high)
        if is_high != was_high:
            self._log(name, share, is_high)

    def _log(self, name: str, share: float, is_high: bool) -> None:
        limit = f"limit features.max_unknown_share = {self.max_share:g}"
        if is_high:
            _LOGGER.warning(
                "Version %d: %.1f%% of the latest values of the %s feature %r are outside of the "
                "model's vocabulary (%s): they say nothing. Send values as in the file that it was "
                "trained with, or train with a newer one.",
                *(self._version, 100 * share, self._owner, name, limit),
            )
        else:
            _LOGGER.info(
                "Version %d: %.1f%% of the latest values of the %s feature %r are outside of the "
                "model's vocabulary again (%s).",
                *(self._version, 100 * share, self._owner, name, limit),
            )
