"""Items that were shown to a user before a click, and that she did not click.

Impressions stand in the log as events of their own. They are taken out of it before
anything is counted or held out, and come back as negatives of the click that follows.
Pure functions over numpy; knows neither Beam nor TensorFlow and touches no files.
"""

from typing import NamedTuple

import numpy as np

from pipelines.ingestion.events import ordering


class Impressions(NamedTuple):
    """What was shown before which event.

    Attributes:
        items: `[n]` int numbers of the items.
        next_rows: `[n]` int64, row in the log of the user's first event after each that is
            no impression.
    """

    items: np.ndarray
    next_rows: np.ndarray


class ShownItems(NamedTuple):
    """Impressions by the event that follows.

    Attributes:
        item_ids: `[n]` dense ids, in the order of the events.
        offsets: `[num_events + 1]`; before event e the user was shown
            `item_ids[offsets[e]:offsets[e + 1]]`.
    """

    item_ids: np.ndarray
    offsets: np.ndarray

    def of_users(self, offsets: np.ndarray) -> np.ndarray:
        """`[num_users]` how many there are, of users with events `offsets`, `[num_users + 1]`."""
        return np.diff(self.offsets[offsets])


def find_impressions(
    offsets: np.ndarray, items: np.ndarray, rows: np.ndarray, is_impression: np.ndarray
) -> Impressions:
    """The impressions of an ordered log that an event of the same user follows.

    Args:
        offsets: `[num_users + 1]`.
        items: `[num_events]` int.
        rows: `[num_events]` int64, rows of the log.
        is_impression: `[num_events]` bool.

    >>> find_impressions(np.array([0, 3]), np.array([7, 8, 9]), np.arange(3),
    ...                  np.array([True, False, True]))
    Impressions(items=array([7]), next_rows=array([1]))
    """
    events = np.flatnonzero(~is_impression)
    shown = np.flatnonzero(is_impression)
    after = np.searchsorted(events, shown)
    owners = np.searchsorted(offsets, shown, side="right") - 1
    following = np.append(events, offsets[-1])[after]
    has_event = following < offsets[owners + 1]
    return Impressions(items[shown[has_event]], rows[following[has_event]])


def attach(
    impressions: Impressions,
    offsets: np.ndarray,
    item_ids: np.ndarray,
    rows: np.ndarray,
    is_learnt: np.ndarray,
    dense_ids: np.ndarray,
    most: int,
) -> ShownItems:
    """The impressions that are negatives, by the event that follows.

    These are impressions before an event that is learnt, of items that the catalogue has
    and that the user clicks in no event that is learnt. Events that are held out say
    nothing here: an item that is among the targets is a negative like any other.

    Args:
        impressions: Those of the log.
        offsets: `[num_users + 1]` of the events that are left of it.
        item_ids: `[num_events]` their dense ids.
        rows: `[num_events]` int64 their rows of the log, each once.
        is_learnt: `[num_events]` bool.
        dense_ids: Number of an item -> dense id, 0 where the catalogue lacks it.
        most: Negatives before one event; the latest are kept.
    """
    by_row = np.argsort(rows)
    at = np.searchsorted(rows[by_row], impressions.next_rows)
    at = by_row[np.minimum(at, max(len(rows) - 1, 0))] if len(rows) else at
    is_left = at < len(rows)
    is_left[is_left] = rows[at[is_left]] == impressions.next_rows[is_left]
    events, items = at[is_left], impressions.items[is_left]
    shown_ids = np.append(dense_ids, 0)[np.minimum(items, len(dense_ids))]
    kept = is_learnt[events] & (shown_ids > 0)
    events, shown_ids = events[kept], shown_ids[kept]
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    stride = max(int(item_ids.max(initial=0)), int(shown_ids.max(initial=0))) + 1
    clicked = owners[is_learnt] * stride + item_ids[is_learnt]
    kept = ~np.isin(owners[events] * stride + shown_ids, clicked)
    events, shown_ids = events[kept], shown_ids[kept]
    order = ordering.order_by_code(events)
    events, shown_ids = events[order], shown_ids[order]
    kept = _latest_of_each(events, shown_ids, most)
    counts = np.bincount(events[kept], minlength=len(rows))
    return ShownItems(shown_ids[kept], np.concatenate([[0], np.cumsum(counts)]))


def _latest_of_each(events: np.ndarray, item_ids: np.ndarray, most: int) -> np.ndarray:
    """`[n]` bool: of the items before one event each once, and the latest `most` of them."""
    keys = events.astype(np.int64) * (int(item_ids.max(initial=0)) + 1) + item_ids
    _, last = np.unique(keys[::-1], return_index=True)
    kept = np.zeros(len(events), bool)
    kept[len(events) - 1 - last] = True
    number = np.cumsum(kept)
    last_of_event = np.searchsorted(events, events, side="right") - 1
    return kept & (number[last_of_event] - number < most)
