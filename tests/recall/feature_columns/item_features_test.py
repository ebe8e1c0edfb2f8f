"""Values of features row by row of a vocabulary."""

import numpy as np
import pyarrow as pa
import pytest

from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import ItemVocabulary

DECLARED = (
    FeatureColumn("colours", "item", "categorical", max_values=3, min_count=1),
    FeatureColumn("brand", "item", "categorical", min_count=1),
    FeatureColumn("price", "item", "numeric"),
    FeatureColumn("image", "item", "vector", dim=2),
    FeatureColumn("words", "item", "text", hash_buckets=10, max_values=4, max_ngram=1),
)
TABLE = pa.table(
    {
        "colours": pa.array([["red", "blue"], [], ["green"]], pa.list_(pa.string())),
        "brand": pa.array([["b"], ["c"], None], pa.list_(pa.string())),
        "price": pa.array([1.0, None, 3.0], pa.float64()),
        "image": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32())),
        "words": pa.array(["hat", "", "shoe"]),
    }
)
FEATURES = ItemFeatures.fit(DECLARED, TABLE, np.array([5, 1, 0]))


def test_nothing_is_learnt_of_items_without_clicks():
    colours, brand, price, *_ = FEATURES.columns

    assert colours.values == ("blue", "red")  # green is of the third item alone.
    assert brand.values == ("b", "c")
    assert (price.mean, price.stddev) == (1.0, 1.0)


def test_items_of_which_something_is_known():
    nothing = {"colours": [], "words": "", "brand": None, "price": None, "image": None}
    rows = [nothing, *({**nothing, **one} for one in ({"price": 0.0}, {"words": "a"}))]
    rows += [{**nothing, "brand": ["b"]}, {**nothing, "image": [0.0, 0.0]}]
    table = pa.Table.from_pylist(rows, TABLE.schema)
    assert ItemFeatures(FEATURES.columns, table).has_values().tolist() == [False] + [True] * 4


def test_raw_values_are_tensors_with_fillers_where_nothing_is_known():
    raw = FEATURES.slice(0, 3)

    assert raw["colours"].tolist() == [[b"red", b"blue"], [b"", b""], [b"green", b""]]
    assert raw["brand"].tolist() == [b"b", b"c", b""]
    np.testing.assert_array_equal(raw["price"], np.array([1, np.nan, 3], np.float32))
    np.testing.assert_array_equal(
        raw["image"], np.array([[1, 2], [np.nan, np.nan], [3, 4]], np.float32)
    )
    assert raw["words"].tolist() == [b"hat", b"", b"shoe"]
    assert FEATURES.slice(2, 3)["brand"].tolist() == [b""]


def test_what_is_missing_and_unknown_is_counted():
    counted = FEATURES.count_values()

    assert counted["colours"] == (1, 3, 1)
    assert counted["brand"] == (1, 2, 0)
    assert counted["price"] == (1, 2, 0)
    assert counted["image"] == (1, 2, 0)
    assert counted["words"] == (1, 2, 0)


def test_a_table_keeps_all_of_it():
    again = ItemFeatures.from_table(FEATURES.to_table())

    assert again.columns == FEATURES.columns
    assert again.table.equals(FEATURES.table)
    with pytest.raises(InputError, match="does not say what they are"):
        ItemFeatures.from_table(TABLE)


def test_a_vocabulary_takes_rows_with_their_features():
    vocabulary = ItemVocabulary(["a", "b", "c"], features=FEATURES).take([2, 0])

    assert vocabulary.features.table["price"].to_pylist() == [3.0, 1.0]
    assert vocabulary.features.columns == FEATURES.columns
    with pytest.raises(InputError, match="2 items but 3 rows of features"):
        ItemVocabulary(["a", "b"], features=FEATURES)
