"""What was shown before a click: by hand, and against loops over lists."""

import numpy as np
import pytest

from pipelines.ingestion.events import impressions
from pipelines.ingestion.events.impressions import Impressions


def attach(events, shown, most=20):
    """`events` are (user, item, row, is learnt), `shown` (item, row of the next event)."""
    users, items, rows, learnt = (np.array(column) for column in zip(*events, strict=True))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users))])
    found = impressions.attach(
        Impressions(*(np.array(column) for column in zip(*shown, strict=True))),
        offsets,
        items + 2,
        rows,
        learnt.astype(bool),
        np.arange(2, 12),  # Item i has the dense id i + 2; item 10 and later have none.
        most,
    )
    lists = np.split(found.item_ids - 2, found.offsets[1:-1])
    return [part.tolist() for part in lists]


def test_impressions_belong_to_the_next_event_of_their_user():
    # User 0: shown 5, click 1, shown 6, shown 7; user 1: shown 8, shown 9, click 2.
    items = np.array([5, 1, 6, 7, 8, 9, 2])
    is_impression = np.array([1, 0, 1, 1, 1, 1, 0], bool)
    found = impressions.find_impressions(
        np.array([0, 4, 7]), items, 10 + np.arange(7), is_impression
    )
    assert found.items.tolist() == [5, 8, 9]
    assert found.next_rows.tolist() == [11, 16, 16]


def test_only_learnt_events_and_items_of_the_catalogue():
    events = [(0, 1, 0, True), (0, 2, 3, True), (0, 3, 7, False), (1, 1, 9, True)]
    shown = [(5, 0), (6, 3), (10, 3), (6, 7), (7, 9), (8, 4)]  # Row 4 is gone.
    assert attach(events, shown) == [[5], [6], [], [7]]


def test_items_that_the_user_clicks_are_no_negatives_unless_held_out():
    events = [(0, 1, 0, True), (0, 2, 1, True), (0, 3, 2, False), (1, 2, 3, True)]
    # 1 and 2 are learnt clicks of user 0; 3 is her target, which training must not know of.
    shown = [(1, 1), (2, 0), (3, 1), (4, 1), (1, 3)]
    assert attach(events, shown) == [[], [3, 4], [], [1]]


def test_each_item_once_and_the_latest_ones():
    events = [(0, 1, 0, True), (0, 2, 1, True)]
    shown = [(5, 1), (6, 1), (5, 1), (7, 1), (8, 0)]
    assert attach(events, shown) == [[8], [6, 5, 7]]
    assert attach(events, shown, most=2) == [[8], [5, 7]]


@pytest.mark.parametrize("seed", range(3))
def test_random_logs(seed):
    rng = np.random.default_rng(seed)
    users = np.sort(rng.integers(0, 6, 200))
    items, is_impression = rng.integers(0, 9, 200), rng.random(200) < 0.6
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=6))])
    rows = rng.permutation(200)
    expected = []
    for at in range(200):
        after = [b for b in range(at + 1, offsets[users[at] + 1]) if not is_impression[b]]
        if is_impression[at] and after:
            expected.append((items[at], rows[after[0]]))
    found = impressions.find_impressions(offsets, items, rows, is_impression)
    assert list(zip(found.items, found.next_rows, strict=True)) == expected


def test_nothing_is_left():
    found = impressions.attach(
        Impressions(np.array([1]), np.array([4])),
        np.array([0]),
        np.array([], int),
        np.array([], int),
        np.array([], bool),
        np.array([2, 3]),
        20,
    )
    assert found.item_ids.tolist() == []
    assert found.offsets.tolist() == [0]
