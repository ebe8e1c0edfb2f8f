"""Bootstrap intervals of metrics over users, and of the distance between two rankers.

Imports no TensorFlow.

Reference:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentiles).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from recall.metrics.ranking import UserMetric

_RESAMPLES, _FEWEST, _DRAWS = 1000, 200, 20_000_000
"""A thousand are enough for the ends of a 95 % interval (Efron and Tibshirani, section 14.3);
fewer where that would be more draws of a user than the last number."""

_LOW, _HIGH = 2.5, 97.5
_SEED = 20_260_102
_WEIGHTS_AT_ONCE = 10_000_000
"""Drawn users held at once: 80 MB."""


class Interval(NamedTuple):
    """A metric and the 95 % interval that a bootstrap over users gives it."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is more than chance."""
        return self.low > 0 or self.high < 0


class Intervals(NamedTuple):
    """Intervals of several metrics of the same users.

    Attributes:
        metrics: By name.
        differences: Of the first metric minus each other one, with the same resamples.
    """

    metrics: dict[str, Interval]
    differences: dict[str, Interval]


def bootstrap(metrics: Mapping[str, UserMetric]) -> Intervals:
    """Draws users with replacement, the same ones for every metric.

    Args:
        metrics: Metrics of the same users; at least one metric and one user.
    """
    gains = np.stack([metric.gains for metric in metrics.values()], axis=1)
    weights = np.stack([metric.weights for metric in metrics.values()], axis=1)
    drawn = resample_sums(np.concatenate([gains, weights], axis=1))
    count = gains.shape[1]
    values = divide_sums(gains.sum(axis=0), weights.sum(axis=0))
    samples = divide_sums(drawn[:, :count], drawn[:, count:])
    names = list(metrics)
    return Intervals(
        {name: interval_of(values[i], samples[:, i]) for i, name in enumerate(names)},
        {
            name: interval_of(values[0] - values[i], samples[:, 0] - samples[:, i])
            for i, name in enumerate(names)
            if i
        },
    )


def resample_sums(values: np.ndarray) -> np.ndarray:
    """`[resamples, columns]` sums over users drawn with replacement."""
    rng = np.random.default_rng(_SEED)
    num_users = len(values)
    at_once = max(1, _WEIGHTS_AT_ONCE // num_users)
    number = int(np.clip(_DRAWS // num_users, _FEWEST, _RESAMPLES))
    parts = []
    for start in range(0, number, at_once):
        size = min(at_once, number - start)
        draws = rng.integers(num_users, size=(size, num_users))
        draws += num_users * np.arange(size)[:, None]
        times = np.bincount(draws.ravel(), minlength=size * num_users)
        parts.append(times.reshape(size, num_users) @ values)
    return np.concatenate(parts)


def interval_of(value: float, samples: np.ndarray) -> Interval:
    """A value with the middle 95 % of its resamples."""
    low, high = np.percentile(samples, [_LOW, _HIGH])
    return Interval(float(value), float(low), float(high))


def divide_sums(gains: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A resample without any weight (one that missed all users of it) counts as 0."""
    return np.divide(gains, weights, out=np.zeros_like(gains), where=weights > 0)
