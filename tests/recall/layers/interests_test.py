"""Interest extractors: one contract for all, and each against numpy."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.extractor import WantedPrefixes
from recall.layers.interests import DisentangledInterests, SelfAttentiveInterests, build_extractor

LENGTH, DIM, NUM_INTERESTS = 6, 8, 3

DSSREC = ModelConfig(num_interests=NUM_INTERESTS, dim=DIM, max_history_length=LENGTH)
CONFIGS = {
    "dssrec": DSSREC,
    "dssrec_without_residual": dataclasses.replace(DSSREC, interest_residual=False),
    "last_state": dataclasses.replace(DSSREC, extractor="last_state"),
    "self_attentive": dataclasses.replace(DSSREC, extractor="self_attentive"),
    "capsule": dataclasses.replace(DSSREC, extractor="capsule"),
    "routing": dataclasses.replace(DSSREC, extractor="routing", num_prototypes=6),
    "dssrec_items": dataclasses.replace(DSSREC, pools="items", clusters="items"),
    "dssrec_both": dataclasses.replace(DSSREC, pools="both", clusters="items"),
    "dssrec_item_clusters": dataclasses.replace(DSSREC, clusters="items"),
    "dssrec_gate": dataclasses.replace(DSSREC, residual_form="gate"),
    "dssrec_plain": dataclasses.replace(
        DSSREC, clustering=False, weighting=False, future_bias=False
    ),
}
FORMS = [*CONFIGS, "dssrec_future", "routing_future"]
ITEMS_OF_STATES = np.random.default_rng(11).normal(size=[DIM, DIM]).astype(np.float32)
"""Where an extractor reads the clicked items, those of a state are this product with it."""


@pytest.fixture(autouse=True)
def _seed():
    tf.keras.utils.set_random_seed(1)


def random_states(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def build(form):
    """(function of states, layer) of a configuration; every weight off its initial value."""
    layer = build_extractor(CONFIGS[form.removesuffix("_future")])

    def extract(states, **arguments):
        items = states @ ITEMS_OF_STATES if layer.reads_items else None
        wanted = WantedPrefixes(is_future=form.endswith("_future"), **arguments)
        return layer(states, wanted, items)

    extract(np.zeros([1, LENGTH, DIM], np.float32))
    rng = np.random.default_rng(7)
    for weight in layer.weights:
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape))
    return extract, layer


def weights_of(layer):
    return {w.name.split("/", 1)[-1].split(":")[0]: w.numpy() for w in layer.weights}


@pytest.mark.parametrize("form", FORMS)
def test_shapes_and_weights(form):
    extract, layer = build(form)
    output = extract(random_states(2, 5, DIM))

    assert layer.num_interests == (1 if form == "last_state" else NUM_INTERESTS)
    assert output.vectors.shape == (2, 5, layer.num_interests, DIM)
    assert output.weights.shape == (2, 5, layer.num_interests)
    assert (output.weights.numpy() >= 0).all()
    np.testing.assert_allclose(output.weights.numpy().sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_slot_t_equals_extracting_from_the_prefix_alone(form):
    extract, _ = build(form)
    states = random_states(3, LENGTH, DIM)
    vectors, weights = extract(states)
    for t in range(LENGTH):
        alone = extract(states[:, : t + 1])
        np.testing.assert_allclose(vectors[:, t], alone.vectors[:, -1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(weights[:, t], alone.weights[:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_one_slot_per_history_equals_that_slot_of_all(form):
    extract, _ = build(form)
    states, slots = random_states(4, LENGTH, DIM), np.array([0, 5, 2, 3])
    expected = extract(states)
    for whole, one in zip(expected, extract(states, slots=slots), strict=True):
        np.testing.assert_allclose(one, whole.numpy()[range(4), slots], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_mask_keeps_its_slots_in_their_order(form):
    extract, _ = build(form)
    states = random_states(4, LENGTH, DIM)
    mask = np.random.default_rng(4).random([4, LENGTH]) < 0.5
    for whole, kept in zip(extract(states), extract(states, mask=mask), strict=True):
        np.testing.assert_allclose(kept, whole.numpy()[mask], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_neither_padding_nor_a_later_slot_changes_an_earlier_one(form):
    extract, _ = build(form)
    states = random_states(3, LENGTH, DIM)
    for later in (0.0, 1.0, 1e3):
        changed = states.copy()
        changed[:, 4:] = later
        before, after = extract(states), extract(changed)
        np.testing.assert_allclose(after.vectors[:, :4], before.vectors[:, :4], atol=1e-5)
        np.testing.assert_allclose(after.weights[:, :4], before.weights[:, :4], atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_histories_of_a_batch_do_not_mix(form):
    extract, _ = build(form)
    states, order = random_states(4, LENGTH, DIM), [2, 0, 3, 1]

    for shuffled, whole in zip(extract(states[order]), extract(states), strict=True):
        np.testing.assert_allclose(shuffled, whole.numpy()[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", [name for name in CONFIGS if name != "last_state"])
def test_gradients_reach_every_weight(form):
    extract, layer = build(form)
    states = random_states(4, LENGTH, DIM)
    target = random_states(4, LENGTH, NUM_INTERESTS, DIM, seed=5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(extract(states).vectors * target)
        if (form.startswith("dssrec") and form != "dssrec_plain") or form == "routing":
            items = states @ ITEMS_OF_STATES if layer.reads_items else None
            future = layer(states, WantedPrefixes(is_future=True), items)
            loss += tf.reduce_sum(future.vectors * target)
        if layer.num_prototypes and form != "routing":
            loss += tf.reduce_sum(layer.fit_loss(tf.reshape(items, [-1, DIM])))

    gradients = tape.gradient(loss, layer.trainable_variables)

    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-3, variable.name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0.0, 1e4])
def test_empty_and_huge_states_stay_finite(form, size):
    extract, _ = build(form)
    states = tf.constant(random_states(2, LENGTH, DIM) * size)
    with tf.GradientTape() as tape:
        tape.watch(states)
        vectors, weights = extract(states)
        loss = tf.reduce_sum(vectors)

    assert np.isfinite(vectors).all()
    assert np.isfinite(weights).all()
    assert np.isfinite(tape.gradient(loss, states)).all()


@pytest.mark.parametrize("form", FORMS)
def test_histories_of_a_row_do_not_see_each_other(form):
    """Two histories laid end to end are the two alone."""
    extract, _ = build(form)
    states = random_states(2, LENGTH, DIM)
    first_slots = np.array([[0, 0, 2, 2, 2, 2], [0, 1, 1, 1, 1, 5]], np.int32)

    vectors, weights = extract(states, first_slots=first_slots)

    for row, first in ((0, 2), (1, 1)):
        alone = extract(states[row : row + 1, first:5])
        np.testing.assert_allclose(vectors[row, first:5], alone.vectors[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(weights[row, first:5], alone.weights[0], rtol=1e-4, atol=1e-5)


def test_the_last_state_is_the_interest():
    extract, _ = build("last_state")
    states = random_states(2, 5, DIM)

    np.testing.assert_array_equal(extract(states).vectors[:, :, 0], states)


def test_self_attentive_without_preference_is_the_mean_of_the_prefix():
    layer = SelfAttentiveInterests(
        ModelConfig(extractor="self_attentive", num_interests=2, dim=2, num_heads=1)
    )
    states = np.array([[[2.0, 0.0], [4.0, 6.0]]], np.float32)
    layer(states)
    layer.weights[1].assign(tf.zeros_like(layer.weights[1]))  # All scores 0.

    # Prefix 1: (2, 0). Prefix 2: ((2 + 4) / 2, (0 + 6) / 2).
    expected = [[[2.0, 0.0]] * 2, [[3.0, 3.0]] * 2]

    np.testing.assert_allclose(layer(states).vectors[0], expected, rtol=1e-6)


def test_self_attentive_equals_loops_in_numpy():
    extract, layer = build("self_attentive")
    states, weights = random_states(2, LENGTH, DIM), weights_of(layer)

    vectors = extract(states).vectors.numpy()

    for b, t, k in np.ndindex(2, LENGTH, NUM_INTERESTS):
        prefix = states[b, : t + 1]
        attention = softmax(
            np.tanh(prefix @ weights["hidden/kernel"]) @ weights["score/kernel"][:, k]
        )
        np.testing.assert_allclose(vectors[b, t, k], attention @ prefix, rtol=1e-4, atol=1e-5)


def test_dssrec_of_one_click_by_hand():
    layer = DisentangledInterests(ModelConfig(num_interests=2, dim=2, num_heads=1))
    states = np.array([[[3.0, 1.0]]], np.float32)
    layer(states)
    for weight in layer.weights:
        if "prototypes" in weight.name or "bias" in weight.name:
            weight.assign(tf.zeros_like(weight))

    output = layer(states)

    # Two equal prototypes: p(k|1) = 1/2. One slot: p(1|1) = 1. Before the norm
    # phi_k = 0 + z + z/2 = (4.5, 1.5): mean 3, deviation 1.5, so after it (1, -1).
    np.testing.assert_allclose(output.vectors[0, 0], [[1.0, -1.0]] * 2, atol=1e-5)
    np.testing.assert_allclose(output.weights[0, 0], [0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        "dssrec",
        "dssrec_without_residual",
        "dssrec_items",
        "dssrec_both",
        "dssrec_item_clusters",
        "dssrec_future",
    ],
)
def test_dssrec_equals_loops_in_numpy(form):
    extract, layer = build(form)
    states, weights = random_states(2, LENGTH, DIM), weights_of(layer)

    vectors, shares = (part.numpy() for part in extract(states))

    for b, t in np.ndindex(2, LENGTH):
        expected = interests_of_prefix(states[b, : t + 1], weights, form)
        np.testing.assert_allclose(vectors[b, t], expected[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(shares[b, t], expected[1], rtol=1e-4, atol=1e-5)


def interests_of_prefix(states, weights, form):
    """The article's formulas for one history, every sum written out."""

    def normalise(x, number):
        scaled = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
        offset = weights.get(f"norm_{number}/offset", 0.0)  # LN2 has none.
        return scaled * weights[f"norm_{number}/scale"] + offset

    placed = states + weights["positions"][: len(states)]
    base = normalise(placed, 3)
    keys = base + np.maximum(base @ weights["key/kernel"] + weights["key/bias"], 0)
    query = normalise(placed[-1] + weights["query_bias"], 4)
    relevance = softmax(keys @ query / np.sqrt(DIM))  # p(i|t)
    values, items = states, states @ ITEMS_OF_STATES
    if form == "dssrec_items":
        values = normalise(items, "items")
    if form == "dssrec_both":
        values = states + normalise(items, "items")
    if form in ("dssrec_items", "dssrec_both", "dssrec_item_clusters"):  # p(k|i)
        prototypes = weights["clusters/prototypes"]
        prototypes = prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)
        cosines = items @ prototypes.T / np.linalg.norm(items, axis=1, keepdims=True)
        clusters = np.stack([softmax(row / 0.1) for row in cosines])
    else:
        prototypes = normalise(weights["prototypes"], 2)
        clusters = np.stack(
            [softmax(prototypes @ normalise(state, 1) / np.sqrt(DIM)) for state in states]
        )
    biases = weights["future_bias" if form == "dssrec_future" else "past_bias"]
    vectors = []
    for k in range(NUM_INTERESTS):
        pooled = biases[k].copy()
        for i, value in enumerate(values):
            pooled += clusters[i, k] * relevance[i] * value
        if form != "dssrec_without_residual":
            pooled += states[-1]
        vectors.append(normalise(pooled, 5))
    return np.stack(vectors), relevance @ clusters


def softmax(scores):
    exp = np.exp(scores - scores.max())
    return exp / exp.sum()


def test_without_clusters_and_weights_an_interest_is_the_mean_of_the_past():
    """LN5(beta_k + z_t + mean of z_1..z_t / K), of pasts and futures alike."""
    extract, layer = build("dssrec_plain")
    states = random_states(2, LENGTH, DIM)
    found = extract(states)
    weights = weights_of(layer)
    means = np.cumsum(states, axis=1) / np.arange(1, LENGTH + 1)[:, None]
    total = (means / NUM_INTERESTS + states)[:, :, None] + weights["past_bias"]
    total -= total.mean(axis=-1, keepdims=True)
    total /= np.sqrt(total.var(axis=-1, keepdims=True))
    expected = total * weights["norm_5/scale"] + weights["norm_5/offset"]
    np.testing.assert_allclose(found.vectors, expected, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.weights, np.full([2, LENGTH, NUM_INTERESTS], 1 / 3), rtol=1e-5)
    future = layer(states, WantedPrefixes(is_future=True))
    np.testing.assert_array_equal(future.vectors, found.vectors)
