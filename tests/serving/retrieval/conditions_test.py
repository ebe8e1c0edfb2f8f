"""Conditions on a small catalogue; what does not fit it is one line that says what would."""

import pytest

from recall.errors import InputError
from serving.api.conditions import conditions_of
from serving.retrieval.conditions import rows_of_condition, unknown_categories, unknown_values
from tests.serving.recall_reference import Shop

SHOP = Shop(60)
VIEW = SHOP.catalogue()


def rows(where):
    (condition,) = conditions_of(where)
    return rows_of_condition(VIEW, condition, "where").tolist()


@pytest.mark.parametrize(
    "where",
    [
        {"brand": "apex"},
        {"brand": ["acme", "unheard", "apex"]},
        {"price": 4},
        {"price": [0, 4, 5]},
        {"price": {"min": 3, "max": 9}},
        {"price": {"max": 0}},
        {"available_from": {"max": 150.0}},
        {"categories": ["half", "twin"]},
    ],
    ids=str,
)
def test_rows_are_those_of_the_items_one_by_one(where):
    assert rows(where) == [row for row in range(60) if SHOP.fulfils(row, where)]
    assert rows(where)


def test_times_may_be_iso_8601():
    at = "1970-01-01T00:02:30Z"  # 150 seconds.
    assert rows({"available_from": at}) == rows({"available_from": 150})


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        (
            {"colour": "red"},
            "`where` has 'colour', which this release does not declare. It declares categories "
            r"\(categorical\), brand \(categorical\), price \(numeric\), available_from \(time\)",
        ),
        ({"price": "cheap"}, "`where.price` must be a finite number, received 'cheap': the"),
        ({"price": {"min": 5, "max": 4}}, "`where.price` has a `min` of 5 above its `max` of 4"),
        ({"brand": 1.5}, "`where.brand` must be a text, received 1.5: the attribute is categ"),
        ({"brand": {"min": "a"}}, "`where.brand` is a range, but 'brand' is categorical"),
        ({"categories": {"max": 1}}, "is a range, but 'categories' is categorical"),
        (
            {"available_until": "soon"},
            r"`where.available_until` must be a time: seconds since 1970, or ISO 8601, received "
            r"'soon'\.$",
        ),
    ],
)
def test_what_does_not_fit_the_release(where, wanted):
    with pytest.raises(InputError, match=wanted) as info:
        rows(where)
    assert "\n" not in str(info.value)


def test_names_that_are_no_category():
    assert unknown_categories(VIEW, ()) == ()
    assert unknown_categories(VIEW, ("half", "twin", "half")) == ()
    assert unknown_categories(VIEW, ("Half", "twin", "x", "Half")) == ("Half", "x")


@pytest.mark.parametrize(
    ("where", "unknown"),
    [
        (None, ()),
        ({"brand": "apex"}, ()),
        ({"brand": "Apex"}, (("brand", "Apex"),)),
        ({"brand": ["acme", "x", "y", "x"]}, (("brand", "x"), ("brand", "y"))),
        ({"categories": ["half", "Half"]}, (("categories", "Half"),)),
        ({"price": 10_000, "available_from": {"max": -5}}, ()),
    ],
    ids=str,
)
def test_names_that_no_item_has(where, unknown):
    assert unknown_values(VIEW, where) == unknown


def test_names_of_boosts_that_no_item_has():
    boosts = [{"where": {"brand": name}, "add": 1} for name in ("acme", "acem", "who")]
    assert unknown_values(VIEW, {"brand": "who"}, boosts) == (("brand", "who"), ("brand", "acem"))
