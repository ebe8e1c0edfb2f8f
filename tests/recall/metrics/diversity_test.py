"""Diversity metrics, worked out by hand and against plain Python."""

import itertools
import tracemalloc

import numpy as np
import pytest

from recall.metrics import diversity


def compute(rows, counts, categories=None, ks=(2,)):
    return diversity.compute_diversity_metrics(
        np.array(rows), np.array(counts), categories or [()] * len(counts), ks
    )


def test_coverage_and_aggregated_diversity():
    metrics = compute([[0, 1], [0, 2], [0, -1]], [3, 2, 1, 0], ks=(1, 2))
    assert metrics["aggregated_diversity@1"] == 1
    assert metrics["coverage@1"] == 1 / 4
    assert metrics["aggregated_diversity@2"] == 3
    assert metrics["coverage@2"] == 3 / 4


def test_gini():
    # Exposure 3, 1, 1, 0. Mean difference over all 16 ordered pairs / (2 * mean).
    exposure = np.array([3, 1, 1, 0])
    expected = np.abs(exposure[:, None] - exposure).mean() / (2 * exposure.mean())
    assert compute([[0, 1], [0, 2], [0, -1]], [3, 2, 1, 0])["gini@2"] == pytest.approx(expected)
    assert diversity.compute_gini(np.array([2, 2, 2])) == pytest.approx(0)
    assert diversity.compute_gini(np.zeros(3)) == 0


def test_popularity_percentile():
    # Counts 9, 5, 5, 1: shares below (ties half) 3.5/4, 2/4, 2/4, 0.5/4.
    metrics = compute([[0, 3], [1, 2]], [9, 5, 5, 1], ks=(1, 2))
    assert metrics["popularity_percentile@1"] == pytest.approx((0.875 + 0.5) / 2)
    assert metrics["popularity_percentile@2"] == pytest.approx((0.875 + 0.125 + 0.5 + 0.5) / 4)


def test_the_whole_catalogue_has_percentile_one_half():
    counts = np.random.default_rng(0).integers(0, 5, 50)
    assert diversity.compute_popularity_percentiles(counts).mean() == pytest.approx(0.5)


def test_category_diversity_by_hand():
    categories = [("a",), ("a", "b"), ("b",), ()]
    # List 0, 1, 2: pairs 01 share a, 12 share b, 02 share nothing -> 1/3.
    # List 0, 3, 2: item 3 has no category, so only 02 is judged -> 1.
    # List 3, 0, empty: nothing to judge.
    rows = [[0, 1, 2], [0, 3, 2], [3, 0, -1]]
    metrics = compute(rows, [1] * 4, categories, ks=(2, 3))
    assert metrics["category_diversity@2"] == 0
    assert metrics["category_diversity@3"] == pytest.approx((1 / 3 + 1) / 2)


def test_category_diversity_is_absent_without_categories():
    assert not [name for name in compute([[0, 1]], [1, 1]) if "category" in name]
    metrics = compute([[0, 1]], [1, 1], [("a",), ("b",)], ks=(1, 2))
    assert "category_diversity@1" not in metrics, "a list of one item has no pair"
    assert metrics["category_diversity@2"] == 1


def test_a_category_of_every_item_does_not_count():
    # Lists 0 1 2 and 0 1 3: of the pairs only 0 and 1 share a colour.
    colours = [("red",), ("red", "blue"), ("green",), ("black",), *[(f"c{n}",) for n in range(6)]]
    rooted = [("root", *names) for names in colours]
    rows = [[0, 1, 2], [0, 1, 3]]
    assert compute(rows, [1] * 10, rooted, ks=(3,))["category_diversity@3"] == pytest.approx(2 / 3)
    assert compute(rows, [1] * 10, rooted, ks=(2,))["category_diversity@2"] == 0
    # On nine of ten items it does count: all pairs of the lists share it.
    nearly = [*rooted[:9], colours[9]]
    assert compute(rows, [1] * 10, nearly, ks=(3,))["category_diversity@3"] == 0


def test_items_whose_only_category_is_common_are_not_judged():
    categories = [("root",)] * 19 + [("root", "red"), ("root", "red"), ("root", "blue")]
    metrics = compute([[0, 19, 20, 21]], [1] * 22, categories, ks=(2, 4))
    assert "category_diversity@2" not in metrics
    assert metrics["category_diversity@4"] == pytest.approx(2 / 3)


def test_category_diversity_with_more_categories_than_bits_in_a_word():
    generator = np.random.default_rng(1)
    names = [f"c{i}" for i in range(150)]
    categories = [tuple(generator.choice(names, generator.integers(0, 12))) for _ in range(80)]
    rows = np.stack([generator.permutation(80)[:9] for _ in range(600)])
    expected = []
    for row in rows:
        pairs = [
            not set(categories[i]) & set(categories[j])
            for i, j in itertools.combinations(row, 2)
            if categories[i] and categories[j]
        ]
        if pairs:
            expected.append(np.mean(pairs))
    value = compute(rows, [1] * 80, categories, ks=(9,))["category_diversity@9"]
    assert value == pytest.approx(np.mean(expected))


def test_category_diversity_of_long_lists_needs_little_memory():
    rows = np.tile(np.arange(1000), (64, 1))
    categories = [("even",) if row % 2 == 0 else ("odd",) for row in range(1000)]
    tracemalloc.start()
    value = compute(rows, [1] * 1000, categories, ks=(1000,))["category_diversity@1000"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Of the 999 other items of a list 500 are of the other kind. At once it would be 600 MB.
    assert value == pytest.approx(500 / 999)
    assert peak < 50e6


@pytest.mark.parametrize("k", [0, 3])
def test_a_cut_off_out_of_range(k):
    with pytest.raises(ValueError, match=r"in \[1, 2\]"):
        compute([[0, 1]], [1, 1], ks=(k,))


def test_metrics_are_json_numbers():
    assert {type(value) for value in compute([[0, 1]], [1, 1]).values()} <= {int, float}
