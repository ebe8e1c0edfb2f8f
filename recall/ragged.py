"""Rows of different lengths in two flat arrays.

Imports no TensorFlow, reads no files.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from recall.vocabulary import PADDING_ID


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged:
    """Integer rows of different lengths.

    Attributes:
        values: `[num_values]` int64, the rows one after the other.
        offsets: `[num_rows + 1]` int64; row r is
            `values[offsets[r]:offsets[r + 1]]`.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self):
        offsets = self.offsets
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(self.values):
            raise ValueError("`offsets` must run from 0 to the number of values.")
        if (np.diff(offsets) < 0).any():
            raise ValueError("`offsets` must not fall.")

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[int]]) -> "Ragged":
        """Joins rows.

        >>> Ragged.from_rows([[5, 6], [], [7]]).offsets
        array([0, 2, 2, 3])
        """
        arrays = [np.asarray(row, np.int64) for row in rows]
        lengths = np.fromiter((len(a) for a in arrays), np.int64, len(arrays))
        values = np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """`[num_rows]` int64, values per row."""
        return np.diff(self.offsets)

    def row_numbers(self) -> np.ndarray:
        """`[num_values]` int64, the row each value belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def slice(self, start: int, stop: int) -> "Ragged":
        """Rows `start` to `stop` (exclusive, cut at the end) as a new `Ragged`."""
        offsets = self.offsets[start : min(stop, len(self)) + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: np.ndarray) -> "Ragged":
        """The given rows, in the given order, as a new `Ragged`.

        >>> Ragged.from_rows([[5, 6], [], [7]]).take(np.array([2, 0])).values
        array([7, 5, 6])
        """
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        source = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ragged(self.values[source], offsets)

    def last_padded(self, length: int) -> np.ndarray:
        """The last `length` values of each row, left-aligned, padded with 0.

        Args:
            length: Width of the answer, >= 1.

        Returns:
            `[num_rows, length]` int64.

        >>> Ragged.from_rows([[5, 6, 7], [8]]).last_padded(2)
        array([[6, 7],
               [8, 0]])
        """
        kept = np.minimum(self.lengths, length)
        slots = np.arange(length)
        real = slots < kept[:, None]
        padded = np.full((len(self), length), PADDING_ID, np.int64)
        padded[real] = self.values[(self.offsets[1:, None] - kept[:, None] + slots)[real]]
        return padded


@dataclasses.dataclass(frozen=True, eq=False)
class Histories(Ragged):
    """Histories of which more is known than items.

    Attributes:
        times: `[num_values]` int64 seconds, of each click; 0 where not known.
        next_times: `[num_values]` int64 seconds, of the click after it, of the last one of a
            row the request.
        user_rows: `[num_rows]` int64, row of each user in the users file, 0 for others.
        click_values: `[num_values, ...]` int32, features of each click: slots, and numbers as
            their bits (`pack_values`).
        request_values: `[num_rows, ...]` int32, those of each request.
    """

    times: np.ndarray
    next_times: np.ndarray
    user_rows: np.ndarray
    click_values: np.ndarray
    request_values: np.ndarray

    @classmethod
    def of(
        cls,
        histories: Ragged,
        times: np.ndarray | None = None,
        requests: np.ndarray | None = None,
        user_rows: np.ndarray | None = None,
        click_values: np.ndarray | None = None,
        request_values: np.ndarray | None = None,
    ) -> "Histories":
        """Histories with what is known of them.

        Args:
            histories: The items.
            times: `[num_values]` of their clicks.
            requests: `[num_rows]` when each was asked for.
            user_rows: `[num_rows]`.
            click_values: `[num_values, ...]`.
            request_values: `[num_rows, ...]`.

        >>> histories = Ragged.from_rows([[5, 6], [7]])
        >>> Histories.of(histories, np.array([1, 2, 3]), np.array([8, 9])).next_times
        array([2, 8, 9])
        """
        if times is None:
            times = next_times = np.zeros(len(histories.values), np.int64)
        else:
            next_times = np.append(times[1:], 0)
            is_filled = histories.lengths > 0
            next_times[histories.offsets[1:][is_filled] - 1] = requests[is_filled]
        if user_rows is None:
            user_rows = np.zeros(len(histories), np.int64)
        if click_values is None:
            click_values = np.zeros([len(histories.values), 0], np.int32)
        if request_values is None:
            request_values = np.zeros([len(histories), 0], np.int32)
        columns = (times, next_times, user_rows, click_values, request_values)
        return cls(histories.values, histories.offsets, *columns)

    def slice(self, start: int, stop: int) -> "Histories":
        """As `Ragged.slice`."""
        return self.take(np.arange(start, min(stop, len(self))))

    def take(self, rows: np.ndarray) -> "Histories":
        """As `Ragged.take`."""
        taken = super().take(rows)
        times, next_times, click_values = (
            Ragged(column, self.offsets).take(rows).values
            for column in (self.times, self.next_times, self.click_values)
        )
        of_rows = (self.user_rows[rows], click_values, self.request_values[rows])
        return Histories(taken.values, taken.offsets, times, next_times, *of_rows)

    def last_padded(self, length: int) -> np.ndarray:
        """The last `length` clicks of each row, left-aligned, padded with 0.

        Returns:
            `[num_rows, length, 4 + ...]` int64: ids, times, times of what came next, user rows,
            features of clicks, and of the request.
        """
        columns = (self.values, self.times, self.next_times)
        padded = [Ragged(column, self.offsets).last_padded(length) for column in columns]
        users = np.tile(self.user_rows[:, np.newaxis], [1, length])
        of_clicks = [
            Ragged(column, self.offsets).last_padded(length) for column in self.click_values.T
        ]
        of_requests = [
            np.tile(column[:, np.newaxis], [1, length]) for column in self.request_values.T
        ]
        return np.stack([*padded, users, *of_clicks, *of_requests], axis=2)


def pack_values(slots: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """`[n, num_slots]` and `[n, num_numbers]` float32 -> `[n, ...]` int32, all bits kept.

    >>> pack_values(np.array([[7]]), np.array([[1.0]], np.float32)).tolist()
    [[7, 1065353216]]
    """
    return np.concatenate([slots.astype(np.int32), numbers.view(np.int32)], axis=1)
