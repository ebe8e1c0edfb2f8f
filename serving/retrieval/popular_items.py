"""Items for a visitor nothing is known about. Imports no TensorFlow."""

import numpy as np

from serving.api.recall_request import FALLBACK_INTEREST
from serving.index.catalogue import CatalogueView
from serving.index.row_sets import without
from serving.retrieval.filters import ItemFilter
from serving.retrieval.merge import MergedItems, RankedLists
from serving.retrieval.selection import CappedSelection

_BLOCK = 4096
"""Items looked at between two removals of full categories."""


def popular_items(
    view: CatalogueView, k: int, item_filter: ItemFilter, max_per_category: int | None
) -> MergedItems:
    """The fallback list, then, where it is too short, the other items by row.

    Args:
        view: The items.
        k: Items wanted.
        item_filter: What the answer may hold.
        max_per_category: Most items of a category, None for no limit.

    Returns:
        At most `k` items of score 0, in order of popularity.
    """
    selection = CappedSelection(view, k, max_per_category=max_per_category)
    listed = view.fallback_rows
    selection.take_from(_ranked(listed), item_filter.keep(listed))
    if selection.is_full:
        return selection.items
    others = without(item_filter.allowed_rows(view), np.sort(listed))
    while len(others) and not selection.is_full:
        block = others[:_BLOCK]
        selection.take_from(_ranked(block), np.ones(len(block), dtype=np.bool_))
        others = without(others[_BLOCK:], selection.blocked_rows())
    return selection.items


def _ranked(rows: np.ndarray) -> RankedLists:
    """Rows in their order as the list of an interest that does not exist."""
    entries = MergedItems(
        rows,
        np.zeros(len(rows), dtype=np.float32),
        np.full(len(rows), FALLBACK_INTEREST, dtype=np.int32),
    )
    no_lists = np.empty(0, dtype=np.int64)
    return RankedLists(entries, no_lists, no_lists)
