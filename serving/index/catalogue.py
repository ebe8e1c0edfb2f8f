"""The catalogue as one request sees it: the contract between recall and its items.

Imports no TensorFlow. The recall service takes one view per call and asks only
that one, so that a change of the items in between never mixes two catalogues.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from recall.feature_columns.attributes import ItemAttribute
from serving.index.item_index import SearchParameters, SearchResult
from serving.index.text_search import TextMatches, TextQuery

NO_ROW = -1
"""Row of an id that is no item of the view."""


class CategoryPairs(NamedTuple):
    """The categories of some rows, one pair per (row, category).

    Attributes:
        positions: `[num_pairs]` int64, ascending positions in the rows asked for.
        codes: `[num_pairs]` int64, category codes.
    """

    positions: np.ndarray
    codes: np.ndarray


class ItemTexts(NamedTuple):
    """What rows have for people to read.

    Attributes:
        titles: One per row, "" where there is none.
        categories: One tuple of names per row.
    """

    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]


class RowAttributes(Protocol):
    """Rows by what items are filtered on.

    Attributes:
        declared: Attributes by name.
    """

    declared: Mapping[str, ItemAttribute]

    def rows_with(self, name: str, values: Sequence[str | float]) -> np.ndarray:
        """`[n]` int64, rows with one of the values of an attribute, ascending, each once."""

    def names_of_nothing(self, name: str, values: Sequence[str]) -> list[str]:
        """Those of some values that no item has of an attribute of names, in their order."""

    def rows_between(self, name: str, least: float, most: float) -> np.ndarray:
        """`[n]` int64, rows with a number of an attribute in [least, most], ascending."""

    def unavailable_rows(self, now_s: float) -> np.ndarray:
        """`[n]` int64, rows that may be in no answer at a time (seconds since 1970), ascending."""


class CatalogueView(Protocol):
    """An immutable set of items; may be used from several threads.

    A row is the number of an item within one view. Rows are int64, not
    negative, below 2^32, lower for more popular items where popularity is
    known; they may have gaps. What a view returns are rows of its items only:
    never one that was deleted before the view was taken.

    Attributes:
        version: Version of the index, reported in answers.
        fingerprint: Embedding space of the vectors.
        dim: Size of a vector.
        num_items: Number of items; 0 is possible.
        fallback_rows: `[n]` int64, popular items, best first.
        common_codes: `[n]` int64, codes of the categories that nearly all items
            of the release have; they count for no limit and no diversity.
        attributes: What items can be filtered on beside their categories.
    """

    version: int
    fingerprint: str
    dim: int
    num_items: int
    fallback_rows: np.ndarray
    common_codes: np.ndarray
    attributes: RowAttributes

    def rows(self) -> np.ndarray:
        """`[num_items]` int64, all rows, ascending."""

    def rows_of(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """`[n]` int64, the row of every raw id (UTF-8), `NO_ROW` where there is none."""

    def item_ids(self, rows: np.ndarray) -> np.ndarray:
        """`[n]` raw ids (UTF-8) of rows, numpy dtype `S` (bytes of fixed width)."""

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """`[n, dim]` float32, the vectors of rows."""

    def category_codes(self, names: Sequence[str]) -> np.ndarray:
        """`[n]` int64, codes of those names that are categories; order and repeats are free."""

    def rows_in(self, codes: np.ndarray) -> np.ndarray:
        """`[n]` int64, rows that have at least one of the categories, ascending, each once."""

    def categories_of(self, rows: np.ndarray) -> CategoryPairs:
        """The categories of rows; a row without any has no pair."""

    def texts(self, rows: np.ndarray) -> ItemTexts:
        """Titles and categories of rows; microseconds each, so only for items of an answer."""

    def click_counts(self, rows: np.ndarray) -> np.ndarray:
        """`[n]` int64, clicks of rows in the log of the release; 0 where none are known."""

    def find_texts(
        self, query: TextQuery, k: int, deadline_s: float, left_out: np.ndarray | None = None
    ) -> TextMatches:
        """The rows that match best what somebody types; see `TextIndex.find`.

        Args:
            query: What was typed.
            k: Rows wanted.
            deadline_s: When to look no further, on the monotonic clock.
            left_out: Rows that may not be found, as a mask of all; None for none.
        """

    def search(self, queries: np.ndarray, k: int, parameters: SearchParameters) -> SearchResult:
        """Finds items with large inner products, as the index does it.

        Args:
            queries: `[num_queries, dim]` finite float32; may have no rows.
            k: Items wanted per query, >= 1; more than there are means all.
            parameters: How far to look.

        Returns:
            `SearchResult` of `num_queries` rows, best score first, ties to the
            lower row. A row may be shorter than `k`: then nothing is left
            that a search with these parameters finds.
        """

    def exact_search(
        self, queries: np.ndarray, k: int, rows: np.ndarray | None = None
    ) -> SearchResult:
        """Finds the items with the largest inner products among all, or among `rows`.

        Args:
            queries: `[num_queries, dim]` finite float32; may have no rows.
            k: Items wanted per query, >= 1; more than there are means all.
            rows: Rows to look at, ascending, each once; None means all.

        Returns:
            As `search`; every row holds `k` items, or all there are.
        """


def distinctive_categories(view: CatalogueView, rows: np.ndarray) -> CategoryPairs:
    """The categories of rows that tell items apart: all but the common ones."""
    pairs = view.categories_of(rows)
    if not len(view.common_codes):
        return pairs
    kept = ~np.isin(pairs.codes, view.common_codes)
    return CategoryPairs(pairs.positions[kept], pairs.codes[kept])


class Catalogue(Protocol):
    """Items that may change over time, for example while they are served."""

    def view(self) -> CatalogueView:
        """The items as they are now; cheap, called once per request."""
