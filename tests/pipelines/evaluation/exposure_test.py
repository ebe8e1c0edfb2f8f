"""Deciles of small catalogues; the counting is tested with the slices."""

import numpy as np

from pipelines.evaluation.exposure import popularity_deciles


def test_equal_counts_go_by_the_order_of_the_catalogue():
    assert popularity_deciles(np.zeros(10, int)).tolist() == list(range(10))


def test_few_items_leave_deciles_empty():
    assert popularity_deciles(np.array([3, 9])).tolist() == [5, 0]
