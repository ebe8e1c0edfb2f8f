"""Conditions over an evaluation report, for example `test.ndcg@10 > 0.04`."""

import operator
import re
from collections.abc import Callable
from typing import NamedTuple

METRIC_NAMES = (
    "recall",
    "ndcg",
    "mrr",
    "hit_rate",
    "debiased_hit_rate",
    "coverage",
    "aggregated_diversity",
    "gini",
    "popularity_percentile",
    "category_diversity",
)
"""Metrics of a report, each followed by `@k`."""

EXTRA_BASELINES = ("item_knn", "ease")
"""Baselines that a report has where `evaluation.extra_baselines` names them."""

SECTIONS = (
    "validation",
    "test",
    *(f"baselines.{name}" for name in ("popularity", "bigram", *EXTRA_BASELINES)),
)
"""Parts of a report that hold metrics. The index has a gate of its own."""

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_THRESHOLD = re.compile(r"\s*([^\s<>=]+)\s*(>=|<=|>|<)\s*([^\s<>=]+)\s*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_KEY = re.compile(rf"({'|'.join(map(re.escape, SECTIONS))})\.({'|'.join(METRIC_NAMES)})@[1-9]\d*")


class Threshold(NamedTuple):
    """One condition.

    Attributes:
        text: As the user wrote it.
        key: Path of a metric in the report.
        operator: `>`, `>=`, `<` or `<=`.
        bound: A number, or the path of another metric.
    """

    text: str
    key: str
    operator: str
    bound: str | float

    @property
    def cut_offs(self) -> set[int]:
        """The k of every metric it names."""
        keys = [self.key] + [self.bound] * isinstance(self.bound, str)
        return {int(key.rpartition("@")[2]) for key in keys}

    def holds(self, value: float, bound: float) -> bool:
        """Whether the condition is true of these values."""
        return _OPERATORS[self.operator](value, bound)


def parse_threshold(text: str) -> Threshold:
    """Reads `<metric> <operator> <metric or number>`.

    >>> parse_threshold("test.ndcg@10 >= 0.04").bound
    0.04

    Raises:
        ValueError: The text has another form or names no metric of a report.
    """
    match = _THRESHOLD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not of the form metric > number (or >=, <, <=)")
    key, sign, bound = match.groups()
    if not _KEY.fullmatch(key):
        raise ValueError(_no_metric(text, key))
    if _KEY.fullmatch(bound):
        return Threshold(text, key, sign, bound)
    if not _NUMBER.fullmatch(bound):
        raise ValueError(_no_metric(text, bound))
    return Threshold(text, key, sign, float(bound))


def _no_metric(text: str, word: str) -> str:
    return (
        f"{word!r} in {text!r} is no metric; write {', '.join(SECTIONS[:-1])} or {SECTIONS[-1]}, "
        f"then one of .{', .'.join(METRIC_NAMES)}, then @k"
    )
