"""How often each number occurs: what scales and buckets are learnt from, added up and taken away.

Imports no TensorFlow.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.ingestion.encoding.shard_files import ShardFiles

MOST_NUMBERS = 1 << 20
"""Different ones that are told apart: where there are more, neighbours are counted as one."""

_STEP_BITS = 4
_DROPPED_BITS = b"dropped_bits"


class NumberCounts(NamedTuple):
    """Different numbers and how often each occurs.

    Attributes:
        numbers: `[n]` float32, ascending.
        counts: `[n]` int64, none of them 0.
        dropped_bits: Last bits of the numbers that are 0, because there were too many: with
            4 of them numbers are right to 1 in 2 million, with 8 to 1 in 30,000.
    """

    numbers: np.ndarray
    counts: np.ndarray
    dropped_bits: int = 0

    @classmethod
    def of(cls, values: np.ndarray) -> "NumberCounts":
        """Counts `[n]` float32 values; what is no number is left out.

        >>> NumberCounts.of(np.array([3, np.nan, 1, 3], np.float32))[:2]
        (array([1., 3.], dtype=float32), array([1, 2]))
        """
        return cls(*np.unique(values[np.isfinite(values)], return_counts=True))._bounded()

    def add(self, other: "NumberCounts", sign: int = 1) -> "NumberCounts":
        """These and others; the others taken away where `sign` is -1."""
        dropped = max(self.dropped_bits, other.dropped_bits)
        numbers = np.concatenate([self.numbers, other.numbers])
        counts = np.concatenate([self.counts, sign * other.counts])
        return _joined(_drop_bits(numbers, dropped), counts, dropped)._bounded()

    def _bounded(self) -> "NumberCounts":
        counted = self
        while len(counted.numbers) > MOST_NUMBERS:
            dropped = counted.dropped_bits + _STEP_BITS
            counted = _joined(_drop_bits(counted.numbers, dropped), counted.counts, dropped)
        return counted

    def write(self, files: ShardFiles, step: str, number: int) -> None:
        """Stores them as `step`, `number`."""
        batch = pa.RecordBatch.from_arrays(
            [pa.array(self.numbers), pa.array(self.counts)], names=["number", "count"]
        ).replace_schema_metadata({_DROPPED_BITS: str(self.dropped_bits)})
        files.write_batches(step, number, [batch])

    @classmethod
    def read(cls, files: ShardFiles, step: str, number: int) -> "NumberCounts":
        """Inverse of `write`."""
        batch = files.read_batch(step, number)
        columns = (batch[name].to_numpy() for name in ("number", "count"))
        return cls(*columns, int(batch.schema.metadata[_DROPPED_BITS]))


NO_NUMBERS = NumberCounts(np.zeros(0, np.float32), np.zeros(0, np.int64))


def _drop_bits(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Numbers nearer to zero, so that neighbours become one. Twice is as once with more bits."""
    return (numbers.view(np.int32) & np.int32(-(1 << bits))).view(np.float32)


def _joined(numbers: np.ndarray, counts: np.ndarray, dropped_bits: int) -> NumberCounts:
    """Numbers of which some are equal, each once."""
    distinct, places = np.unique(numbers, return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, places, counts)
    kept = total != 0
    return NumberCounts(distinct[kept], total[kept], dropped_bits)
