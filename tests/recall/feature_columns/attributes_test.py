"""Declared attributes of items: names, kinds, and values that somebody gives."""

import math

import pytest

from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.attributes import ItemAttribute
from recall.feature_columns.declaration import attributes_of


def declared(*attributes, columns=()):
    section = {"attributes": list(attributes), "columns": list(columns)}
    return RecallConfig.from_dict({"features": section})


def test_a_config_keeps_them_and_gives_them_back():
    config = declared({"name": "brand"}, {"name": "since", "kind": "time", "column": "from_day"})
    brand, since = config.features.attributes
    assert (brand.kind, brand.source, brand.is_ordered) == ("categorical", "brand", False)
    assert (since.kind, since.source, since.is_ordered) == ("time", "from_day", True)
    assert RecallConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("attributes", "columns", "wanted"),
    [
        ([{"name": "a b"}], [], "letters, digits and _"),
        ([{"name": "categories"}], [], "another name, it is taken"),
        ([{"name": "x", "kind": "vector"}], [], "one of categorical, numeric, time"),
        ([{"name": "available_from"}], [], "time or numeric"),
        ([{"name": "x"}, {"name": "x"}], [], "the name 'x' twice"),
        ([{"name": "x"}], [{"name": "x", "owner": "item", "kind": "text"}], "the name 'x' twice"),
        ([{"name": "x", "owner": "item"}], [], "Unknown config key .*owner"),
    ],
)
def test_mistakes_are_one_line(attributes, columns, wanted):
    with pytest.raises(InputError, match=wanted):
        declared(*attributes, columns=columns)


def test_features_of_names_and_numbers_are_attributes_too():
    columns = [
        {"name": "categories", "owner": "item", "kind": "categorical"},
        {"name": "tags", "owner": "item", "kind": "categorical", "column": "categories"},
        {"name": "price", "owner": "item", "kind": "numeric"},
        {"name": "words", "owner": "item", "kind": "text"},
    ]
    config = declared({"name": "shop"}, columns=columns)
    found = attributes_of(config.features.of("item"), config.features.attributes)
    assert [(a.name, a.kind, a.source) for a in found] == [
        ("tags", "categorical", "categories"),
        ("price", "numeric", "price"),
        ("shop", "categorical", "shop"),
    ]


def test_values_that_somebody_gives():
    name, number, time = (ItemAttribute("x", kind) for kind in ItemAttribute.KINDS)
    assert [name.read(value) for value in (" a ", 7, True)] == ["a", "7", "true"]
    assert name.read_all(["a", "", 2]) == ["a", "2"]
    assert name.read_all("") is None
    assert [number.read_all(value) for value in (2, 2.5, True)] == [2.0, 2.5, 1.0]
    assert [time.read(v) for v in (5, "1970-01-01T01:00:00Z", "1970-01-02")] == [5, 3600, 86400]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("categorical", 1.5),
        ("categorical", None),
        ("numeric", "1"),
        ("numeric", math.inf),
        ("numeric", 10**400),
        ("numeric", [1]),
        ("time", "soon"),
        ("time", True),
    ],
)
def test_values_of_another_kind(kind, value):
    with pytest.raises(ValueError, match=r"a text|a finite number|a time|isoformat"):
        ItemAttribute("x", kind).read_all(value)
