"""Rows of items by raw id; rows of new items by hand."""

import numpy as np
import pytest

from pipelines.training import carried_rows
from pipelines.training.carried_rows import NEW
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.vocabulary import ItemVocabulary

# Rows 0 and 1 are padding and unknown ids; then a, b, c, d.
TABLE = np.array([[9, 9], [8, 8], [1, 0], [3, 4], [5, 2], [7, 10]], np.float32)
BEFORE = ItemVocabulary(["a", "b", "c", "d"], categories=[["hats"], ["hats", "red"], ["caps"], []])


def carry_and_fill(now):
    sources = carried_rows.match_items(BEFORE, now)
    table = carried_rows.carry(TABLE, sources)
    carried_rows.fill_new_items(table, sources, now)
    return table


def test_rows_follow_their_raw_ids_whatever_the_order():
    now = ItemVocabulary(["d", "b", "a"])  # c is gone.

    np.testing.assert_array_equal(carried_rows.match_items(BEFORE, now), [0, 1, 5, 3, 2])
    np.testing.assert_array_equal(carry_and_fill(now), [[9, 9], [8, 8], [7, 10], [3, 4], [1, 0]])


@pytest.mark.parametrize(
    ("categories", "row"),
    [
        (["hats"], [2, 2]),  # Of a and b.
        (["hats", "red"], [(2 + 3) / 2, (2 + 4) / 2]),  # The mean of (2, 2) and of b alone.
        (["red", "red"], [3, 4]),  # Named twice, counted once.
        (["hats", "gloves"], [2, 2]),  # Nothing is known of gloves.
        (["gloves"], [4, 4]),  # The mean of a, b, c and d.
        ([], [4, 4]),
    ],
)
def test_a_new_item_has_the_mean_row_of_its_categories(categories, row):
    now = ItemVocabulary(["new", *BEFORE.item_ids], categories=[categories, *BEFORE.categories])

    table = carry_and_fill(now)

    np.testing.assert_allclose(table[2], row)
    np.testing.assert_array_equal(table[3:], TABLE[2:])
    np.testing.assert_array_equal(table[:2], TABLE[:2])


def test_today_s_categories_count_and_new_items_do_not():
    now = ItemVocabulary(
        ["new", "a", "other", "b", "c", "d"],
        categories=[["caps"], ["caps"], ["caps"], [], [], ["hats"]],
    )

    # a has moved to caps, c has left them; `other` has no row of its own.
    np.testing.assert_allclose(carry_and_fill(now)[2], [1, 0])


def test_a_category_of_nearly_all_items_says_nothing():
    ids = [f"i{number}" for number in range(20)]
    table = np.arange(44, dtype=np.float32).reshape(22, 2)
    before = ItemVocabulary(ids, categories=[["root"]] * 19 + [["root", "hats"]])
    now = ItemVocabulary(["new", *ids], categories=[["root", "hats"], *before.categories])
    sources = carried_rows.match_items(before, now)
    carried = carried_rows.carry(table, sources)

    carried_rows.fill_new_items(carried, sources, now)

    np.testing.assert_array_equal(carried[2], table[21])


def test_means_are_the_same_however_many_rows_are_gathered_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    names = np.array(["u", "v", "w", "x", "y", "z"])
    ids = [f"i{number}" for number in range(300)]
    categories = [names[rng.random(6) < 0.3].tolist() for _ in ids]
    table = rng.normal(size=[202, 3]).astype(np.float32)
    now = ItemVocabulary(ids, categories=categories)
    sources = carried_rows.match_items(ItemVocabulary(ids[:200]), now)
    monkeypatch.setattr(carried_rows, "_PAIRS_AT_ONCE", 7)
    carried = carried_rows.carry(table, sources)

    carried_rows.fill_new_items(carried, sources, now)

    of_category = {
        name: table[2:][[name in mine for mine in categories[:200]]].mean(axis=0) for name in names
    }
    for row in range(200, 300):
        means = [of_category[name] for name in categories[row]] or [table[2:].mean(axis=0)]
        np.testing.assert_allclose(carried[row + 2], np.mean(means, axis=0), rtol=1e-5)


def test_a_catalogue_without_old_items_stays_as_it_is():
    assert not carry_and_fill(ItemVocabulary(["x", "y"]))[2:].any()


def test_values_of_features_follow_their_names_or_places():
    colours = FeatureColumn("colours", "item", "categorical", max_values=2)
    year = FeatureColumn("year", "item", "numeric", buckets=3)
    words = FeatureColumn("words", "item", "text", hash_buckets=2)
    price = FittedColumn(FeatureColumn("price", "item", "numeric"))
    before = [
        FittedColumn(colours, ("red", "blue")),
        price,
        FittedColumn(year, edges=(1.0,)),
        FittedColumn(words),
    ]
    now = [
        FittedColumn(colours, ("blue", "pink", "red")),
        price,
        FittedColumn(year, edges=(1.0, 2.0)),
        FittedColumn(words),
    ]
    # Before: 0 nothing, 1 others, 2 red, 3 blue, 4 and 5 years, 6 and 7 words.
    sources = carried_rows.match_values(before, now)
    assert sources.tolist() == [0, 1, 3, NEW, 2, 4, 5, NEW, 6, 7]


def test_new_values_begin_with_the_mean_of_those_that_are_carried():
    table = np.array([[0, 0], [1, 2], [3, 4], [5, 8]])  # No value, others, hats, red.
    carried = carried_rows.carry(table, sources := np.array([0, 1, NEW, 3]))
    carried_rows.fill_new_values(carried, sources)
    np.testing.assert_array_equal(carried, [[0, 0], [1, 2], [3, 5], [5, 8]])


def test_ids_are_those_of_today_and_the_gone_are_left_out():
    sources = carried_rows.match_items(BEFORE, ItemVocabulary(["new", "d", "a"]))

    # d, b, a, d, c
    carried = carried_rows.carry_ids(np.array([5, 3, 2, 5, 4]), sources)

    np.testing.assert_array_equal(carried, [3, 4, 3])
