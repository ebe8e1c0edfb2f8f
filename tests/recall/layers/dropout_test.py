"""Dropout: rates, expectation, and what it may not depend on."""

import numpy as np
import pytest
import tensorflow as tf

from recall.layers.dropout import Dropout, choose_dropout_rate, dropout_seed


@pytest.fixture(autouse=True)
def _seed():
    tf.keras.utils.set_random_seed(1)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_the_share_of_zeros_and_the_mean(rate):
    outputs = Dropout(rate)(tf.ones([1000, 100]), training=True).numpy()

    # 100,000 elements: four standard errors of a share are below .0064; the
    # rate itself is rounded by at most 1/512.
    assert abs((outputs == 0).mean() - rate) < 0.0064 + 1 / 512
    assert abs(outputs.mean() - 1) < 0.0064 / (1 - rate)
    # What is kept is scaled by the rounded rate, the same everywhere.
    kept = outputs[outputs != 0]
    np.testing.assert_allclose(kept, 256 / (256 - round(rate * 256)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 5, 7), (0, 4)])
def test_any_shape_also_of_an_odd_number_of_elements(shape):
    inputs = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    outputs = Dropout(0.5)(inputs, training=True).numpy()

    assert outputs.shape == shape
    np.testing.assert_allclose(outputs[outputs != 0], 2 * inputs[outputs != 0], rtol=1e-6)


def test_elements_are_dropped_independently():
    dropped = Dropout(0.5)(tf.ones([4000, 16]), training=True).numpy() == 0
    correlations = np.corrcoef(dropped.T) - np.eye(16)

    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


def test_every_call_draws_anew_and_the_seed_decides():
    layer, inputs = Dropout(0.5), tf.ones([100])

    def draw():
        tf.random.set_seed(3)
        compute = tf.function(lambda: layer(inputs, training=True))
        return compute().numpy(), compute().numpy()

    (first, second), (again, _) = draw(), draw()

    assert (first != second).any()
    np.testing.assert_array_equal(first, again)


def test_the_gradient_passes_where_the_element_was_kept():
    inputs = tf.ones([200])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = Dropout(0.5)(inputs, training=True)

    np.testing.assert_array_equal(tape.gradient(outputs, inputs), outputs)


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True), (0.001, True)])
def test_nothing_is_dropped_outside_training_or_below_half_a_level(rate, training):
    inputs = tf.random.normal([3, 50])

    np.testing.assert_array_equal(Dropout(rate)(inputs, training=training), inputs)


@pytest.mark.parametrize(
    ("clicks_per_item", "rate"),
    [(0, 0.4), (16, 0.4), (30, 0.4), (30 * 10**0.5, 0.3), (300, 0.2), (10_000, 0.2)],
)
def test_the_more_clicks_an_item_has_the_lower_the_chosen_rate(clicks_per_item, rate):
    counts = np.array([0.5, 1.5]) * clicks_per_item  # The mean counts, not the spread.
    assert choose_dropout_rate(counts) == pytest.approx(rate)


def masks(seed, num_calls=2):
    """What is kept by several layers of a step."""
    with dropout_seed(tf.constant(seed, tf.int64)):
        return [Dropout(0.5)(tf.ones([400]), training=True).numpy() for _ in range(num_calls)]


def test_the_masks_of_a_step_are_a_function_of_its_seed_and_their_order():
    first, again, other_step, other_seed = (
        masks([1, 6]),
        masks([1, 6]),
        masks([1, 8]),
        masks([2, 6]),
    )

    np.testing.assert_array_equal(first, again)
    for masks_of_others in (other_step, other_seed, first[::-1]):
        for mask, other in zip(first, masks_of_others, strict=True):
            assert 0.35 < (mask != other).mean() < 0.65
    # Neither of a step looks like the mask of the next.
    assert 0.35 < (first[1] != other_step[0]).mean() < 0.65


def test_outside_of_a_step_masks_come_from_the_generator_of_the_program():
    first = masks([1, 6])
    after = [Dropout(0.5)(tf.ones([400]), training=True).numpy() for _ in range(2)]

    assert (after[0] != after[1]).any()
    assert (after[0] != first[0]).any()


def test_a_compiled_step_has_the_same_masks():
    compiled = tf.function(lambda: masks_as_tensors([2**32 - 1, 2**31]), jit_compile=True)()

    np.testing.assert_array_equal(compiled, masks([2**32 - 1, 2**31]))


def masks_as_tensors(seed):
    with dropout_seed(tf.constant(seed, tf.int64)):
        return [Dropout(0.5)(tf.ones([400]), training=True) for _ in range(2)]
