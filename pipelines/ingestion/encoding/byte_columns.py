"""Rows of bytes out of columns: constants, numbers, ranges of another array.

A row is its columns one after the other, and the result all rows. Pure functions
over numpy; imports no TensorFlow.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

_BITS = 7
_GOES_ON = 0x80


class Column(Protocol):
    """One part of every row."""

    def sizes(self) -> np.ndarray | int:
        """Bytes in each row, or in all of them."""

    def fill(self, out: np.ndarray, starts: np.ndarray) -> None:
        """Writes the part of each row from `starts` on."""


class Constant(NamedTuple):
    """The same bytes in every row."""

    data: bytes

    def sizes(self) -> int:
        """As `Column` says."""
        return len(self.data)

    def fill(self, out: np.ndarray, starts: np.ndarray) -> None:
        """As `Column` says."""
        for at, byte in enumerate(self.data):
            out[starts + at] = byte


class Fixed(NamedTuple):
    """Numbers of a fixed width, little-endian: `[n]` uint32 or uint64."""

    values: np.ndarray

    def sizes(self) -> int:
        """As `Column` says."""
        return self.values.itemsize

    def fill(self, out: np.ndarray, starts: np.ndarray) -> None:
        """As `Column` says."""
        width = self.values.itemsize
        data = np.ascontiguousarray(self.values.astype(f"<u{width}")).view(np.uint8)
        for at, byte in enumerate(data.reshape(-1, width).T):
            out[starts + at] = byte


class Varint(NamedTuple):
    """Numbers >= 0 as protocol buffers write them: `[n]` int64, 7 bits a byte."""

    values: np.ndarray

    def sizes(self) -> np.ndarray:
        """As `Column` says."""
        return varint_sizes(self.values)

    def fill(self, out: np.ndarray, starts: np.ndarray) -> None:
        """As `Column` says."""
        sizes, rest = self.sizes(), self.values
        rows, at = None, starts
        for step in range(int(sizes.max(initial=1))):
            if step:
                rows = np.flatnonzero(sizes > step)
                rest, at = self.values[rows] >> (_BITS * step), starts[rows] + step
            more = (sizes if rows is None else sizes[rows]) > step + 1
            out[at] = (rest & (_GOES_ON - 1)) | (more * _GOES_ON)


class Ranges(NamedTuple):
    """Ranges of bytes of one array."""

    data: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def sizes(self) -> np.ndarray:
        """As `Column` says."""
        return self.lengths

    def fill(self, out: np.ndarray, starts: np.ndarray) -> None:
        """As `Column` says."""
        ends = np.cumsum(self.lengths)
        total = int(ends[-1]) if len(ends) else 0
        within = np.arange(total, dtype=np.int64)
        before = ends - self.lengths
        source = np.repeat(self.starts - before, self.lengths)
        source += within
        target = np.repeat(starts - before, self.lengths)
        target += within
        out[target] = self.data[source]


def varint_sizes(values: np.ndarray) -> np.ndarray:
    """`[n]` bytes that numbers >= 0 take as varints.

    >>> varint_sizes(np.array([0, 127, 128, 1 << 21]))
    array([1, 1, 2, 4])
    """
    sizes, most = np.ones(len(values), np.int64), int(values.max(initial=0))
    for step in range(1, 10):
        if most < 1 << (_BITS * step):
            break
        sizes += values >= 1 << (_BITS * step)
    return sizes


def varints(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers >= 0 as varints one after the other.

    Returns:
        The bytes, and `[n + 1]` where each number begins.
    """
    column = Varint(np.asarray(values, np.int64))
    offsets = np.concatenate([[0], np.cumsum(column.sizes())])
    out = np.empty(int(offsets[-1]), np.uint8)
    column.fill(out, offsets[:-1])
    return out, offsets


class ByteRows(NamedTuple):
    """Rows of bytes in one array.

    Attributes:
        data: All of them.
        starts: `[num_rows + 1]` where each begins.
        column_starts: Where each column of each row begins, column by column.
    """

    data: np.ndarray
    starts: np.ndarray
    column_starts: list[np.ndarray]


def join_columns(columns: Sequence[Column], num_rows: int) -> ByteRows:
    """Lays out `num_rows` rows."""
    sizes = [column.sizes() for column in columns]
    lengths = np.zeros(num_rows, np.int64)
    for size in sizes:
        lengths += size
    starts = np.concatenate([[0], np.cumsum(lengths)])
    out = np.empty(int(starts[-1]), np.uint8)
    at, column_starts = starts[:-1].copy(), []
    for column, size in zip(columns, sizes, strict=True):
        column_starts.append(at.copy())
        column.fill(out, at)
        at += size
    return ByteRows(out, starts, column_starts)
