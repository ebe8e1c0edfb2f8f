"""What a reader of a report must know beside its table, in words.

Imports no TensorFlow. A remark is a line; a report about which nothing is to
be said has none.
"""

from collections.abc import Mapping
from typing import Any

from recall.settings.evaluation import EvaluationConfig

FEW_USERS = 1000
"""Held-out users below which a metric is called uncertain: the standard error of an
NDCG@10 of .06 is then about .006, a tenth of it (measured on Amazon Beauty)."""

_RESTS = "Early stopping and evaluation.thresholds rest on them"

_SPLITS = ("validation", "test")

_NEGLIGIBLE = 0.01
"""Share of targets that cannot be hit which is not worth a line."""

_METRIC = "ndcg"
_CUT_OFF = 10
"""The metric that early stopping and the default thresholds look at."""

_BASELINES = {
    "popularity": "the most clicked items for everybody are as good",
    "bigram": "counting which item follows which is as good",
    "item_knn": "counting which items are clicked by the same people is as good",
    "ease": "a linear model of which items are clicked by the same people is as good",
}


def remarks(report: Mapping[str, Any]) -> list[str]:
    """Lines for the end of the table.

    Args:
        report: Content of evaluation/report.json.
    """
    return [
        *_no_better_than_baselines(report),
        *_targets_out_of_reach(report),
        *_categories_left_out(report),
        *_few_users(report),
    ]


def _no_better_than_baselines(report: Mapping[str, Any]) -> list[str]:
    key = _headline(report)
    value = report.get("test", {}).get(key)
    lines = []
    for name, reason in _BASELINES.items():
        bound = report.get("baselines", {}).get(name, {}).get(key)
        if value is not None and bound is not None and not value > bound:
            compared = "equal to" if value == bound else "below"
            whose = "The lists are" if report.get("is_of_lists") else "The model is"
            lines.append(
                f"{whose} {compared} the {name} baseline ({key} {value:.4f} against "
                f"{bound:.4f}): {reason} or better."
            )
    return lines


def _headline(report: Mapping[str, Any]) -> str:
    """NDCG@10, or at the measured cut-off that comes nearest to 10."""
    prefix = f"{_METRIC}@"
    measured = [int(n.removeprefix(prefix)) for n in report.get("test", {}) if n.startswith(prefix)]
    k = min(measured, key=lambda k: (abs(k - _CUT_OFF), k), default=_CUT_OFF)
    return f"{prefix}{k}"


def _targets_out_of_reach(report: Mapping[str, Any]) -> list[str]:
    """Targets no model can hit, so that a low number is not taken for a bad model."""
    test = report.get("test", {})
    total = test.get("num_positives", 0)
    excluded = report.get("protocol", {}).get("exclude_seen", False)
    lines = []
    for key, applies, reason in (
        (
            "num_seen_positives",
            excluded,
            "repeat an item of the history and cannot be hit while evaluation.exclude_seen is true",
        ),
        (
            "num_unknown_positives",
            True,
            "are items that the training part of the log does not have and cannot be hit",
        ),
    ):
        number = test.get(key, 0)
        if applies and total and number / total >= _NEGLIGIBLE:
            share = f"{100 * number / total:.0f} %"
            lines.append(f"{number} of {total} test targets ({share}) {reason}.")
    return lines


def _categories_left_out(report: Mapping[str, Any]) -> list[str]:
    names = report.get("protocol", {}).get("categories_left_out") or []
    if not names:
        return []
    shown = ", ".join(map(repr, names))
    return [
        f"Nearly all items have the category {shown}, which therefore counts neither in "
        "category_diversity nor, when served, for max_per_category and merge=diversity."
    ]


def _few_users(report: Mapping[str, Any]) -> list[str]:
    key, number_of = _headline(report), report.get("num_users", {})
    places = [(f"{name} users", report.get(name, {}), number_of.get(name)) for name in _SPLITS]
    of_kinds = report.get("kinds", {}).get("model", {})
    for kind in _judged_kinds(report):
        if kind in of_kinds:
            name = f"test users with events of the kind {kind}"
            places.append((name, of_kinds[kind], of_kinds[kind]["num_users"]))
    parts = []
    for name, section, num_users in places:
        error = section.get("standard_errors", {}).get(key)
        if num_users is None or error is None or num_users >= FEW_USERS:
            continue
        parts.append(f"{num_users} {name} ({key} {section[key]:.4f}, standard error {error:.4f})")
    if not parts:
        return []
    rests = "A" if report.get("is_of_lists") else f"{_RESTS}; a"
    return [
        f"Few users: {' and '.join(parts)}. {rests} difference of less than two standard errors "
        "may be chance."
    ]


def _judged_kinds(report: Mapping[str, Any]) -> list[str]:
    """The kinds of events that the conditions of the report name."""
    checks = report.get("blessing", {}).get("thresholds", ())
    return list(EvaluationConfig(thresholds=tuple(c["threshold"] for c in checks)).kinds)
