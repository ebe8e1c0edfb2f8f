"""The network of features, against numpy."""

import math

import numpy as np
import tensorflow as tf

from recall.feature_columns.declaration import FeatureColumn, FeaturesConfig
from recall.feature_columns.encoder import Encoded, FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.layers.feature_network import (
    FeatureNetwork,
    LinearFeatures,
    _look_up_densely,
    weigh_rows,
)

COLUMNS = (
    FittedColumn(FeatureColumn("colours", "item", "categorical", max_values=3), ("a", "b"), 3),
    FittedColumn(FeatureColumn("price", "item", "numeric")),
    FittedColumn(FeatureColumn("brand", "item", "categorical"), ("c",)),
)
SLOTS = np.array([[2, 3, 0, 5], [0, 0, 0, 0], [1, 0, 0, 4]])
NUMBERS = np.array([[0.5, 0], [0, 1], [-2, 0]], np.float32)


def build(columns=COLUMNS):
    tf.keras.utils.set_random_seed(4)
    config = FeaturesConfig(embedding_dim=4, hidden_dim=6)
    return FeatureNetwork(config, FeatureEncoder(columns), dim=5)


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def test_means_side_by_side_go_through_two_layers():
    network = build()
    table = network.table.numpy().astype(np.float64)
    assert table.shape == (6, 4)  # Nothing, 3 of colours, 2 of brand.
    colours = np.stack([(table[2] + table[3]) / 2, np.zeros(4), table[1]])
    brand = np.stack([table[5], np.zeros(4), table[4]])
    inputs = np.concatenate([colours, brand, NUMBERS], axis=1)
    _, inner, bias, outer, outer_bias = (weight.numpy() for weight in network.weights)
    expected = gelu(inputs @ inner + bias) @ outer + outer_bias

    found = network(Encoded(tf.constant(SLOTS), tf.constant(NUMBERS)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    # The row of empty slots is not read.
    network.table[0].assign(tf.fill([4], 100.0))
    again = network(Encoded(tf.constant(SLOTS), tf.constant(NUMBERS)))
    np.testing.assert_array_equal(again, found)


def test_leading_axes_stay():
    network = build()
    flat = network(Encoded(tf.constant(SLOTS), tf.constant(NUMBERS)))
    shaped = network(Encoded(tf.constant(SLOTS[None]), tf.constant(NUMBERS[None])))
    assert shaped.shape == (1, 3, 5)
    np.testing.assert_allclose(shaped[0], flat, rtol=1e-6)


def test_numbers_alone_and_names_alone():
    numbers = build(COLUMNS[1:2])(Encoded(tf.zeros([3, 0], tf.int32), tf.constant(NUMBERS)))
    assert numbers.shape == (3, 5)
    names = build(COLUMNS[2:])(Encoded(tf.constant([[1], [0]]), tf.zeros([2, 0])))
    assert names.shape == (2, 5)


def test_a_large_table_has_the_same_values_and_gradients(monkeypatch):
    inputs = Encoded(tf.constant(SLOTS), tf.constant(NUMBERS))

    def learn():
        network = build()
        with tf.GradientTape() as tape:
            found = network(inputs)
            loss = tf.reduce_sum(found**2)
        return found, tape.gradient(loss, network.table)

    small, dense = learn()
    monkeypatch.setattr("recall.layers.feature_network._DENSE_VALUES", 0)
    large, sparse = learn()
    assert isinstance(sparse, tf.IndexedSlices)
    np.testing.assert_allclose(small, large, rtol=1e-6)
    np.testing.assert_allclose(dense, tf.convert_to_tensor(sparse), rtol=1e-5, atol=1e-8)


def test_gradients_reach_every_weight_and_only_rows_that_are_read():
    network = build()
    with tf.GradientTape() as tape:
        found = network(Encoded(tf.constant(SLOTS[:1]), tf.constant(NUMBERS[:1])))
        loss = tf.reduce_sum(found**2)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(g is not None for g in gradients)
    (table,) = (
        tf.convert_to_tensor(g)
        for g, v in zip(gradients, network.trainable_variables, strict=True)
        if v is network.table
    )
    assert np.flatnonzero(np.abs(table.numpy()).max(axis=1)).tolist() == [2, 3, 5]


def test_linear_features_are_a_weighted_sum_of_unit_weights():
    tf.keras.utils.set_random_seed(4)
    encoded = Encoded(tf.constant(SLOTS), tf.constant(NUMBERS))
    network = LinearFeatures(FeatureEncoder(COLUMNS), 5, 2, encoded)
    assert network.word_table is None
    table, numbers = (weight.numpy().astype(np.float64) for weight in network.weights)
    # Three items; values 1, 2, 3, 4 and 5 are on one each.
    np.testing.assert_allclose(network.row_weights[1:], np.full(5, math.log(4)), rtol=1e-6)
    expected = NUMBERS @ numbers
    expected[0] += (table[2] + table[3] + table[5]) / math.sqrt(3)
    expected[2] += (table[1] + table[4]) / math.sqrt(2)

    np.testing.assert_allclose(network(encoded), expected, rtol=1e-4, atol=1e-6)
    shaped = network(Encoded(*(part[tf.newaxis] for part in encoded)))
    np.testing.assert_allclose(shaped[0], expected, rtol=1e-4, atol=1e-6)


def test_words_are_narrow_and_a_matrix_makes_them_as_wide():
    """Rows of `Encoded` count through all features, those of a table through its own."""
    columns = (
        COLUMNS[0],
        FittedColumn(FeatureColumn("words", "item", "text", max_values=2, hash_buckets=3)),
        COLUMNS[2],
    )
    # Colours are rows 1 to 3 of all, words 4 to 6, brands 7 and 8.
    slots = np.array([[2, 0, 0, 6, 4, 8], [0, 0, 0, 0, 0, 0], [0, 0, 0, 5, 0, 0]])
    encoded = Encoded(tf.constant(slots), tf.zeros([3, 0]))
    network = LinearFeatures(FeatureEncoder(columns), 5, 2, encoded)
    table, words, matrix = (weight.numpy().astype(np.float64) for weight in network.weights)
    assert (table.shape, words.shape, matrix.shape) == ((6, 5), (4, 2), (2, 5))
    expected = np.zeros([3, 5])
    expected[0] = (table[2] + table[5] + (words[3] + words[1]) @ matrix) / math.sqrt(4)
    expected[2] = words[2] @ matrix
    np.testing.assert_allclose(network(encoded), expected, rtol=1e-4, atol=1e-7)
    # Names alone: no word is one. The others' own rows are 1 and 4, of outside the vocabulary.
    np.testing.assert_array_equal(network.name_rows, [1, 2, 3, 4, 5])
    rows, weights = network.names_of(encoded.slots)
    np.testing.assert_array_equal(rows, [[2, 0, 0, 5], [0] * 4, [0] * 4])
    assert (weights.numpy() > 0).tolist() == [[True, False, False, True], [False] * 4, [False] * 4]


def test_words_alone():
    words = FittedColumn(FeatureColumn("words", "item", "text", max_values=2, hash_buckets=3))
    encoded = Encoded(tf.constant([[1, 3], [0, 0]]), tf.zeros([2, 0]))
    network = LinearFeatures(FeatureEncoder([words]), 5, 2, encoded)
    _, table, matrix = (weight.numpy() for weight in network.weights)
    expected = [(table[1] + table[3]) @ matrix / math.sqrt(2), np.zeros(5)]
    np.testing.assert_allclose(network(encoded), expected, rtol=1e-4, atol=1e-7)
    shaped = network(Encoded(*(part[tf.newaxis] for part in encoded)))
    np.testing.assert_allclose(shaped[0], expected, rtol=1e-4, atol=1e-7)


def test_empty_slots_add_nothing_to_the_gradient():
    table = tf.Variable(np.ones([3, 2], np.float32))
    with tf.GradientTape() as tape:
        found = _look_up_densely(table, tf.constant([[0, 2], [2, 0]]))
        loss = tf.reduce_sum(found * [[[5.0, 5.0], [1.0, 2.0]], [[3.0, 4.0], [5.0, 5.0]]])
    np.testing.assert_array_equal(tape.gradient(loss, table), [[0, 0], [0, 0], [4, 6]])


def test_rare_values_weigh_more():
    weights = weigh_rows(np.array([[1, 2], [1, 0], [1, 0], [1, 3]]), 5)
    np.testing.assert_allclose(
        weights, np.log([1, 2, 5, 5, 5]), rtol=1e-6
    )  # Row 4 is on no item: as if on one.
