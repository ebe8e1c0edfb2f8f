"""Which part of every batch a process reads. No TensorFlow."""

from typing import NamedTuple


class InputShare(NamedTuple):
    """The replicas that a process feeds: each trains on a part of every batch.

    Attributes:
        num_replicas: Replicas of the whole job.
        replicas: Numbers of those of this process.
    """

    num_replicas: int
    replicas: range


WHOLE_INPUT = InputShare(1, range(1))
"""The share of a process that trains alone."""
