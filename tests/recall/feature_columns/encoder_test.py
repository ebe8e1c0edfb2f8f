"""Raw values -> slots and numbers, by hand."""

import numpy as np
import pyarrow as pa
import tensorflow as tf

from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.encoder import FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures

COLOURS = FittedColumn(
    FeatureColumn("colours", "item", "categorical", max_values=2), ("red", "blue"), 2
)
BRAND = FittedColumn(FeatureColumn("brand", "item", "categorical"), ("acme\n",))
PRICE = FittedColumn(FeatureColumn("price", "item", "numeric"), mean=2.0, stddev=4.0)
YEAR = FittedColumn(FeatureColumn("year", "item", "numeric", buckets=3), edges=(1990.0, 2000.0))
IMAGE = FittedColumn(FeatureColumn("image", "item", "vector", dim=2), stddev=2.0)
COLUMNS = (COLOURS, BRAND, PRICE, YEAR, IMAGE)
RAW = {
    "colours": np.array([[b"blue", b"", b"red"], [b"pink", b"red", b""], [b"", b"", b""]], object),
    "brand": np.array([b"acme\n", b"", b"other"], object),
    "price": np.array([6, np.nan, 2], np.float32),
    "year": np.array([1989.5, 2000, np.nan], np.float32),
    "image": np.array([[4, -2], [np.nan, np.nan], [0, 2]], np.float32),
}


def test_slots_and_numbers_by_hand():
    encoder = FeatureEncoder(COLUMNS)
    encoded, num_known, num_unknown, counts = encoder(RAW)
    np.testing.assert_array_equal(counts.numpy().sum(axis=1)[:, 0], num_known)
    np.testing.assert_array_equal(counts.numpy().sum(axis=1)[:, 1], num_unknown)

    # Rows: nothing 0; colours: others 1, red 2, blue 3; brand: others 4, acme 5; year: 6, 7, 8.
    assert encoder.num_rows == 9
    # The third colour of the first item has no slot.
    np.testing.assert_array_equal(encoded.slots, [[3, 0, 5, 6], [1, 2, 0, 8], [0, 0, 4, 0]])
    expected = [[1, 0, 2, -1, 0], [0, 1, 0, 0, 1], [0, 0, 0, 1, 0]]
    np.testing.assert_allclose(encoded.numbers, expected)
    # blue, acme, price, year, image; red, year; price and image.
    assert num_known.numpy().tolist() == [5, 2, 2]
    assert num_unknown.numpy().tolist() == [0, 1, 1]


def test_a_logarithm_and_what_is_below_zero():
    price = FittedColumn(
        FeatureColumn("price", "item", "numeric", scale="log"), mean=1.0, stddev=0.5
    )
    encoded = FeatureEncoder([price])({"price": np.array([np.e - 1, -5], np.float32)}).encoded
    np.testing.assert_allclose(encoded.numbers, [[0, 0], [-2, 0]], atol=1e-6)


def test_words_and_neighbours_are_hashed_whatever_their_case_and_signs():
    words = FeatureColumn("words", "item", "text", hash_buckets=1000, max_values=5)
    encoder = FeatureEncoder([FittedColumn(words)])
    texts = ["Die Hard, 2!", "DIE hard", "", "ÄRGER?", "a b c d e f"]
    slots = encoder({"words": tf.constant(texts)}).encoded.slots.numpy()

    def row(text):
        return 1 + int(tf.strings.to_hash_bucket_fast(text, 1000))

    assert slots[0].tolist() == [row(t) for t in ("die", "hard", "2", "die hard", "hard 2")]
    assert slots[1].tolist() == [row("die"), row("hard"), row("die hard"), 0, 0]
    assert slots[2].tolist() == [0] * 5
    assert slots[3].tolist() == [row("ärger"), 0, 0, 0, 0]
    assert slots[4].tolist() == [row(letter) for letter in "abcde"]


def test_inputs_have_names_types_and_a_form_that_says_nothing():
    encoder = FeatureEncoder(COLUMNS)
    specs = encoder.input_specs()

    assert list(specs) == ["colours", "brand", "price", "year", "image"]
    assert [(s.dtype.name, s.shape.as_list()) for s in specs.values()] == [
        ("string", [None, None]),
        ("string", [None]),
        ("float32", [None]),
        ("float32", [None]),
        ("float32", [None, 2]),
    ]
    assert {name: a.shape for name, a in encoder.missing_inputs().items()}["image"] == (0, 2)


def test_all_items_of_a_vocabulary_are_encoded_as_their_rows(monkeypatch):
    table = pa.table(
        {
            "colours": pa.array([["blue"], [], ["pink", "red"]], pa.list_(pa.string())),
            "price": pa.array([6.0, None, 2.0]),
        }
    )
    features = ItemFeatures([COLOURS, PRICE], table)
    encoder = FeatureEncoder(features.columns)
    monkeypatch.setattr("recall.feature_columns.encoder._ROWS_AT_ONCE", 2)
    encoded = encoder.encode_items(features)

    np.testing.assert_array_equal(encoded.slots, [[3, 0], [0, 0], [1, 2]])
    np.testing.assert_allclose(encoded.numbers, [[1, 0], [0, 1], [0, 0]])
    nothing = encoder.encode_nothing(2)
    np.testing.assert_array_equal(nothing.slots, np.zeros([2, 2]))
    np.testing.assert_array_equal(nothing.numbers, [[0, 1], [0, 1]])


def test_a_feature_without_any_known_value():
    empty = FittedColumn(FeatureColumn("brand", "item", "categorical"))
    encoded, num_known, num_unknown, _ = FeatureEncoder([empty])({"brand": np.array([b"x", b""])})

    np.testing.assert_array_equal(encoded.slots, [[1], [0]])
    assert (num_known.numpy().tolist(), num_unknown.numpy().tolist()) == ([0, 0], [1, 0])


def test_numbers_of_examples_lead_to_the_vocabulary():
    """Names b, x, a of a log, of which x is outside of the vocabulary a, b."""
    columns = FittedColumn(FeatureColumn("brand", "event", "categorical"), ("a", "b"))
    plain = FeatureEncoder([columns], reads_names=False)
    of_log = FeatureEncoder([columns.with_numbers([0, 3, 1, 2])], reads_names=False)

    wanted = plain({"brand": np.array([0, 1, 2, 3, 3])})
    found = of_log({"brand": np.array([0, 2, 3, 1, 1])})
    # Rows of the table: none 0, outside 1, a 2, b 3.
    np.testing.assert_array_equal(found.encoded.slots, [[0], [1], [2], [3], [3]])
    for one, other in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_array_equal(one, other)
