"""Scores of some items changed: which rows, and in what order of groups they are searched.

Imports no TensorFlow. Items whose scores change alike form a group. A boost keeps the order
of the items of a group, so the best of each group, put together, hold the best of all.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from serving.index.row_sets import as_set, contains, without


class BoostedRows(NamedTuple):
    """What one boost of a request says.

    Attributes:
        rows: `[n]` int64, ascending.
        multiply: Factor of their scores, > 0.
        add: What is added then.
    """

    rows: np.ndarray
    multiply: float
    add: float


class BoostGroup(NamedTuple):
    """Rows whose scores change alike.

    Attributes:
        rows: `[n]` int64, ascending, rows that may be in the answer; None for all that are
            in no other group.
        num_rows: How many these are.
        multiply: Factor of a score, > 0.
        add: What is added to it then.
    """

    rows: np.ndarray | None
    num_rows: int
    multiply: np.float32
    add: np.float32

    def boost(self, scores: np.ndarray) -> np.ndarray:
        """`[n]` float32, scores as they count."""
        return scores * self.multiply + self.add


class BoostGroups:
    """The groups of one request; the last one has no boost."""

    def __init__(self, groups: Sequence[BoostGroup], boosted: np.ndarray):
        """Takes what `build` has found; `boosted` are the rows of all groups but the last."""
        self.groups = tuple(groups)
        self._boosted = boosted

    @classmethod
    def build(
        cls,
        boosts: Sequence[BoostedRows],
        keep: Callable[[np.ndarray], np.ndarray],
        num_allowed: int,
    ) -> "BoostGroups":
        """Sorts the rows that may be in an answer into groups.

        Args:
            boosts: Of a request; those of one item are multiplied, and added up.
            keep: Rows -> `[n]` bool, whether they may be in the answer.
            num_allowed: How many rows may be.
        """
        found = [boost.rows[keep(boost.rows)] for boost in boosts]
        boosted = as_set(np.concatenate(found))
        codes = np.zeros(len(boosted), np.int64)  # Bit i: whether boost i is for the row.
        for place, rows in enumerate(found):
            codes[np.searchsorted(boosted, rows)] |= 1 << place
        groups = []
        for code in np.flatnonzero(np.bincount(codes)).tolist():
            rows = boosted[codes == code]
            own = [boost for place, boost in enumerate(boosts) if code >> place & 1]
            multiply = np.float32(math.prod(boost.multiply for boost in own))
            add = np.float32(sum(boost.add for boost in own))
            groups.append(BoostGroup(rows, len(rows), multiply, add))
        others = num_allowed - len(boosted)
        groups.append(BoostGroup(None, others, np.float32(1), np.float32(0)))
        return cls(groups, boosted)

    def members(self, group: BoostGroup, rows: np.ndarray) -> np.ndarray:
        """`[n]` bool, which of some rows that may be in the answer are of a group."""
        if group.rows is None:
            return ~contains(self._boosted, rows)
        return contains(group.rows, rows)

    def rows_among(self, group: BoostGroup, rows: np.ndarray) -> np.ndarray:
        """Those of some ascending rows that are of a group."""
        if group.rows is None:
            return without(rows, self._boosted)
        return group.rows[contains(rows, group.rows)]
