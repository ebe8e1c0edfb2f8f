"""Columns of files as values of features, and what is refused in one line."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from pipelines.sources.feature_values import read_feature
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import raw_type


def read(array, kind, **parameters):
    column = FeatureColumn("x", "item", kind, column="col", **parameters)
    values = read_feature(column, array, np.arange(len(array)) + 10, "items.csv")
    assert values.type == raw_type(column)
    return values.to_pylist()


def test_names_one_or_several_in_text_in_lists_and_other_types():
    text = pa.array([" red |blue||", "", None, "green"])
    assert read(text, "categorical", max_values=3) == [["red", "blue"], [], [], ["green"]]
    assert read(text, "categorical") == [["red |blue||"], [], [], ["green"]]
    lists = pa.array([["a", " b", None, ""], None, []], pa.list_(pa.string()))
    assert read(lists, "categorical", max_values=3) == [["a", "b"], [], []]
    assert read(pa.array([3, None]), "categorical") == [["3"], []]
    assert read(pa.array([True, False, None]), "categorical") == [["true"], ["false"], []]
    assert read(pa.array(["a", "b", "a"]).dictionary_encode(), "categorical") == [
        ["a"],
        ["b"],
        ["a"],
    ]


def test_numbers_of_any_type():
    assert read(pa.array(["1.5", " 2 ", "", None, "nan"]), "numeric") == [
        1.5,
        2.0,
        None,
        None,
        None,
    ]
    assert read(pa.array([1, None]), "numeric") == [1.0, None]
    assert read(pa.array([float("inf"), 0.5]), "numeric") == [None, 0.5]
    assert read(pa.array([True, False]), "numeric") == [1.0, 0.0]
    day = pa.array([datetime.date(1970, 1, 2)])
    assert read(day, "numeric") == [86_400.0]


def test_vectors_of_lists_and_of_text():
    lists = pa.array([[1.0, 2.0], None, []], pa.list_(pa.float64()))
    assert read(lists, "vector", dim=2) == [[1.0, 2.0], None, []]
    fixed = pa.array([[1, 2]], pa.list_(pa.int32(), 2))
    assert read(fixed, "vector", dim=2) == [[1.0, 2.0]]
    text = pa.array(["[0.5, 1]", "2|3", "4 5", ""])
    assert read(text, "vector", dim=2) == [[0.5, 1.0], [2.0, 3.0], [4.0, 5.0], []]


def test_texts():
    assert read(pa.array(["Red hat", None, "7"]), "text") == ["Red hat", "", "7"]


@pytest.mark.parametrize(
    ("array", "kind", "parameters", "wanted"),
    [
        (pa.array(["1", "many"]), "numeric", {}, "Data row 12 of items.csv.*'many'.*no number"),
        (pa.array([[1.0]]), "numeric", {}, "Declare it as vector"),
        (pa.array([1.5]), "categorical", {}, "column 'col' has the type double"),
        (pa.array([[1.0], [1.0, 2.0]]), "vector", {"dim": 1}, "Data row 12.*has 2 numbers.*dim=1"),
        (pa.array([[1.0], [float("nan")]]), "vector", {"dim": 1}, "Data row 12.*not finite"),
        (pa.array(["1,2", "1,two"]), "vector", {"dim": 2}, "Data row 12.*'two'.*no number"),
    ],
)
def test_what_does_not_fit_names_the_row(array, kind, parameters, wanted):
    with pytest.raises(InputError, match=wanted) as info:
        read(array, kind, **parameters)
    assert "\n" not in str(info.value)
