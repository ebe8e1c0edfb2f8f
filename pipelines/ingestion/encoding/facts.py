"""Adds and subtracts the facts that the steps of ingest leave. Imports no TensorFlow.

Facts are numbers by name; pairs of a value and how often it occurs; a few examples for
people; and what is at the end of something: spans of times, the largest user. Where nothing
is left of an end it stays as a bound, and what has its place must be looked up.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

_SHOWN_ROWS = 3
_TALLIES = ("lengths", "days")
"""Pairs of a value and a number."""
_SPANS, _LARGEST = "spans", "largest_user"
_IS_GONE = "is_gone"


def add(one: Mapping[str, Any], other: Mapping[str, Any], sign: int = 1) -> dict[str, Any]:
    """`one` with `other` added, or taken away where `sign` is -1.

    Examples cannot be taken away: they may then be of events that are gone.
    """
    total = dict(one)
    for name, value in other.items():
        total[name] = _add(name, total.get(name), value, sign)
    return total


def has_lost_ends(facts: Mapping[str, Any]) -> bool:
    """Whether what is at the end of something was taken away, and nothing came further."""
    counts = [count for span in facts.get(_SPANS, {}).values() for count in _counted(span)[2:]]
    return min(counts, default=1) <= 0 or _IS_GONE in (facts.get(_LARGEST) or {})


def replace_ends(facts: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`facts` with the ends of some others, added up."""
    ends: dict[str, Any] = {_SPANS: {}, _LARGEST: None}
    for one in found:
        ends = add(ends, {name: one[name] for name in (_SPANS, _LARGEST) if name in one})
    return {**facts, **ends}


def _add(name: str, known: Any, value: Any, sign: int) -> Any:
    if name in _TALLIES:
        counts = dict(known or [])
        for key, number in value:
            counts[key] = counts.get(key, 0) + sign * number
        return [[key, counts[key]] for key in sorted(counts) if counts[key]]
    if name == _LARGEST:
        return _add_largest(known, value, sign)
    if name == _SPANS:
        return _add_spans(known or {}, value, sign)
    if isinstance(value, Mapping):
        return add(known or {}, value, sign)
    if isinstance(value, list):
        return _add_examples(known or [], value if sign > 0 else [])
    if isinstance(value, int | float):
        return (known or 0) + sign * value
    return known if known is not None else value


def _add_examples(known: list, added: list) -> list:
    """What is an example already is shown as it is now, and once."""
    examples = {_example_of(row): row for row in [*known, *added]}
    return sorted(examples.values(), key=_rank)[:_SHOWN_ROWS]


def _rank(row: Any) -> int:
    """Users who were capped are shown by how much they lost, all else as it comes."""
    return -row.get("history_only", 0) if isinstance(row, Mapping) else 0


def _example_of(row: Any) -> Hashable:
    if not isinstance(row, Mapping):
        return row
    return tuple(row.get(name) for name in ("user_id", "item_id", "timestamp"))


def _add_largest(known: Mapping | None, other: Mapping | None, sign: int) -> Mapping | None:
    if sign < 0:
        is_same = known and other and known["user_id"] == other["user_id"]
        return {**known, _IS_GONE: True} if is_same else known
    found = [user for user in (known, other) if user]
    return max(
        found,
        key=lambda user: (user["targets"], _IS_GONE not in user, user["user_id"]),
        default=None,
    )


def _add_spans(
    one: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]], sign: int
) -> dict[str, list[float]]:
    """Part -> first and last time, and how many events are at each."""
    spans = {part: _counted(span) for part, span in one.items()}
    for part, span in other.items():
        if part not in spans:
            spans[part] = list(span)
            continue
        known = spans[part]
        for end, direction in ((0, -1), (1, 1)):
            further = direction * (span[end] - known[end])
            if further == 0:
                known[2 + end] += sign * span[2 + end]
            elif further > 0 and sign > 0:
                known[end], known[2 + end] = span[end], span[2 + end]
    return spans


def _counted(span: Sequence[float]) -> list[float]:
    """A span with how many events are at its ends; states of earlier versions do not know."""
    return [*span, 0, 0][:4]
