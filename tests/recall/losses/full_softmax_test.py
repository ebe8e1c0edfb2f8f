"""The softmax over the whole catalogue: by hand, against numpy, and in blocks of any size."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses import full_softmax
from recall.losses.full_softmax import full_softmax_loss
from recall.losses.negatives import find_accidental_hits
from recall.losses.products import multiply_pairs
from recall.losses.sampled_softmax import sampled_softmax_loss
from tests.finite_differences import differentiate

REDUCTIONS = ("max", "argmax")
BATCH, NUM_INTERESTS, DIM, NUM_ITEMS = 5, 3, 4, 11
POSITIVES = np.array([0, 10, 3, 3, 7])
ONE_BLOCK, MANY_BLOCKS = 1 << 25, 4 * BATCH * NUM_INTERESTS
"""All items at once, and blocks of 4, 4 and 3 items."""


def random_inputs(seed=0):
    rng = np.random.default_rng(seed)
    users = rng.normal(size=[BATCH, NUM_INTERESTS, DIM]).astype(np.float32)
    return users, rng.normal(size=[NUM_ITEMS, DIM]).astype(np.float32)


def compute(users, items, mask=None, **options):
    users, items = tf.convert_to_tensor(users), tf.convert_to_tensor(items)
    return full_softmax_loss(users, tf.gather(items, POSITIVES), items, mask, **options)


def loss_of_one(user, positive, items, temperature, reduction):
    """Loss of one user, in float64: a softmax over all items, written out."""
    user, items = np.asarray(user, np.float64), np.asarray(items, np.float64)
    if reduction == "argmax":
        user = user[[np.argmax(user @ items[positive])]]
    logits = (user @ items.T).max(axis=0) / temperature
    return np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[positive]


def test_two_interests_and_three_items_by_hand():
    # Interests (1, 0) and (0, 1): the items score 1, 2 and 3, the positive is the first.
    items = tf.constant([[1.0, 0.0], [0.0, 2.0], [3.0, -1.0]])
    loss = full_softmax_loss(
        tf.constant([[[1.0, 0.0], [0.0, 1.0]]]), items[:1], items, temperature=1.0
    )

    np.testing.assert_allclose(loss, [np.log(np.exp([1, 2, 3]).sum()) - 1], rtol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("max_elements", [ONE_BLOCK, MANY_BLOCKS, 1])
def test_equals_the_formula_in_numpy(reduction, temperature, max_elements):
    users, items = random_inputs()

    losses = compute(
        users,
        items,
        temperature=temperature,
        interest_reduction=reduction,
        max_elements=max_elements,
    )

    expected = [
        loss_of_one(users[i], POSITIVES[i], items, temperature, reduction) for i in range(BATCH)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("max_elements", [ONE_BLOCK, MANY_BLOCKS])
def test_gradients_equal_finite_differences(reduction, max_elements):
    arrays = random_inputs()
    variables = [tf.constant(array) for array in arrays]
    weights = np.arange(1.0, BATCH + 1)  # Losses of users count differently.
    with tf.GradientTape() as tape:
        tape.watch(variables)
        losses = compute(
            *variables, temperature=0.5, interest_reduction=reduction, max_elements=max_elements
        )
        total = tf.reduce_sum(losses * weights.astype(np.float32))

    gradients = tape.gradient(total, variables)

    def sum_losses(users, items):
        return sum(
            weights[i] * loss_of_one(users[i], POSITIVES[i], items, 0.5, reduction)
            for i in range(BATCH)
        )

    for gradient, expected in zip(gradients, differentiate(sum_losses, arrays), strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(gradient), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("max_elements", [ONE_BLOCK, MANY_BLOCKS])
def test_a_hidden_interest_is_one_that_is_not_there(max_elements):
    users, items = random_inputs(seed=4)
    mask = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [1, 1, 0], [0, 1, 0]], bool)
    variables = tf.constant(users)
    with tf.GradientTape() as tape:
        tape.watch(variables)
        losses = compute(
            variables, items, tf.constant(mask), temperature=0.5, max_elements=max_elements
        )

    expected = [
        loss_of_one(users[i][mask[i]], POSITIVES[i], items, 0.5, "max") for i in range(BATCH)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_array_equal(tape.gradient(losses, variables).numpy()[~mask], 0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_is_the_sampled_loss_with_every_item_as_a_negative(reduction):
    users, items = random_inputs()
    items = tf.constant(items)
    kept = ~find_accidental_hits(POSITIVES, tf.range(NUM_ITEMS))
    sampled = sampled_softmax_loss(
        tf.constant(users),
        tf.gather(items, POSITIVES),
        items,
        kept,
        temperature=0.3,
        interest_reduction=reduction,
    )

    losses = compute(
        users, items, temperature=0.3, interest_reduction=reduction, max_elements=MANY_BLOCKS
    )

    np.testing.assert_allclose(losses, sampled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_huge_scores_stay_finite(size):
    users, items = random_inputs()
    variables = tf.constant(users * size)
    with tf.GradientTape() as tape:
        tape.watch(variables)
        losses = compute(variables, items, temperature=0.07, max_elements=MANY_BLOCKS)

    expected = [
        loss_of_one(users[i] * size, POSITIVES[i], items, 0.07, "max") for i in range(BATCH)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-3 * size)
    assert np.isfinite(tape.gradient(losses, variables)).all()


def test_a_gradient_in_bfloat16_is_close_and_the_loss_is_the_same():
    arrays = random_inputs()
    losses, gradients = [], []
    for dtype in (tf.float32, tf.bfloat16):
        variables = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            losses.append(
                compute(*variables, temperature=0.5, gradient_dtype=dtype, max_elements=MANY_BLOCKS)
            )
        gradients.append([tf.convert_to_tensor(g) for g in tape.gradient(losses[-1], variables)])

    np.testing.assert_array_equal(*losses)
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == tf.float32
        # Numbers in bfloat16 have 8 significant bits.
        np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())
        assert (rounded.numpy() != exact.numpy()).any()


def test_only_a_block_of_logits_exists_at_a_time(monkeypatch):
    """300 items in blocks of 60 for 32 users, when the step is traced: memory is bounded."""
    shapes = []

    def record(*arguments, **offsets):
        shapes.append(multiply_pairs(*arguments, **offsets).shape)
        return multiply_pairs(*arguments, **offsets)

    monkeypatch.setattr(full_softmax, "multiply_pairs", record)
    users, items = tf.random.normal([32, NUM_INTERESTS, DIM]), tf.random.normal([300, DIM])

    @tf.function
    def step(users, items):
        with tf.GradientTape() as tape:
            tape.watch([users, items])
            positives = tf.gather(items, tf.range(32))
            losses = full_softmax_loss(
                users, positives, items, temperature=0.5, max_elements=64 * 32 * NUM_INTERESTS
            )
        return losses, tape.gradient(losses, [users, items])

    losses, (_, item_gradient) = step(users, items)

    # A block's interests, once for the sum and once for the gradient: loops are not unrolled.
    assert [shape.as_list() for shape in shapes] == 2 * NUM_INTERESTS * [[32, 60]]
    expected = [loss_of_one(users[i], i, items, 0.5, "max") for i in range(32)]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert (np.abs(tf.convert_to_tensor(item_gradient)).max(axis=1) > 0).all()
