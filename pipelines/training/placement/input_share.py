"""Which part of every batch a process reads. No TensorFlow."""

from typing import Any, NamedTuple


class InputShare(NamedTuple):
    """What a process reads: a part of every batch, or batches of its own.

    Attributes:
        num_replicas: Replicas that step together, each on a part of the batch.
        replicas: Numbers of those of this process.
        num_readers: Processes that do not step together, each with sequences of its own.
        reader: Number of this one, perhaps as a tensor.
    """

    num_replicas: int
    replicas: range
    num_readers: int = 1
    reader: Any = 0


WHOLE_INPUT = InputShare(1, range(1))
"""The share of a process that trains alone."""
