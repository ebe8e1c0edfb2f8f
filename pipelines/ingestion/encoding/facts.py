"""Adds and subtracts the facts that the steps of ingest leave. Imports no TensorFlow.

Facts are numbers by name; pairs of a value and how often it occurs; and a few
examples for people.
"""

from collections.abc import Mapping
from typing import Any

_SHOWN_ROWS = 3
_TALLIES = ("lengths", "days")
"""Pairs of a value and a number."""
_SPANS = "spans"
_LARGEST = "largest_user"


def add(one: Mapping[str, Any], other: Mapping[str, Any], sign: int = 1) -> dict[str, Any]:
    """`one` with `other` added, or taken away where `sign` is -1.

    What cannot be taken away stays: the examples, the largest user and the time span may then
    be of events that are gone.
    """
    total = dict(one)
    for name, value in other.items():
        total[name] = _add(name, total.get(name), value, sign)
    return total


def _add(name: str, known: Any, value: Any, sign: int) -> Any:
    if name in _TALLIES:
        counts = dict(known or [])
        for key, number in value:
            counts[key] = counts.get(key, 0) + sign * number
        return [[key, counts[key]] for key in sorted(counts) if counts[key]]
    if name == _LARGEST:
        found = [user for user in (known, value if sign > 0 else None) if user]
        return max(found, key=lambda user: (user["targets"], user["user_id"]), default=None)
    if name == _SPANS:
        return _join_spans(known or {}, value if sign > 0 else {})
    if isinstance(value, Mapping):
        return add(known or {}, value, sign)
    if isinstance(value, list):
        return ((known or []) + (value if sign > 0 else []))[:_SHOWN_ROWS]
    if isinstance(value, int | float):
        return (known or 0) + sign * value
    return known if known is not None else value


def _join_spans(one: Mapping[str, list], other: Mapping[str, list]) -> dict[str, list]:
    spans = dict(one)
    for part, (first, last) in other.items():
        known = spans.get(part, [first, last])
        spans[part] = [min(known[0], first), max(known[1], last)]
    return spans
