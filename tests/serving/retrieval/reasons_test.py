"""The clicked item that is nearest to each item of an answer."""

import numpy as np

from serving.index.catalogue import NO_ROW
from serving.retrieval.reasons import nearest_clicked

VECTORS = np.array([[1, 0], [0, 1], [0.8, 0.6], [-1, 0], [0.8, 0.6]], np.float32)


class View:
    def vectors(self, rows):
        return VECTORS[rows]


def nearest(items, clicked):
    return nearest_clicked(View(), np.array(items), np.array(clicked, np.int64)).tolist()


def test_nearest_by_inner_product():
    # Row 2 has .8 with row 0 and .6 with row 1; row 3 has -1 with row 0 and 0 with row 1.
    assert nearest([2, 3], [0, 1]) == [0, 1]


def test_of_equals_the_later_click():
    assert nearest([0], [2, 4, 1]) == [4]
    assert nearest([0], [4, 2, 1]) == [2]


def test_ids_of_no_item_are_passed_over():
    assert nearest([0, 1], [NO_ROW, 1, NO_ROW]) == [1, 1]
    assert nearest([0, 1], [NO_ROW]) == [NO_ROW, NO_ROW]
    assert nearest([], [0]) == []


def test_only_the_latest_clicks_count():
    assert nearest([0], [0] + [1] * 199) == [0]
    assert nearest([0], [0] + [1] * 200) == [1]
