"""Paired bootstrap over users and seeds. Imports no TensorFlow.

The same users are drawn for all runs of a resample, and the same seeds for both recipes, so
that what makes a user hard, or a seed lucky, cancels in a difference.

Reference:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipelines.evaluation import intervals
from pipelines.evaluation.intervals import Interval
from recall.metrics.ranking import UserMetric

_SEED = 20_261_128
"""Of the draws of seeds; any fixed number serves."""

RunUsers = Mapping[str, UserMetric]
"""Metrics of the users of one run, by name."""


def describe(runs: Sequence[RunUsers], names: Sequence[str]) -> dict[str, Interval]:
    """Mean over the seeds of each metric, with its interval.

    Args:
        runs: One for each seed, of the same users.
        names: Metrics that all of them have.
    """
    return _bootstrap([_columns(run, names) for run in runs], names)


def compare(
    first: Sequence[RunUsers], second: Sequence[RunUsers], names: Sequence[str]
) -> dict[str, Interval]:
    """Mean over the seeds of each metric of `second` minus that of `first`, with its interval.

    Args:
        first: Runs of one recipe, one for each seed.
        second: Runs of another one, with the same seeds in the same order, of the same users.
        names: Metrics that all of them have.

    Raises:
        ValueError: The seeds do not match.
    """
    pairs = zip(first, second, strict=True)
    return _bootstrap([_columns(b, names) + _columns(a, names) for a, b in pairs], names)


def describe_ratios(runs: Sequence[tuple[RunUsers, RunUsers]], name: str) -> Interval:
    """How much of a metric is kept, with its interval: mean over the seeds of after / before.

    Args:
        runs: (before, after) of each seed, of the same users.
        name: The metric.
    """
    table = [[*_columns(after, [name]), *_columns(before, [name])] for before, after in runs]
    return _interval_of(table, lambda values: _ratios(values)[..., 0])


def compare_ratios(
    first: Sequence[tuple[RunUsers, RunUsers]],
    second: Sequence[tuple[RunUsers, RunUsers]],
    name: str,
) -> Interval:
    """How much more of a metric `second` keeps than `first`.

    Args:
        first: (before, after) of each seed, as in `describe_ratios`.
        second: The same of another recipe, with the same seeds.
        name: The metric.

    Returns:
        Mean over the seeds of the second ratio minus the first one, with its interval.
    """
    table = []
    for (before_1, after_1), (before_2, after_2) in zip(first, second, strict=True):
        users = (after_2, before_2, after_1, before_1)
        table.append([column for one in users for column in _columns(one, [name])])

    def differ(values: np.ndarray) -> np.ndarray:
        ratios = _ratios(values)
        return ratios[..., 0] - ratios[..., 1]

    return _interval_of(table, differ)


def _ratios(values: np.ndarray) -> np.ndarray:
    """`[..., 2 n]` after, before, after, before, ... -> `[..., n]`."""
    return intervals.divide_sums(values[..., ::2], values[..., 1::2])


def _columns(users: RunUsers, names: Sequence[str]) -> list[np.ndarray]:
    """Gains and weights of the metrics, one after the other."""
    return [column for name in names for column in users[name]]


def _bootstrap(table: list[list[np.ndarray]], names: Sequence[str]) -> dict[str, Interval]:
    """Intervals of metrics, or of differences where the rows hold two recipes."""
    found = {}
    for place, name in enumerate(names):
        columns = range(2 * place, len(table[0]), 2 * len(names))
        kept = [[row[c + i] for c in columns for i in (0, 1)] for row in table]
        found[name] = _interval_of(kept, _difference)
    return found


def _difference(values: np.ndarray) -> np.ndarray:
    return values[..., 0] - values[..., 1] if values.shape[-1] == 2 else values[..., 0]


def _interval_of(
    table: list[list[np.ndarray]], combine: Callable[[np.ndarray], np.ndarray]
) -> Interval:
    """The interval of a function of metrics, averaged over the seeds.

    Args:
        table: Of each seed gains and weights of its metrics, `[num_users]` each.
        combine: `[..., num_metrics]` -> `[...]`.
    """
    columns = np.stack([column for row in table for column in row], axis=1)
    sums = np.concatenate([columns.sum(axis=0)[None], intervals.resample_sums(columns)])
    sums = sums.reshape(len(sums), len(table), -1, 2)
    values = combine(intervals.divide_sums(sums[..., 0], sums[..., 1]))
    value, by_seed = values[0].mean(), values[1:]
    return intervals.interval_of(value, _draw_seeds(by_seed))


def _draw_seeds(by_seed: np.ndarray) -> np.ndarray:
    """`[resamples, num_seeds]` -> `[resamples]`, means over seeds drawn with replacement.

    Seeds are few, and a mean of n drawn from n varies less than one of n new ones, by
    (n - 1) / n: its distance from the mean of all is stretched by as much.
    """
    num_seeds = by_seed.shape[1]
    means = by_seed.mean(axis=1)
    if num_seeds == 1:
        return means
    draws = np.random.default_rng(_SEED).integers(num_seeds, size=by_seed.shape)
    drawn = np.take_along_axis(by_seed, draws, axis=1).mean(axis=1)
    return means + (drawn - means) * np.sqrt(num_seeds / (num_seeds - 1))
