"""Which items have which categories, both ways round, as arrays.

Imports no TensorFlow. Made once per bundle; a filter on a category is then a
slice of an array.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recall.categories import is_common
from serving.index.catalogue import CategoryPairs
from serving.index.row_sets import as_set

_SPARSE_SHARE = 64
"""Rows are merged by sorting where they are fewer than one in this many of all."""


class CategoryIndex:
    """Categories of rows 0 to `num_rows` - 1; immutable.

    Attributes:
        names: Category names, the position of a name is its code.
        num_rows: Rows covered.
    """

    def __init__(self, names: Sequence[str], rows: np.ndarray, codes: np.ndarray, num_rows: int):
        """Creates an index.

        Args:
            names: Distinct category names.
            rows: `[num_pairs]` row of every (row, category) pair, in any order.
            codes: `[num_pairs]` the pair's category as a position in `names`.
            num_rows: More than the largest row.
        """
        self.names = tuple(names)
        self.num_rows = num_rows
        self._code_of = {name: code for code, name in enumerate(self.names)}
        width = max(len(self.names), 1)
        pairs = as_set(np.asarray(rows, np.int64) * width + np.asarray(codes, np.int64))
        pair_rows, self._codes = np.divmod(pairs, width)
        self._starts = np.searchsorted(pair_rows, np.arange(num_rows + 1))
        by_code = np.argsort(self._codes, kind="stable")
        self._rows = pair_rows[by_code]
        self._code_starts = np.searchsorted(self._codes[by_code], np.arange(width + 1))

    @classmethod
    def from_column(cls, column: pa.ChunkedArray) -> "CategoryIndex":
        """The index of a column of lists of names, one list per row."""
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        encoded = pc.list_flatten(column).combine_chunks().dictionary_encode()
        rows = np.repeat(np.arange(len(column)), lengths)
        return cls(
            encoded.dictionary.to_pylist(),
            rows,
            encoded.indices.to_numpy(zero_copy_only=False),
            len(column),
        )

    def common_names(self) -> tuple[str, ...]:
        """Names of the categories that nearly all rows with categories have.

        >>> index = CategoryIndex(["a", "b"], np.array([2, 0, 2]), np.array([0, 0, 1]), 3)
        >>> index.common_names()
        ('a',)
        """
        if not self.names:
            return ()
        num_categorised = np.count_nonzero(np.diff(self._starts))
        mask = is_common(np.diff(self._code_starts), num_categorised)
        return tuple(sorted(self.names[code] for code in np.flatnonzero(mask).tolist()))

    def category_codes(self, names: Sequence[str]) -> np.ndarray:
        """`[n]` int64, codes of those names that are categories."""
        known = [self._code_of[name] for name in names if name in self._code_of]
        return np.array(known, dtype=np.int64)

    def rows_in(self, codes: np.ndarray) -> np.ndarray:
        """`[n]` int64, rows with at least one of the categories, ascending, each once.

        >>> index = CategoryIndex(["a", "b"], np.array([2, 0, 2]), np.array([0, 0, 1]), 3)
        >>> index.rows_in(np.array([0])).tolist(), index.rows_in(np.array([1, 0])).tolist()
        ([0, 2], [0, 2])
        """
        slices = [
            self._rows[self._code_starts[code] : self._code_starts[code + 1]]
            for code in set(codes.tolist())
        ]
        if len(slices) == 1:
            return slices[0]
        if sum(map(len, slices)) * _SPARSE_SHARE < self.num_rows:
            return as_set(np.concatenate([np.empty(0, np.int64), *slices]))
        present = np.zeros(self.num_rows, dtype=np.bool_)
        for rows in slices:
            present[rows] = True
        return np.flatnonzero(present)

    def categories_of(self, rows: np.ndarray) -> CategoryPairs:
        """The categories of rows, in the order of the rows.

        >>> index = CategoryIndex(["a", "b"], np.array([2, 0, 2]), np.array([0, 0, 1]), 3)
        >>> [column.tolist() for column in index.categories_of(np.array([2, 1, 0]))]
        [[0, 0, 2], [0, 1, 0]]
        """
        starts, counts = self._starts[rows], self._starts[rows + 1] - self._starts[rows]
        positions = np.repeat(np.arange(len(rows)), counts)
        offsets = np.arange(len(positions)) - np.repeat(np.cumsum(counts) - counts, counts)
        return CategoryPairs(positions, self._codes[np.repeat(starts, counts) + offsets])
