"""The encoder: order matters, the future and padding do not."""

import numpy as np
import pytest
import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.sequence_encoder import SequenceEncoder

CONFIG = ModelConfig(dim=8, num_heads=2, num_blocks=2, feed_forward_dim=12, max_history_length=6)


@pytest.fixture(autouse=True)
def _seed():
    tf.keras.utils.set_random_seed(1)


def random_vectors(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def build_encoder():
    """An encoder whose position table is large enough to be seen."""
    encoder = SequenceEncoder(CONFIG, 0.3)
    encoder(np.zeros([1, 1, 8], np.float32))
    (positions,) = (w for w in encoder.weights if "positions" in w.name)
    positions.assign(random_vectors(*positions.shape, seed=3))
    return encoder


def test_states_have_the_shape_of_the_inputs_and_are_normalised():
    states = build_encoder()(random_vectors(3, 5, 8)).numpy()

    assert states.shape == (3, 5, 8)
    # A fresh layer normalisation: mean 0 and variance 1 in every slot.
    np.testing.assert_allclose(states.mean(-1), 0.0, atol=1e-5)
    np.testing.assert_allclose(states.var(-1), 1.0, atol=2e-2)


def test_slot_t_equals_encoding_the_prefix_alone():
    encoder, vectors = build_encoder(), random_vectors(3, 6, 8)
    states = encoder(vectors).numpy()
    for t in range(6):
        alone = encoder(vectors[:, : t + 1])[:, -1]
        np.testing.assert_allclose(states[:, t], alone, rtol=1e-4, atol=1e-5)


def test_more_padding_changes_nothing():
    encoder, vectors = build_encoder(), random_vectors(3, 4, 8)
    padded = np.concatenate([vectors, np.zeros([3, 2, 8], np.float32)], axis=1)

    np.testing.assert_allclose(encoder(padded)[:, :4], encoder(vectors), rtol=1e-4, atol=1e-5)


def test_a_later_slot_does_not_change_an_earlier_one():
    encoder, vectors = build_encoder(), random_vectors(2, 6, 8)
    changed = vectors.copy()
    changed[:, 4:] += 1.0

    np.testing.assert_allclose(
        encoder(changed)[:, :4], encoder(vectors)[:, :4], rtol=1e-4, atol=1e-5
    )


def test_the_order_of_the_clicks_matters():
    encoder, vectors = build_encoder(), random_vectors(2, 5, 8)
    swapped = vectors[:, [1, 0, 2, 3, 4]]

    assert np.abs(encoder(swapped)[:, -1] - encoder(vectors)[:, -1]).max() > 1e-3


def test_sequences_of_a_batch_do_not_mix():
    encoder, vectors = build_encoder(), random_vectors(4, 5, 8)
    order = [2, 0, 3, 1]

    np.testing.assert_allclose(
        encoder(vectors[order]), encoder(vectors).numpy()[order], rtol=1e-4, atol=1e-5
    )


def test_gradients_reach_every_weight():
    encoder = SequenceEncoder(CONFIG, 0.3)
    with tf.GradientTape() as tape:
        states = encoder(random_vectors(4, 6, 8))
        loss = tf.reduce_sum(states * random_vectors(4, 6, 8, seed=5))

    gradients = tape.gradient(loss, encoder.trainable_variables)

    assert len(gradients) == 1 + 2 + 2 * 15
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-4, variable.name


def test_dropout_is_active_in_training_alone():
    encoder, vectors = build_encoder(), random_vectors(2, 5, 8)

    np.testing.assert_array_equal(encoder(vectors), encoder(vectors))
    assert np.abs(encoder(vectors, training=True) - encoder(vectors)).max() > 1e-3
