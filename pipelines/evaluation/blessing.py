"""The gate of a release: may this model be published?

Imports no TensorFlow.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recall.thresholds import MetricKey, Threshold, parse_threshold

BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"


def judge(report: Mapping[str, Any], thresholds: Sequence[str]) -> dict[str, Any]:
    """Checks every threshold against a report.

    A metric the report does not have (category diversity of a catalogue
    without categories, a kind of events that no test user has) fails: what was
    not measured is not blessed.

    Args:
        report: Sections `validation`, `test`, `baselines` and `kinds`.
        thresholds: Texts of `recall.thresholds`.

    Returns:
        `blessed` and, under `thresholds`, what was compared and the outcome; `missing` says why
        a number is missing.
    """
    checks = [_check(report, parse_threshold(text)) for text in thresholds]
    return {"blessed": all(check["passed"] for check in checks), "thresholds": checks}


def write_verdict(evaluation_dir: str | Path, blessed: bool) -> None:
    """Creates the empty file `BLESSED` or `NOT_BLESSED`."""
    (Path(evaluation_dir) / (BLESSED if blessed else NOT_BLESSED)).touch()


def describe_refusal(
    verdict: Mapping[str, Any], judges: str = "`recall run` or `recall evaluate`"
) -> str:
    """Which thresholds failed, with their values, and what to set to publish all the same.

    Args:
        verdict: Of `judge`; one that is not blessed.
        judges: The commands that may have judged it.
    """
    checks = verdict.get("thresholds", ())
    failed = [
        f"{check['threshold']} is not true ({show_sides(check)})"
        for check in checks
        if not check["passed"]
    ]
    held = json.dumps([check["threshold"] for check in checks if check["passed"]])
    switch = shlex.quote(f"--set=evaluation.thresholds={held}")
    return (
        f"{'; '.join(failed) or 'its report names no reason'}. To publish it all the same, give "
        f"the {judges} that judged it the switch {switch}"
    )


def show_sides(check: Mapping[str, Any]) -> str:
    """The two numbers a threshold compares, for example `0.0462 against 0.0467`."""
    if check.get("missing"):
        return check["missing"]
    sides = [check["value"], check["bound"]]
    return " against ".join("not measured" if side is None else f"{side:.4f}" for side in sides)


def _check(report: Mapping[str, Any], threshold: Threshold) -> dict[str, Any]:
    value, bound = (
        _look_up(report, side) if isinstance(side, MetricKey) else side
        for side in (threshold.key, threshold.bound)
    )
    measured = value is not None and bound is not None
    check = {
        "threshold": threshold.text,
        "value": value,
        "bound": bound,
        "passed": measured and threshold.holds(value, bound),
    }
    held_out = report.get("kinds", {}).get("model", {})
    absent = [key.kind for key in threshold.keys if key.kind not in (None, *held_out)]
    return check | {"missing": f"no test event is of the kind {absent[0]!r}"} if absent else check


def _look_up(report: Mapping[str, Any], key: MetricKey) -> float | None:
    """The value of a metric, None where there is none."""
    path = key.section.split(".")
    if key.kind is not None:
        path = ["kinds", "model" if key.section == "test" else path[-1], key.kind]
    node: Any = report
    for name in (*path, key.metric):
        if not isinstance(node, Mapping) or name not in node:
            return None
        node = node[name]
    return node
