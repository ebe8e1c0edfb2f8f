"""Vectorised cutting of sequences into training windows, grouped by length.

Pure functions over numpy; knows neither Beam nor TensorFlow and touches no
files.
"""

from typing import NamedTuple

import numpy as np

SHORTEST = 2
"""Events of the shortest window: one to learn from and one to predict."""


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


def bucket_boundaries(max_history_length: int) -> tuple[int, ...]:
    """Upper bounds of the length buckets, in input slots.

    Two to an octave: slots of padding cost as much as others.

    >>> bucket_boundaries(50)
    (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 50)
    """
    powers = 2 ** np.arange(max_history_length.bit_length())
    bounds = np.unique([powers, powers * 3 // 2])
    return (*bounds[bounds < max_history_length].tolist(), max_history_length)


def bucket_of(num_slots: np.ndarray, boundaries: tuple[int, ...]) -> np.ndarray:
    """The smallest boundary that holds each number of input slots."""
    return np.asarray(boundaries)[np.searchsorted(boundaries, num_slots)]
