"""Why an item is in an answer: the clicked item that is nearest to it.

Imports no TensorFlow.
"""

import numpy as np

from serving.index.catalogue import NO_ROW, CatalogueView

_MAX_CLICKED = 200
"""Latest known clicks that are looked at: as many as the longest histories of models."""


def nearest_clicked(
    view: CatalogueView, item_rows: np.ndarray, clicked_rows: np.ndarray
) -> np.ndarray:
    """For every item of an answer the clicked one with the largest inner product with it.

    Args:
        view: The items.
        item_rows: `[n]` int64, rows of the answer.
        clicked_rows: `[m]` int64, rows of the history, oldest first, `NO_ROW` where an id
            is no item. The latest 200 that are items count.

    Returns:
        `[n]` int64, rows of clicked items, the later one among equals; `NO_ROW` where
        nothing was clicked.
    """
    clicked = clicked_rows[clicked_rows != NO_ROW][: -_MAX_CLICKED - 1 : -1]
    if not len(clicked) or not len(item_rows):
        return np.full(len(item_rows), NO_ROW, np.int64)
    scores = view.vectors(item_rows) @ view.vectors(clicked).T
    return clicked[np.argmax(scores, axis=1)]
