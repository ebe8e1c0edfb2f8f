"""A dozen users: what they clicked, what they are recalled, what came next.

Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.blocks import Block, Key, Missing, Section, ShownItem, UserCard
from pipelines.reporting.sections.run_folder import RunFolder


def build(run: RunFolder) -> Section:
    """The section with example users."""
    return Section(
        "users",
        "Example users",
        "Test users evenly spaced by the length of their histories, not picked by how well it "
        "went. The dot is the interest that found an item.",
        _blocks(run),
    )


def _blocks(run: RunFolder) -> list[Block]:
    if run.details is None:
        return [Missing(f"Example users: {run.EARLIER_EVALUATION}")]
    if run.vocabulary is None:
        return [Missing("Example users: the folder has no items to name (`examples`).")]
    return [_card(run, user) for user in run.details["users"]]


def _card(run: RunFolder, user: Mapping[str, Any]) -> UserCard:
    wanted = {row for row in user["positives"] if row >= 0}
    items = [_item(run, one["row"], one["interest"], wanted) for one in user["items"]]
    hits = sum(item.is_hit for item in items)
    by_interest = [
        (_key(number), [_item(run, row, number, wanted) for row in rows])
        for number, rows in enumerate(user["by_interest"])
    ]
    return UserCard(
        f"User {texts.short(user['user_id'], 30)}",
        f"{texts.counted(user['history_length'], 'click')}, {texts.counted(hits, 'hit')} in "
        f"{len(items)} items",
        _names(run, user["history"]),
        _names(run, user["positives"]),
        items,
        by_interest if len(by_interest) > 1 else [],
    )


def _key(number: int) -> Key:
    return Key(f"interest {number}", charts.interest_colour(number))


def _item(run: RunFolder, row: int, interest: int, wanted: set[int]) -> ShownItem:
    key = _key(interest)
    return ShownItem(run.item_name(row), key.colour, key.name, row in wanted)


def _names(run: RunFolder, rows: Sequence[int]) -> list[str]:
    return [run.item_name(row) if row >= 0 else "(an item unknown to the model)" for row in rows]
