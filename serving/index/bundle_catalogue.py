"""A bundle as a catalogue that never changes. Imports no TensorFlow."""

import itertools
from collections.abc import Sequence

import numpy as np

from serving.index.attributes import ItemAttributes
from serving.index.bundle import IndexBundle
from serving.index.catalogue import NO_ROW, CategoryPairs, ItemTexts
from serving.index.category_index import CategoryIndex
from serving.index.exact_index import ExactIndex
from serving.index.item_index import DEFAULT_PARAMETERS, SearchParameters, SearchResult
from serving.index.text_search import TextIndex, TextMatches, TextQuery


class BundleCatalogue:
    """See `catalogue.CatalogueView`; rows are those of the bundle, without gaps.

    Attributes:
        common_categories: Names of `common_codes`.
    """

    def __init__(self, bundle: IndexBundle, *, version: int = 0):
        """Prepares an opened bundle for requests.

        Args:
            bundle: The opened bundle.
            version: Reported in answers.
        """
        self.version = version
        self.fingerprint = bundle.fingerprint
        self.num_items = bundle.num_items
        self.dim = bundle.item_vectors.shape[1]
        # Plain views of the memory maps: numpy's own class of those is slow to index.
        self._item_ids = bundle.item_ids.view(np.ndarray)
        self._item_vectors = bundle.item_vectors.view(np.ndarray)
        self._index = bundle.index
        self._exact = (
            bundle.index
            if isinstance(bundle.index, ExactIndex)
            else ExactIndex(bundle.item_vectors)
        )
        self._row_of = dict(zip(bundle.item_ids.tolist(), range(self.num_items), strict=True))
        self._texts = bundle.table["title"], bundle.table["categories"]
        self._counts = bundle.table["count"]
        self._text_index = TextIndex(self._read_texts, self.num_items)
        self._categories = CategoryIndex.from_column(bundle.table["categories"])
        self.common_categories = self._categories.common_names()
        self.common_codes = self.category_codes(self.common_categories)
        self.attributes = (bundle.attributes or ItemAttributes.none()).prepare()
        fallback = self.rows_of([item_id.encode() for item_id in bundle.fallback])
        self.fallback_rows = fallback[fallback != NO_ROW]

    def view(self) -> "BundleCatalogue":
        """See `catalogue.Catalogue`."""
        return self

    def rows(self) -> np.ndarray:
        """See `CatalogueView`."""
        return np.arange(self.num_items)

    def rows_of(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """See `CatalogueView`."""
        rows = map(self._row_of.get, item_ids, itertools.repeat(NO_ROW))
        return np.fromiter(rows, np.int64, len(item_ids))

    def item_ids(self, rows: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        return self._item_ids[rows]

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        return self._item_vectors[rows]

    def category_codes(self, names: Sequence[str]) -> np.ndarray:
        """See `CatalogueView`."""
        return self._categories.category_codes(names)

    def rows_in(self, codes: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        return self._categories.rows_in(codes)

    def categories_of(self, rows: np.ndarray) -> CategoryPairs:
        """See `CatalogueView`."""
        return self._categories.categories_of(rows)

    def texts(self, rows: np.ndarray) -> ItemTexts:
        """See `CatalogueView`."""
        titles, categories = self._texts
        rows = np.asarray(rows).tolist()
        return ItemTexts(
            tuple(titles[row].as_py() or "" for row in rows),
            tuple(tuple(categories[row].as_py() or ()) for row in rows),
        )

    def click_counts(self, rows: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        return np.array([self._counts[row].as_py() for row in np.asarray(rows).tolist()], np.int64)

    def find_texts(
        self, query: TextQuery, k: int, deadline_s: float, left_out: np.ndarray | None = None
    ) -> TextMatches:
        """See `CatalogueView`."""
        return self._text_index.find(query, k, deadline_s=deadline_s, left_out=left_out)

    def _read_texts(self, start: int, end: int) -> tuple[list[str], list[str]]:
        """Titles and raw ids of neighbouring rows."""
        titles = self._texts[0].slice(start, end - start).to_pylist()
        item_ids = self._item_ids[start:end].tolist()
        return [title or "" for title in titles], [item_id.decode() for item_id in item_ids]

    def search(
        self, queries: np.ndarray, k: int, parameters: SearchParameters = DEFAULT_PARAMETERS
    ) -> SearchResult:
        """See `CatalogueView`."""
        return self._index.search(queries, min(k, self.num_items), parameters)

    def exact_search(
        self, queries: np.ndarray, k: int, rows: np.ndarray | None = None
    ) -> SearchResult:
        """See `CatalogueView`."""
        if rows is None:
            return self._exact.search(queries, min(k, self.num_items))
        if not len(rows):
            return SearchResult.nothing(len(queries))
        return self._exact.search_rows(queries, min(k, len(rows)), rows)
