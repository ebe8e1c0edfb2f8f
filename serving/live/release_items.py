"""The items of a release as they were published, whatever changed since.

Imports no TensorFlow.
"""

from collections.abc import Sequence

import numpy as np

from serving.index.attributes import ItemAttributes
from serving.index.bundle import IndexBundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.index.catalogue import NO_ROW
from serving.live.delta import DeltaItem
from serving.live.view import LiveView


class _SortedItems:
    """Ids and vectors of a release whose index made room for a base built since."""

    def __init__(self, bundle: IndexBundle):
        self._item_ids = bundle.item_ids
        self._item_vectors = bundle.item_vectors
        self._order = np.argsort(bundle.item_ids, kind="stable")

    def rows_of(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """See `CatalogueView`."""
        wanted = np.asarray(item_ids, dtype=np.bytes_)
        places = np.searchsorted(self._item_ids, wanted, sorter=self._order)
        rows = self._order[np.minimum(places, len(self._order) - 1)]
        return np.where(self._item_ids[rows] == wanted, rows, NO_ROW)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        return self._item_vectors[rows]


class ReleaseItems:
    """What a release says of its items.

    Attributes:
        attributes: Of its items, row by row.
    """

    def __init__(self, bundle: IndexBundle, items: BundleCatalogue | _SortedItems):
        """Takes the bundle of a release, and where its ids and vectors are found."""
        self.attributes = bundle.attributes or ItemAttributes.none()
        self._bundle = bundle
        self._items = items

    def without_index(self) -> "ReleaseItems":
        """The same, when the index of the release is no longer searched."""
        if isinstance(self._items, _SortedItems):
            return self
        return ReleaseItems(self._bundle, _SortedItems(self._bundle))

    def is_base_of(self, view: LiveView) -> bool:
        """Whether a view stands on the index of the release."""
        return view.base is self._items

    def rows_of(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """See `CatalogueView`."""
        return self._items.rows_of(item_ids)

    def item(self, row: int, item_id: bytes) -> DeltaItem:
        """One item as it was published; without vector and texts where the row is `NO_ROW`."""
        if row == NO_ROW:
            return DeltaItem(item_id, None, (), "")
        table = self._bundle.table
        return DeltaItem(
            item_id,
            self._items.vectors(np.array([row]))[0],
            tuple(table["categories"][row].as_py() or ()),
            table["title"][row].as_py() or "",
            self.attributes.values_of(row),
        )
