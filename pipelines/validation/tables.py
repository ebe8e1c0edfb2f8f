"""A validation as rows of texts, for the terminal and the report. Imports no TensorFlow."""

from collections.abc import Mapping
from typing import Any

from pipelines.validation import measures

MEANINGS = {
    "bad_rows": "share of the rows that could not be read",
    "duplicates": "share of the events that repeat another one",
    "missing_days": "days without an event",
    "cold_targets": "share of the test's clicks on items that training never saw",
    "new_items": "share of the items that are new",
    "gone_items": "share of the earlier items that are gone",
    "unknown_clicks": "share of the clicks on new items",
    "popularity_jensen_shannon": "shift of the clicks by item, Jensen-Shannon",
    "popularity_l_infinity": "largest change of an item's share of the clicks",
    "length_jensen_shannon": "shift of the clicks of a user, Jensen-Shannon",
    "event_loss": "share of the earlier events that the log has less",
    "new_days": "days with events after the last earlier one",
}
"""Measure -> what it says, in their order."""


def rows(result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Name, value, limit and outcome of every measure.

    Args:
        result: Content of validation.json.
    """
    return [
        (
            check["name"],
            measures.show_measure(check["value"]),
            _limit(check),
            "" if check["limit"] is None else "holds" if check["holds"] else "broken",
        )
        for check in result["checks"]
    ]


def show_gaps(gaps: Mapping[str, Any] | None) -> str:
    """The days that are missing, as far as they are named; "" where none is.

    >>> named = [["2024-03-04", "2024-03-09"], ["2024-02-01", "2024-02-01"]]
    >>> show_gaps({"number": 7, "longest": named})
    '2024-03-04 to 2024-03-09, 2024-02-01 and 5 more gaps'
    """
    if not gaps or not gaps["number"]:
        return ""
    named = [first if first == last else f"{first} to {last}" for first, last in gaps["longest"]]
    more = gaps["number"] - len(named)
    rest = f" and {more:,} more gap{'s' * (more > 1)}" if more else ""
    return ", ".join(named) + rest


def as_text(result: Mapping[str, Any]) -> str:
    """The measures as columns, and the days that are missing."""
    table = [("measure", "value", "limit", ""), *rows(result)]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {limit:<{widths[2]}}  {outcome}".rstrip()
        for name, value, limit, outcome in table
    ]
    missing = show_gaps(result["gaps"])
    return "\n".join([*lines, f"missing days: {missing}"] if missing else lines)


def _limit(check: Mapping[str, Any]) -> str:
    if check["limit"] is None:
        return ""
    kind, bound = check["limit"]
    return f"at {'most' if kind == 'max' else 'least'} {bound:g}"
