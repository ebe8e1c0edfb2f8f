"""The seq2item loss: by hand, against numpy, and at its edges."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.sampled_softmax import interest_softmax_loss, sampled_softmax_loss
from tests.finite_differences import differentiate

REDUCTIONS = ("max", "sum", "argmax")
BATCH, NUM_INTERESTS, DIM, NUM_NEGATIVES = 5, 3, 4, 7


def random_inputs(seed=0):
    rng = np.random.default_rng(seed)
    users = rng.normal(size=[BATCH, NUM_INTERESTS, DIM]).astype(np.float32)
    positives = rng.normal(size=[BATCH, DIM]).astype(np.float32)
    negatives = rng.normal(size=[NUM_NEGATIVES, DIM]).astype(np.float32)
    mask = rng.random([BATCH, NUM_NEGATIVES]) < 0.7
    return users, positives, negatives, mask


def loss_of_one(user, positive, negatives, temperature, reduction):
    """Loss of one user, in float64: a list of candidates and a log of a sum."""
    user, positive, negatives = (np.asarray(x, np.float64) for x in (user, positive, negatives))
    to_positive = [interest @ positive for interest in user]
    if reduction == "max":
        candidates = [max(to_positive), *((user @ n).max() for n in negatives)]
    elif reduction == "sum":
        candidates = [*to_positive, *(user @ negatives.T).ravel()]
    else:
        nearest = user[int(np.argmax(to_positive))]
        candidates = [max(to_positive), *(negatives @ nearest)]
    logits = np.array(candidates) / temperature
    return (
        np.log(np.exp(logits - logits.max()).sum()) + logits.max() - max(to_positive) / temperature
    )


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        # Interests (1, 0) and (0, 1), positive (1, 0): positive scores 1 and 0.
        # The negative (0, 2) scores 0 and 2.
        ("max", np.log(np.exp(1) + np.exp(2)) - 1),  # 1.3133
        ("sum", np.log(np.exp(1) + np.exp(0) + np.exp(0) + np.exp(2)) - 1),
        ("argmax", np.log(np.exp(1) + np.exp(0)) - 1),  # .3133
    ],
)
def test_two_interests_and_one_negative_by_hand(reduction, expected):
    loss = sampled_softmax_loss(
        tf.constant([[[1.0, 0.0], [0.0, 1.0]]]),
        tf.constant([[1.0, 0.0]]),
        tf.constant([[0.0, 2.0]]),
        temperature=1.0,
        interest_reduction=reduction,
    )

    np.testing.assert_allclose(loss, [expected], rtol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_corrections_are_added_to_the_logits_of_negatives(reduction, temperature):
    """A negative that is there three times is one with log 3 more."""
    users, positives, negatives, mask = random_inputs()
    times = np.array([1, 3, 1, 2, 1, 1, 4])

    corrected = sampled_softmax_loss(
        tf.constant(users),
        tf.constant(positives),
        tf.constant(negatives),
        tf.constant(mask),
        negative_corrections=tf.constant(np.log(times), tf.float32),
        temperature=temperature,
        interest_reduction=reduction,
    )

    for row, loss in enumerate(corrected):
        repeated = np.repeat(negatives, np.where(mask[row], times, 0), axis=0)
        expected = loss_of_one(users[row], positives[row], repeated, temperature, reduction)
        assert float(loss) == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("temperature", [0.07, 1.0, 3.0])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_formula_in_numpy(reduction, temperature, masked):
    users, positives, negatives, mask = random_inputs()
    if not masked:
        mask = np.ones_like(mask)

    losses = sampled_softmax_loss(
        tf.constant(users),
        tf.constant(positives),
        tf.constant(negatives),
        tf.constant(mask) if masked else None,
        temperature=temperature,
        interest_reduction=reduction,
    )

    # A masked negative is, for the formula, one that is not there.
    expected = [
        loss_of_one(users[i], positives[i], negatives[mask[i]], temperature, reduction)
        for i in range(BATCH)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    assert (losses.numpy() >= 0).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_masked_negative_has_no_gradient(reduction):
    users, positives, negatives, _ = random_inputs()
    negatives = tf.constant(negatives)
    mask = np.ones([BATCH, NUM_NEGATIVES], bool)
    mask[:, 2] = False
    with tf.GradientTape() as tape:
        tape.watch(negatives)
        losses = sampled_softmax_loss(
            users, positives, negatives, mask, temperature=1.0, interest_reduction=reduction
        )

    norms = np.abs(tape.gradient(losses, negatives)).max(axis=1)

    assert norms[2] == 0
    assert (np.delete(norms, 2) > 0).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_all_masked_is_zero_with_finite_gradient(reduction):
    users, positives, negatives, mask = random_inputs()
    # The paper's sum keeps the positive's score with the other interests: one
    # interest leaves the positive alone.
    users, mask = tf.constant(users[:, :1]), np.zeros_like(mask)
    with tf.GradientTape() as tape:
        tape.watch(users)
        losses = sampled_softmax_loss(
            users, positives, negatives, mask, temperature=0.07, interest_reduction=reduction
        )

    np.testing.assert_allclose(losses, np.zeros(BATCH), atol=1e-6)
    assert np.isfinite(tape.gradient(losses, users)).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_huge_scores_stay_finite(reduction, size):
    users, positives, negatives, mask = random_inputs()
    users = tf.constant(users * size)
    with tf.GradientTape() as tape:
        tape.watch(users)
        losses = sampled_softmax_loss(
            users, positives, negatives, mask, temperature=0.07, interest_reduction=reduction
        )

    assert np.isfinite(losses).all()
    assert np.isfinite(tape.gradient(losses, users)).all()
    expected = [
        loss_of_one(users[i], positives[i], negatives[mask[i]], 0.07, reduction)
        for i in range(BATCH)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-3 * size)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_neither_the_order_of_users_nor_of_negatives_nor_of_interests_matters(reduction):
    users, positives, negatives, mask = random_inputs()
    rng = np.random.default_rng(3)
    user_order, negative_order = rng.permutation(BATCH), rng.permutation(NUM_NEGATIVES)

    losses, shuffled = (
        sampled_softmax_loss(*arrays, temperature=0.5, interest_reduction=reduction).numpy()
        for arrays in (
            (users, positives, negatives, mask),
            (
                users[user_order][:, ::-1].copy(),
                positives[user_order],
                negatives[negative_order],
                mask[user_order][:, negative_order],
            ),
        )
    )

    np.testing.assert_allclose(shuffled, losses[user_order], rtol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_equal_finite_differences(reduction):
    *arrays, mask = random_inputs()
    variables = [tf.constant(array) for array in arrays]
    weights = np.arange(1.0, BATCH + 1)  # Losses of users count differently.
    with tf.GradientTape() as tape:
        tape.watch(variables)
        losses = sampled_softmax_loss(
            *variables, mask, temperature=0.5, interest_reduction=reduction
        )
        total = tf.reduce_sum(losses * weights.astype(np.float32))
    gradients = tape.gradient(total, variables)

    def compute(users, positives, negatives):
        return sum(
            weights[i] * loss_of_one(users[i], positives[i], negatives[mask[i]], 0.5, reduction)
            for i in range(BATCH)
        )

    for gradient, expected in zip(gradients, differentiate(compute, arrays), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_widened_rows_change_nothing(reduction):
    """512 negatives are a multiple of 1 KiB, 250 are not; the others are masked."""
    users, positives, *_ = random_inputs()
    rng = np.random.default_rng(2)
    negatives = rng.normal(size=[250, DIM]).astype(np.float32)
    mask = rng.random([BATCH, 250]) < 0.9
    results = []
    for total in (250, 512):
        more = rng.normal(size=[total - 250, DIM]).astype(np.float32)
        variables = [tf.constant(users), tf.constant(np.concatenate([negatives, more]))]
        kept = np.concatenate([mask, np.zeros([BATCH, total - 250], bool)], axis=1)
        with tf.GradientTape() as tape:
            tape.watch(variables)
            losses = sampled_softmax_loss(
                variables[0],
                positives,
                variables[1],
                kept,
                temperature=0.5,
                interest_reduction=reduction,
            )
        results.append([losses, *tape.gradient(losses, variables)])

    (losses, user_gradient, item_gradient), widened = results
    expected = [
        loss_of_one(users[i], positives[i], negatives[mask[i]], 0.5, reduction)
        for i in range(BATCH)
    ]
    np.testing.assert_allclose(widened[0], expected, rtol=1e-4)
    np.testing.assert_allclose(widened[0], losses, rtol=1e-5)
    np.testing.assert_allclose(widened[1], user_gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(widened[2][:250], item_gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(widened[2][250:], 0)


@pytest.mark.parametrize("reduction", ["max", "argmax"])
def test_a_gradient_in_bfloat16_is_close_and_the_loss_is_the_same(reduction):
    *arrays, mask = random_inputs()
    losses, gradients = [], []
    for dtype in (tf.float32, tf.bfloat16):
        variables = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            losses.append(
                sampled_softmax_loss(
                    *variables,
                    mask,
                    temperature=0.5,
                    interest_reduction=reduction,
                    gradient_dtype=dtype,
                )
            )
        gradients.append(tape.gradient(losses[-1], variables))

    np.testing.assert_array_equal(*losses)
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == tf.float32
        # Numbers in bfloat16 have 8 significant bits.
        np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())
    assert any((a.numpy() != b.numpy()).any() for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_hidden_interest_is_one_that_is_not_there(reduction):
    users, positives, negatives, mask = random_inputs(seed=4)
    interests = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [1, 1, 0], [0, 1, 0]], bool)
    variables = tf.Variable(users)

    with tf.GradientTape() as tape:
        losses = sampled_softmax_loss(
            variables,
            tf.constant(positives),
            tf.constant(negatives),
            tf.constant(mask),
            tf.constant(interests),
            temperature=0.5,
            interest_reduction=reduction,
        )

    expected = [
        loss_of_one(users[i][interests[i]], positives[i], negatives[mask[i]], 0.5, reduction)
        for i in range(BATCH)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    gradient = tf.convert_to_tensor(tape.gradient(losses, variables)).numpy()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~interests], 0)


def test_two_interests_with_a_negative_each_by_hand():
    # Interests (1, 0) and (0, 1), positive (1, 0). Its score with the first is 1, where the
    # negative is (0, 2) with 0; with the second 0, where it is (2, -1) with -1.
    losses = interest_softmax_loss(
        tf.tile(tf.constant([[[1.0, 0.0], [0.0, 1.0]]]), [2, 1, 1]),
        tf.constant([[1.0, 0.0], [1.0, 0.0]]),
        tf.constant([[[0.0, 2.0]], [[2.0, -1.0]]]),
        tf.ones([2, 2, 1], tf.bool),
        tf.constant([1, 0]),
        temperature=1.0,
    )

    expected = [np.log(np.exp(0) + np.exp(-1)), np.log(np.exp(1) + np.exp(0)) - 1]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("interests", [[0, 2, 1, 1, 0], [2, 0, 0, 2, 2]])
def test_the_loss_with_negatives_of_each_interest_equals_the_formula_in_numpy(interests):
    users, positives, _, _ = random_inputs()
    rng = np.random.default_rng(1)
    negatives = rng.normal(size=[NUM_INTERESTS, NUM_NEGATIVES, DIM]).astype(np.float32)
    mask = rng.random([NUM_INTERESTS, BATCH, NUM_NEGATIVES]) < 0.7

    losses = interest_softmax_loss(
        *(tf.constant(x) for x in (users, positives, negatives, mask, interests)), temperature=0.5
    )

    expected = []
    for row, k in enumerate(interests):
        own = users[row, k] @ positives[row] / 0.5
        others = negatives[k][mask[k, row]] @ users[row, k] / 0.5
        expected.append(np.log(np.exp([own, *others]).sum()) - own)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_only_the_interest_of_a_click_and_its_negatives_learn_from_it():
    users, positives, _, _ = random_inputs()
    rng = np.random.default_rng(1)
    negatives = tf.Variable(rng.normal(size=[NUM_INTERESTS, 2, DIM]).astype(np.float32))
    interests = np.array([0, 1, 0, 1, 0])  # The third interest has no click.
    variables = [tf.Variable(users), negatives]

    with tf.GradientTape() as tape:
        loss = interest_softmax_loss(
            variables[0],
            positives,
            variables[1],
            tf.ones([NUM_INTERESTS, BATCH, 2], tf.bool),
            tf.constant(interests),
            temperature=0.5,
        )
    user_gradient, item_gradient = (tf.convert_to_tensor(g) for g in tape.gradient(loss, variables))

    learns = np.abs(user_gradient).max(axis=2) > 0
    np.testing.assert_array_equal(learns, interests[:, np.newaxis] == np.arange(NUM_INTERESTS))
    assert (np.abs(item_gradient[:2]).max(axis=2) > 0).all()
    np.testing.assert_array_equal(item_gradient[2], tf.zeros_like(item_gradient[2]))


def test_with_static_shapes_the_loss_of_each_interest_is_the_same():
    rng = np.random.default_rng(5)
    users, positives = rng.normal(size=[7, 3, 4]), rng.normal(size=[7, 4])
    negatives, mask = rng.normal(size=[3, 6, 4]), rng.random([3, 7, 6]) < 0.8
    operands = [tf.constant(values, tf.float32) for values in (users, positives, negatives)]
    interests = tf.constant([0, 2, 2, 0, 2, 2, 0])  # One of them has no click.

    def compute(**options):
        with tf.GradientTape() as tape:
            tape.watch(operands)
            losses = interest_softmax_loss(
                *operands, tf.constant(mask), interests, temperature=0.5, **options
            )
        return losses, [tf.convert_to_tensor(g) for g in tape.gradient(losses, operands)]

    (losses, gradients), (expected, wanted) = compute(has_static_shapes=True), compute()
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for gradient, other in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-5)
