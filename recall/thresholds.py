"""Conditions over an evaluation report: `test.ndcg@10 > 0.04`, `test.ndcg@10[buy] > 0.04`."""

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

OF_KINDS = ("recall", "ndcg", "mrr", "hit_rate")
"""Those that a report has of the test events of one kind too: `@k[kind]`."""

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
_SIDE = r"([^\s<>=\[\]]+(?:\[.+?\])?)"
"""A number, or a metric, perhaps with a kind of events, whose name may have any characters."""

_THRESHOLD = re.compile(rf"\s*{_SIDE}\s*(>=|<=|>|<)\s*{_SIDE}\s*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_KEY = re.compile(
    rf"(?P<section>{'|'.join(map(re.escape, SECTIONS))})"
    rf"\.(?P<metric>(?P<name>{'|'.join(METRIC_NAMES)})@(?P<k>[1-9]\d*))(?:\[(?P<kind>.+)\])?"
)


class MetricKey(NamedTuple):
    """A metric of a report.

    Attributes:
        section: One of `SECTIONS`.
        metric: Its name with the cut-off, for example `ndcg@10`.
        k: The cut-off.
        kind: Kind of the test events that are counted; None for all.
    """

    section: str
    metric: str
    k: int
    kind: str | None


class Threshold(NamedTuple):
    """One condition.

    Attributes:
        text: As the user wrote it.
        key: A metric of the report.
        operator: `>`, `>=`, `<` or `<=`.
        bound: A number, or another metric.
    """

    text: str
    key: MetricKey
    operator: str
    bound: MetricKey | float

    @property
    def keys(self) -> tuple[MetricKey, ...]:
        """Every metric it names."""
        return tuple(side for side in (self.key, self.bound) if isinstance(side, MetricKey))

    def holds(self, value: float, bound: float) -> bool:
        """Whether the condition is true of these values."""
        return _OPERATORS[self.operator](value, bound)


def parse_threshold(text: str) -> Threshold:
    """Reads `<metric> <operator> <metric or number>`.

    >>> parse_threshold("test.ndcg@10 >= 0.04").bound
    0.04
    >>> parse_threshold("test.ndcg@10[buy] >= 0.04").key.kind
    'buy'

    Raises:
        ValueError: The text has another form or names no metric of a report.
    """
    match = _THRESHOLD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not of the form metric > number (or >=, <, <=)")
    key, sign, bound = match.groups()
    if _NUMBER.fullmatch(bound):
        return Threshold(text, _parse_key(text, key), sign, float(bound))
    return Threshold(text, _parse_key(text, key), sign, _parse_key(text, bound))


def _parse_key(text: str, word: str) -> MetricKey:
    """The metric that a word of a threshold names.

    Raises:
        ValueError: It names none.
    """
    match = _KEY.fullmatch(word)
    if match is None:
        raise ValueError(
            f"{word!r} in {text!r} is no metric; write {', '.join(SECTIONS[:-1])} or "
            f"{SECTIONS[-1]}, then one of .{', .'.join(METRIC_NAMES)}, then @k"
        )
    if match["kind"] is not None and (
        match["section"] == "validation" or match["name"] not in OF_KINDS
    ):
        raise ValueError(
            f"{word!r} in {text!r} is not measured for one kind of events; {', '.join(OF_KINDS)} "
            "are, of test and of baselines"
        )
    return MetricKey(match["section"], match["metric"], int(match["k"]), match["kind"])
