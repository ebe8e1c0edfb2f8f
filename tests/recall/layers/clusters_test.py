"""Clusters of items and of states."""

import numpy as np
import pytest
import tensorflow as tf

from recall.layers.clusters import ItemClusters

ITEMS = np.array([[3.0, 0.0], [0.0, 0.5], [-1.0, 0.0]], np.float32)


def build(prototypes):
    layer = ItemClusters(*np.shape(prototypes))
    layer.build(None)
    layer.set_weights([np.array(prototypes, np.float32)])
    return layer


def test_an_item_belongs_to_the_prototypes_that_it_points_at():
    shares = build([[2.0, 0.0], [0.0, 1.0]])(tf.constant(ITEMS)).numpy()

    # Cosines (1, 0), (0, 1) and (-1, 0), divided by .1.
    e = np.exp(-10.0)
    expected = [[1 / (1 + e), e / (1 + e)], [e / (1 + e), 1 / (1 + e)], [e / (1 + e), 1 / (1 + e)]]
    np.testing.assert_allclose(shares, expected, rtol=1e-4)


def test_the_loss_is_that_of_a_mixture_of_equal_parts():
    losses = build([[2.0, 0.0], [0.0, 1.0]]).fit_loss(tf.constant(ITEMS)).numpy()

    first = -np.log((1 + np.exp(-10.0)) / 2)
    last = -np.log((np.exp(-20.0) + np.exp(-10.0)) / 2)
    np.testing.assert_allclose(losses, [first, first, last], rtol=1e-4)


def test_an_item_on_all_prototypes_costs_nothing():
    assert build([[1.0, 0.0], [5.0, 0.0]]).fit_loss(tf.constant(ITEMS[:1])).numpy() == (
        pytest.approx(0, abs=1e-6)
    )


def test_items_learn_nothing_from_their_clusters():
    layer, items = build([[2.0, 0.1], [0.3, 1.0]]), tf.Variable(ITEMS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.fit_loss(items)) + tf.reduce_sum(layer(items)[:, 0])

    to_items, to_prototypes = tape.gradient(loss, [items, *layer.trainable_variables])

    assert to_items is None
    assert np.abs(to_prototypes.numpy()).max() > 0.1


def test_prototypes_come_to_the_clusters_and_follow_them():
    """Floor and ceiling: four heaps that begin as one and part; k-means knows them all."""
    rng, layer = np.random.default_rng(3), ItemClusters(4, 16)
    layer.build(None)
    heaps, owners = rng.normal(size=[4, 16]), np.arange(400) % 4
    noise = rng.normal(size=[400, 16]) * 0.3
    optimizer = tf.keras.optimizers.Adam(0.01)

    def items_at(step):
        return tf.constant(min(1.0, step / 200) * heaps[owners] + noise, tf.float32)

    def purity(step):
        found = layer(items_at(step)).numpy().argmax(axis=1)
        return sum(np.bincount(owners[found == k]).max() for k in set(found)) / len(owners)

    assert purity(0) < 0.5
    for step in range(400):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer.fit_loss(items_at(step)))
        variables = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    assert purity(400) > 0.98
