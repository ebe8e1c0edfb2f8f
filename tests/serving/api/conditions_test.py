"""`where` and `boosts` as callers write them."""

import numpy as np
import pytest

from recall.errors import InputError
from serving.api import conditions
from serving.api.conditions import Boost, ItemCondition


def test_a_value_several_values_and_a_range():
    where = conditions.read_where(
        "where", {"brand": "acme", "size": (1, np.float32(2)), "price": {"min": None, "max": 9}}
    )
    assert where == {"brand": "acme", "size": [1, 2.0], "price": {"max": 9}}
    assert conditions.conditions_of(where) == (
        ItemCondition("brand", ("acme",)),
        ItemCondition("size", (1, 2.0)),
        ItemCondition("price", None, None, 9),
    )
    assert conditions.conditions_of(None) == ()


def test_boosts():
    read = conditions.read_boosts("boosts", [{"where": {"a": True}, "add": 1}])
    assert conditions.boosts_of(read) == (Boost((ItemCondition("a", (True,)),), 1.0, 1.0),)


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ([], "`where` must be an object of attributes"),
        ({"a": {}}, r"`where.a` must be a value \(equal\)"),
        ({"a": {"min": 1, "most": 2}}, "`where.a` must be"),
        ({"a": {"min": [1]}}, "`where.a` must be"),
        ({"a": []}, "`where.a` is empty"),
        ({"a": [[1]]}, "`where.a` must be"),
        ({"a": float("nan")}, "`where.a` must be"),
    ],
)
def test_what_is_no_condition(where, wanted):
    with pytest.raises(InputError, match=wanted):
        conditions.read_where("where", where)


@pytest.mark.parametrize(
    ("boosts", "wanted"),
    [
        ({}, "`boosts` must be a list"),
        ([{"where": {}}], r"`boosts\[0\]` must be an object with `where`"),
        ([{"add": 1}], r"`boosts\[0\]` must be"),
        ([{"where": {}, "add": 1, "more": 2}], r"`boosts\[0\]` must be"),
        ([{"where": {}, "add": 1}, {"where": {}, "add": True}], r"`boosts\[1\].add` must be a"),
        ([{"where": {}, "multiply": 10**400}], "must be a finite number"),
        ([{"where": {"a": {}}, "add": 1}], r"`boosts\[0\].where.a` must be"),
    ],
)
def test_what_is_no_boost(boosts, wanted):
    with pytest.raises(InputError, match=wanted):
        conditions.read_boosts("boosts", boosts)
