"""Items of a live catalogue by what people type, and by their ids. Imports no TensorFlow."""

from collections.abc import Sequence

import numpy as np

from serving.api.item_search import FoundItem, FoundItems
from serving.index.catalogue import NO_ROW, CatalogueView
from serving.index.text_search import EXACT_ID, TextQuery
from serving.live.catalogue import LiveCatalogue


def search_items(catalogue: LiveCatalogue, query: str, k: int, deadline_s: float) -> FoundItems:
    """The best matches among the items of now; see `ItemFinder.search`.

    Args:
        catalogue: Of the version that is asked.
        query: Within the limits, as `k`.
        k: Most items.
        deadline_s: When to look no further, on the monotonic clock.
    """
    view = catalogue.view()
    exact = view.rows_of([query.strip().encode()])
    exact = exact[exact != NO_ROW]
    # One more, in the place of the exact one where that matches by its text too.
    found = view.find_texts(TextQuery.of(query), k + len(exact), deadline_s)
    others = ~np.isin(found.rows, exact)
    rows = np.concatenate([exact, found.rows[others]])[:k]
    ranks = [EXACT_ID] * len(exact) + found.ranks[others].tolist()
    return FoundItems(_describe(catalogue, view, rows), tuple(ranks[:k]), found.is_complete)


def look_up_items(catalogue: LiveCatalogue, item_ids: Sequence[str]) -> list[FoundItem]:
    """What is known of raw ids; see `ItemFinder.look_up`."""
    view = catalogue.view()
    rows = view.rows_of([item_id.encode() for item_id in item_ids])
    served = iter(_describe(catalogue, view, rows[rows != NO_ROW]))
    in_release = catalogue.in_release(item_ids).tolist()
    return [
        FoundItem(item_id, in_release=is_in_release) if row == NO_ROW else next(served)
        for item_id, row, is_in_release in zip(item_ids, rows.tolist(), in_release, strict=True)
    ]


def _describe(
    catalogue: LiveCatalogue, view: CatalogueView, rows: np.ndarray
) -> tuple[FoundItem, ...]:
    """What a view knows of its rows."""
    if not len(rows):
        return ()
    item_ids = [item_id.decode() for item_id in view.item_ids(rows).tolist()]
    counts = view.click_counts(rows).tolist()
    in_release = catalogue.in_release(item_ids).tolist()
    columns = zip(item_ids, *view.texts(rows), counts, in_release, strict=True)
    return tuple(FoundItem(*values, is_served=True) for values in columns)
