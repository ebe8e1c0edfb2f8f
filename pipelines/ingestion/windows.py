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


def cut_windows(offsets: np.ndarray, max_history_length: int, stride: int | None = None) -> Windows:
    """Cuts sequences into windows of at most `max_history_length` + 1 events.

    Windows are cut from the end, and neighbours share one event: every event
    but the first of a user is predicted exactly once, and only the earliest
    window of a user is shorter. Users with one event give no window. With a stride
    below `max_history_length` the windows overlap by more, and begin that far apart.

    Args:
        offsets: `[num_users + 1]` of the flat array of events.
        max_history_length: Input slots of the model.
        stride: Events between the ends of two windows, at most `max_history_length`;
            None is that.

    >>> cut_windows(np.array([0, 6]), 3)
    Windows(starts=array([0, 2]), stops=array([3, 6]))
    >>> cut_windows(np.array([0, 6]), 3, stride=1)
    Windows(starts=array([0, 1, 2]), stops=array([4, 5, 6]))
    """
    stride = max_history_length if stride is None else min(stride, max_history_length)
    slots = np.maximum(np.diff(offsets) - 1, 0)
    num_windows = (slots > 0) + -(-np.maximum(slots - max_history_length, 0) // stride)
    users = np.repeat(np.arange(len(slots)), num_windows)
    from_end = np.cumsum(num_windows)[users] - 1 - np.arange(len(users))
    stops = offsets[1:][users] - from_end * stride
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
