"""Losses that predict features of items: of which batch, among which values, and what is learnt."""

import numpy as np
import pytest
import tensorflow as tf

from recall.models.attribute_values import choose_values
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from tests.recall.item_tower_test import CONFIG, VOCABULARY
from tests.recall.models.packed_step_test import pack, pad

SEQUENCES = [[2, 3, 5, 6], [3, 2, 7], [5, 6, 2, 3, 7]]
SEED = tf.constant([1, 2], tf.int64)
PLAIN = ["model.max_history_length=8", "model.dropout_rate=0"]


def build(*settings):
    tf.keras.utils.set_random_seed(1)
    return DSSRec(CONFIG.override([*PLAIN, *settings]), VOCABULARY)


@pytest.mark.parametrize("settings", [[], ["loss.num_negatives=8"]], ids=["all values", "a sample"])
def test_packed_is_padded_and_every_weight_learns(settings):
    model = build(*settings)
    padded = model.compute_losses(pad(SEQUENCES, 4), SEED)
    packed = model.compute_losses(pack(SEQUENCES, [[0, 1], [2]], 3), SEED)
    assert set(padded.auxiliary) == {"attribute", "item_attribute"}
    for name in ("seq2item", "seq2seq", "auxiliary"):
        found, expected = getattr(packed, name), getattr(padded, name)
        np.testing.assert_allclose(tf.nest.flatten(found), tf.nest.flatten(expected), rtol=1e-5)
    model.compile(optimizer=tf.keras.optimizers.SGD())
    gradients, *_ = model.compute_gradients(pad(SEQUENCES, 4))
    assert all(gradient is not None for gradient in gradients)


def test_values_of_items_and_of_categorical_features_alone():
    tower = build().item_tower
    names = tower.encoder.columns[0].values
    found = choose_values(tower, tf.constant([2, 5, 6]), 99, SEED)  # a red, d both, e nothing.
    assert found.is_own is None
    assert found.num_values == 1 + len(names) == 3
    np.testing.assert_array_equal(tower.network.name_rows, [1, 2, 3])  # Not those of the price.
    assert (found.own_weights.numpy() > 0).tolist() == [[True, False], [True, True], [False] * 2]
    red = 2 + names.index("red")
    unit = tower.network.table / np.linalg.norm(tower.network.table, axis=1, keepdims=True)
    np.testing.assert_allclose(found.own_vectors[0, 0], unit[red], rtol=1e-5)
    np.testing.assert_allclose(found.value_vectors, unit[1:4], rtol=1e-5)


def test_of_many_values_some_are_drawn_and_own_ones_are_known():
    tower = build().item_tower
    found = choose_values(tower, tf.constant([2, 5, 6]), 2, SEED)
    assert found.value_vectors.shape == (2, 8)
    assert found.num_values == 3
    for own, weights, is_own in zip(
        found.own_vectors.numpy(), found.own_weights.numpy(), found.is_own.numpy(), strict=True
    ):
        held = own[weights > 0]
        expected = [any(np.allclose(row, one) for one in held) for row in found.value_vectors]
        assert is_own.tolist() == expected
    others = choose_values(tower, tf.constant([2]), 2, SEED + 1)
    assert not np.array_equal(others.value_vectors, found.value_vectors)


def test_what_items_have_is_learnt():
    """To the least that can be had, which nothing is below: no guess is right of two values."""
    model = build(
        "loss.seq2seq_weight=0", "loss.attribute_weight=0", "loss.item_attribute_weight=3"
    )
    model.compile(optimizer=RowwiseAdam(0.05))
    batch = pad(SEQUENCES, 4)
    before = float(model.compute_losses(batch, SEED).auxiliary["item_attribute"])
    for _ in range(60):
        model.train_step(batch)
    after = float(model.compute_losses(batch, SEED).auxiliary["item_attribute"])
    # One of the nine targets is d, blue and red, which two and four of six items are.
    blue, red = np.log1p(6 / 2), np.log1p(6 / 4)
    shares = np.array([blue, red]) / (blue + red)
    least = -(shares * np.log(shares)).sum() / 9
    assert 4 * least < before
    assert least - 1e-4 < after < 1.5 * least
