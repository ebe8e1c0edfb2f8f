"""Routed interests against loops in numpy; the contract of all is in `interests_test`."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from recall.layers.extractor import WantedPrefixes
from recall.layers.routing import RoutedInterests
from recall.settings.model import ModelConfig

LENGTH, DIM, NUM_INTERESTS, NUM_PROTOTYPES = 5, 6, 2, 6
CONFIG = ModelConfig(
    extractor="routing", num_interests=NUM_INTERESTS, num_prototypes=NUM_PROTOTYPES, dim=DIM
)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def build(config=CONFIG):
    tf.keras.utils.set_random_seed(1)
    layer = RoutedInterests(config)
    layer(random(1, 1, config.dim), item_vectors=random(1, 1, config.dim))
    rng = np.random.default_rng(7)
    for weight in layer.weights:
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape))
    return layer, {w.name.split("/", 1)[-1].split(":")[0]: w.numpy() for w in layer.weights}


def softmax(scores):
    exp = np.exp(scores - scores.max())
    return exp / exp.sum()


def routes_of(items, prototypes):
    """p(h|i) of every item, `[n, H]`."""
    cosines = [
        [item @ c / np.linalg.norm(item) / np.linalg.norm(c) for c in prototypes] for item in items
    ]
    return np.array([softmax(np.array(row) / 0.07) for row in cosines])


def interests_of_prefix(states, items, weights, *, is_future=False, residual=True):
    """The formulas of the docstring for one history."""
    routes = routes_of(items, weights["prototypes"])
    query = states[-1] @ weights["query/kernel"] + weights["query/bias"]
    relevance = softmax((states @ weights["key/kernel"]) @ query / np.sqrt(DIM))
    masses = np.array([(routes[:, h] * relevance).sum() for h in range(NUM_PROTOTYPES)])
    summary = relevance @ states
    summary = summary + summary @ weights["summary/kernel"]
    bias = weights["future_bias" if is_future else "past_bias"]
    heads = []
    for h in range(NUM_PROTOTYPES):
        head = (routes[:, h] * relevance) @ states / (masses[h] + 1e-6)
        hidden = np.tanh(head @ weights["hidden/kernel"] + bias[h])
        heads.append(head + hidden @ weights["transform/kernel"] + weights["transform/bias"])
    vectors, shares = [], []
    for group in np.split(np.arange(NUM_PROTOTYPES), NUM_INTERESTS):
        scores = [np.log(masses[h] + 1e-6) + heads[h] @ summary / np.sqrt(DIM) for h in group]
        pooled = softmax(np.array(scores)) @ np.stack([heads[h] for h in group])
        pooled = pooled + states[-1] if residual else pooled
        scaled = (pooled - pooled.mean()) / pooled.std()
        vectors.append(scaled * weights["norm/scale"] + weights["norm/offset"])
        shares.append(masses[group].sum())
    return np.stack(vectors), np.array(shares)


@pytest.mark.parametrize("is_future", [False, True])
@pytest.mark.parametrize("residual", [True, False])
def test_every_prefix_equals_loops_in_numpy(is_future, residual):
    layer, weights = build(dataclasses.replace(CONFIG, interest_residual=residual))
    states, items = random(2, LENGTH, DIM, seed=1), random(2, LENGTH, DIM, seed=2)

    vectors, shares = layer(states, WantedPrefixes(is_future=is_future), items)

    for b, t in np.ndindex(2, LENGTH):
        prefix = slice(0, t + 1)
        expected = interests_of_prefix(
            states[b, prefix], items[b, prefix], weights, is_future=is_future, residual=residual
        )
        np.testing.assert_allclose(vectors[b, t], expected[0], rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(shares[b, t], expected[1], rtol=1e-4, atol=1e-5)


def test_an_item_goes_the_same_way_whoever_clicks_it():
    layer, weights = build()
    items = random(4, DIM, seed=3)

    routes = layer.route(items)

    np.testing.assert_allclose(routes, routes_of(items, weights["prototypes"]), rtol=1e-3)
    # Three prototypes to an interest, in their order.
    by_hand = np.stack([routes[:, :3].numpy().sum(1), routes[:, 3:].numpy().sum(1)], axis=1)
    np.testing.assert_allclose(layer.group(routes), by_hand, rtol=1e-5)
    # The length of what an item is routed by does not count; nothing is routed evenly.
    np.testing.assert_allclose(layer.route(5 * items), routes, rtol=1e-4)
    np.testing.assert_allclose(layer.route(np.zeros([1, DIM], np.float32)), 1 / 6, rtol=1e-5)


def test_one_prototype_to_an_interest_needs_no_pool():
    config = dataclasses.replace(CONFIG, num_prototypes=NUM_INTERESTS)
    layer, weights = build(config)

    vectors, shares = layer(random(1, 3, DIM), item_vectors=random(1, 3, DIM, seed=4))

    assert "summary/kernel" not in weights
    assert vectors.shape == (1, 3, NUM_INTERESTS, DIM)
    np.testing.assert_allclose(tf.reduce_sum(shares, axis=2), 1, rtol=1e-5)


def test_an_interest_of_which_nothing_was_clicked_keeps_the_last_state():
    """Its group has no mass: what is left is the state, and what W2 makes of the biases."""
    layer, _ = build()
    for weight in layer.weights:
        if "bias" in weight.name or "transform" in weight.name:
            weight.assign(tf.zeros_like(weight))
    prototypes = np.eye(NUM_PROTOTYPES, DIM, dtype=np.float32)
    layer.weights[0].assign(prototypes)
    states = random(1, 1, DIM)

    vectors, shares = layer(states, item_vectors=prototypes[np.newaxis, :1])

    np.testing.assert_allclose(shares[0, 0], [1, 0], atol=1e-5)
    norm = layer.weights[-2].numpy(), layer.weights[-1].numpy()
    scaled = (states[0, 0] - states[0, 0].mean()) / states[0, 0].std()
    np.testing.assert_allclose(vectors[0, 0, 1], scaled * norm[0] + norm[1], atol=0.05)
