"""What a job did, in one line for people. Imports no TensorFlow."""

from collections.abc import Mapping

from pipelines.inference import value_counts


def recommend_line(counts: Mapping[str, int], *, skip_unknown: bool) -> str:
    """Of `recall recommend`.

    >>> counts = {"answered": 3, "fallback": 1, "items": 60, "known_ids": 9, "unknown_ids": 0}
    >>> recommend_line(counts, skip_unknown=False)
    '3 users, 20 items each; 1 user without a known item got popular items'
    >>> counts = {"answered": 0, "fallback": 2, "items": 0, "known_ids": 0, "unknown_ids": 0}
    >>> recommend_line(counts, skip_unknown=True)
    '0 users; 2 users without a known item left out'
    """
    notes = [_per_row(counts, "user")]
    notes += _user_notes(counts, "left out" if skip_unknown else "got popular items")
    if counts.get("empty"):
        notes.append(f"{_number(counts['empty'], 'user')} got nothing: no item passes the filters")
    return "; ".join(notes)


def embed_users_line(counts: Mapping[str, int], *, skip_unknown: bool) -> str:
    """Of `recall embed --events`."""
    vectors = "left out" if skip_unknown else "got the vectors of an empty history"
    return "; ".join([_number(counts["answered"], "user"), *_user_notes(counts, vectors)])


def similar_line(counts: Mapping[str, int]) -> str:
    """Of `recall similar`."""
    notes = [_per_row(counts, "item", "similar ones"), *_item_notes(counts)]
    if counts.get("empty"):
        notes.append(f"{_number(counts['empty'], 'item')} got nothing: no item passes the filters")
    return "; ".join(notes)


def embed_items_line(counts: Mapping[str, int]) -> str:
    """Of `recall embed --items`."""
    return "; ".join([_number(counts["answered"], "item"), *_item_notes(counts)])


def _per_row(counts: Mapping[str, int], row: str, items: str = "items") -> str:
    number = counts["answered"]
    if not number:
        return _number(number, row)
    mean = counts["items"] / number
    return f"{_number(number, row)}, {mean:.4g} {items} each"


def _user_notes(counts: Mapping[str, int], what: str) -> list[str]:
    notes = []
    if counts["fallback"]:
        notes.append(f"{_number(counts['fallback'], 'user')} without a known item {what}")
    if counts.get("without_events"):
        verb = "has" if counts["without_events"] == 1 else "have"
        notes.append(f"{counts['without_events']:,} of these {verb} no events in the log")
    if counts.get("empty_histories"):
        verb = "has" if counts["empty_histories"] == 1 else "have"
        notes.append(f"{counts['empty_histories']:,} of these {verb} an empty history")
    if counts["unknown_ids"]:
        of = f"{counts['unknown_ids']:,} of {counts['known_ids'] + counts['unknown_ids']:,} clicks"
        verb = "is" if counts["unknown_ids"] == 1 else "are"
        notes.append(f"{of} {verb} of no item of the release")
    if counts.get("bad_rows"):
        notes.append(f"{_number(counts['bad_rows'], 'bad row')} left out")
    return notes + _value_notes(counts)


def _value_notes(counts: Mapping[str, int]) -> list[str]:
    """Of features with values that no vocabulary has."""
    notes = []
    for owner, feature, known, unknown in value_counts.read(counts):
        if unknown:
            verb = "is" if unknown == 1 else "are"
            of = f"{unknown:,} of {_number(known + unknown, 'value')} of the {owner} feature"
            notes.append(f"{of} {feature} {verb} unknown to the model")
    return notes


def _item_notes(counts: Mapping[str, int]) -> list[str]:
    if not counts.get("unknown_items"):
        return []
    verb = "is no item" if counts["unknown_items"] == 1 else "are no items"
    return [f"{counts['unknown_items']:,} of the ids {verb} of the release"]


def _number(number: int, what: str) -> str:
    """`1 user`, `1,200 users`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
