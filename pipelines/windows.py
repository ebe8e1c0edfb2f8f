"""Vectorised cutting of sequences into training windows, grouped by length.

Pure functions over numpy; knows neither Beam nor TensorFlow and touches no
files.
"""

from typing import NamedTuple

import numpy as np

_SMALLEST_BUCKET = 4
"""Input slots of the shortest bucket: below it a batch costs as good as nothing."""


class Windows(NamedTuple):
    """Half-open ranges `starts[i]:stops[i]` of a flat array of events."""

    starts: np.ndarray
    stops: np.ndarray


def cut_windows(offsets: np.ndarray, max_history_length: int) -> Windows:
    """Cuts sequences into windows of at most `max_history_length` + 1 events.

    Windows are cut from the end, and neighbours share one event: every event
    but the first of a user is predicted exactly once, and only the earliest
    window of a user is shorter. Users with one event give no window.

    Args:
        offsets: `[num_users + 1]` of the flat array of events.
        max_history_length: Input slots of the model.

    >>> cut_windows(np.array([0, 6]), 3)
    Windows(starts=array([0, 2]), stops=array([3, 6]))
    """
    lengths = np.diff(offsets)
    num_windows = -(-np.maximum(lengths - 1, 0) // max_history_length)
    users = np.repeat(np.arange(len(lengths)), num_windows)
    from_end = np.cumsum(num_windows)[users] - 1 - np.arange(len(users))
    stops = offsets[1:][users] - from_end * max_history_length
    starts = np.maximum(offsets[:-1][users], stops - max_history_length - 1)
    return Windows(starts, stops)


def cut_bridges(offsets: np.ndarray, max_history_length: int) -> Windows:
    """Windows across the cuts between the windows of `cut_windows`.

    A model in service has always seen `max_history_length` events of such a user, but
    an event that follows a cut has few events before it in its window. A bridge reaches
    half a window to either side of the cut, so that these events are predicted once
    more, with a longer past (measured, table of trials in BUILD.md).

    Args:
        offsets: As in `cut_windows`.
        max_history_length: As in `cut_windows`.

    >>> cut_bridges(np.array([0, 10]), 4)
    Windows(starts=array([0, 3]), stops=array([4, 8]))
    """
    windows = cut_windows(offsets, max_history_length)
    # Neighbours of one user share an event, the last of the earlier one.
    is_cut = windows.starts[1:] == windows.stops[:-1] - 1
    firsts, cuts = windows.starts[:-1][is_cut], windows.starts[1:][is_cut]
    before = max_history_length // 2
    starts = np.maximum(firsts, cuts - before)
    return Windows(starts, cuts + max_history_length - before + 1)


def bucket_boundaries(max_history_length: int) -> tuple[int, ...]:
    """Upper bounds of the length buckets, in input slots.

    >>> bucket_boundaries(50)
    (4, 8, 16, 32, 50)
    """
    boundaries = []
    bound = _SMALLEST_BUCKET
    while bound < max_history_length:
        boundaries.append(bound)
        bound *= 2
    return (*boundaries, max_history_length)


def bucket_of(num_slots: np.ndarray, boundaries: tuple[int, ...]) -> np.ndarray:
    """The smallest boundary that holds each number of input slots."""
    return np.asarray(boundaries)[np.searchsorted(boundaries, num_slots)]
