"""Categories that tell nothing apart, counted by hand."""

import numpy as np
import pytest

from recall.categories import common_categories, is_common


@pytest.mark.parametrize(
    ("with_root", "categorised", "common"),
    [
        (91, 100, True),
        (90, 100, False),  # nine in ten is not more than nine in ten
        (10, 10, True),
        (9, 10, False),
        (1, 1, True),
        (0, 0, False),
    ],
)
def test_more_than_nine_in_ten_of_the_items_that_have_categories(with_root, categorised, common):
    assert is_common(np.array([with_root]), categorised).tolist() == [common]
    items = [("root", f"own{n}") for n in range(with_root)]
    items += [(f"own{n}",) for n in range(with_root, categorised)]
    # Items without categories have no say.
    found = common_categories([*items, *[()] * 50])
    assert ("root" in found) is common


def test_several_and_an_item_that_repeats_one():
    items = [("b", "a", "a", f"x{n}") for n in range(20)] + [("a", "x0"), ("x1",)]
    # a: 21 of 22, b: 20 of 22, both more than .9; repeated names count once.
    assert common_categories(items) == ("a", "b")
    assert common_categories([("a", "a"), ("b",), ("b",), ()]) == ()


def test_no_categories_at_all():
    assert common_categories([(), ()]) == ()
    assert common_categories([]) == ()
