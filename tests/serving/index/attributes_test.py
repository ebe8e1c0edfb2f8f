"""Attributes of a table of items, against what is read off the table."""

import pyarrow as pa
import pytest

from recall.errors import InputError
from recall.feature_columns.attributes import ItemAttribute
from serving.index.attributes import ItemAttributes

DECLARED = (
    ItemAttribute("brand"),
    ItemAttribute("price", "numeric"),
    ItemAttribute("available_from", "time"),
    ItemAttribute("available_until", "time"),
)
ITEMS = (
    {"brand": ["acme"], "price": 3.0, "available_from": 10.0},
    {"brand": ["apex", "acme"], "price": 0.0, "available_until": 20.0},
    {"price": 3.0, "available_from": 15.0, "available_until": 20.0},
    {"brand": ["bolt"]},
)
ATTRIBUTES = ItemAttributes.of_values(DECLARED, ITEMS)


def test_rows_with_values():
    def rows(name, *values):
        return ATTRIBUTES.rows_with(name, values).tolist()

    assert rows("brand", "acme") == [0, 1]
    assert rows("brand", "bolt", "apex", "unheard") == [1, 3]
    assert rows("brand", "unheard") == []
    assert rows("price", 3.0) == [0, 2]
    assert rows("price", 0.0, 7.0, 3.0) == [0, 1, 2]


def test_rows_in_a_range_have_a_value():
    def rows(least, most):
        return ATTRIBUTES.rows_between("price", least, most).tolist()

    inf = float("inf")
    assert rows(-inf, inf) == [0, 1, 2]
    assert (rows(0, 2.9), rows(3, 3), rows(3.1, inf)) == ([1], [0, 2], [])


@pytest.mark.parametrize("times", [(9, 10, 14.9, 15, 19.9, 20), (20, 15, 10, 9, 19.9, 14.9)])
def test_items_come_and_go_at_the_second_whatever_was_asked_before(times):
    attributes = ItemAttributes.of_values(DECLARED, ITEMS)
    expected = {9: [0, 2], 10: [2], 14.9: [2], 15: [], 19.9: [], 20: [1, 2]}
    for now_s in times:
        assert attributes.unavailable_rows(now_s).tolist() == expected[now_s]


def test_without_times_all_items_are_there():
    assert ItemAttributes.of_values(DECLARED[:2], ITEMS).unavailable_rows(0).tolist() == []
    assert ItemAttributes.none().unavailable_rows(0).tolist() == []


def test_a_table_is_read_back_and_rows_are_taken():
    again = ItemAttributes.from_table(ATTRIBUTES.to_table())
    assert tuple(again.declared.values()) == DECLARED
    some = again.take([3, 1])
    assert [some.values_of(row) for row in range(2)] == [ITEMS[3], ITEMS[1]]
    assert len(some.followed_by(again)) == 6
    assert some.followed_by(again).values_of(2) == ITEMS[0]
    with pytest.raises(InputError, match="does not say what they are"):
        ItemAttributes.from_table(pa.table({"brand": ["x"]}))


def test_no_rows_at_all():
    nothing = ItemAttributes.of_values(DECLARED, [])
    assert nothing.rows_with("brand", ["acme"]).tolist() == []
    assert nothing.rows_between("price", 0, 9).tolist() == []
    assert nothing.unavailable_rows(0).tolist() == []
