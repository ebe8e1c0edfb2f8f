"""Numbers of many events, of which any range is a list of an example.

Pure functions over numpy; imports no TensorFlow.
"""

from typing import NamedTuple

import numpy as np

from pipelines.ingestion.encoding import byte_columns
from pipelines.ingestion.encoding.byte_columns import Ranges
from pipelines.ingestion.encoding.example_records import Feature

_FLOAT_BYTES = 4


class Numbers(NamedTuple):
    """Whole numbers as varints.

    Attributes:
        data: The bytes.
        offsets: `[n + 1]` where each number begins.
    """

    data: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Numbers":
        """The numbers `values`, `[n]`, >= 0."""
        return cls(*byte_columns.varints(values))

    def ranges(self, starts: np.ndarray, stops: np.ndarray) -> Feature:
        """The lists `values[start:stop]`."""
        begins = self.offsets[starts]
        return Feature(Ranges(self.data, begins, self.offsets[stops] - begins))


class Floats(NamedTuple):
    """Numbers as float32.

    Attributes:
        data: The bytes.
    """

    data: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Floats":
        """The numbers `values`, `[n]`."""
        return cls(np.ascontiguousarray(values.astype("<f4")).view(np.uint8))

    def ranges(self, starts: np.ndarray, stops: np.ndarray) -> Feature:
        """The lists `values[start:stop]`."""
        starts, stops = (_FLOAT_BYTES * np.asarray(at, np.int64) for at in (starts, stops))
        return Feature(Ranges(self.data, starts, stops - starts), is_float=True)
