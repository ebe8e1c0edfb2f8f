"""Ranking by TensorFlow gives the lists of ranking by numpy. It runs on any device."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import gpu_ranking, lists
from pipelines.evaluation.rankers import full_ranking
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID
from tests import gpu_kernels, pretended_gpu

NUM_USERS, NUM_ITEMS, K = 30, 400, 20


def rank(vectors, items, excluded, k=K):
    ranker = gpu_ranking.device_ranker(lambda histories: vectors, items, 5, k)
    return ranker(Ragged.from_rows([[2]] * len(vectors)), excluded)


def random_rows(rng):
    """Rows of seen items; those outside of the catalogue stand for padding and unknown ids."""
    rows = [rng.integers(-2, NUM_ITEMS + 3, rng.integers(0, 60)) for _ in range(NUM_USERS)]
    return Ragged.from_rows(rows)


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=[NUM_USERS, 3, 8]), rng.normal(size=[NUM_ITEMS, 8])
    return users.astype(np.float32), items.astype(np.float32)


@pytest.fixture
def rounded(monkeypatch):
    """Products that lose as many bits as TF32 would, which a processor does not have.

    Yields:
        Calls of the product, as pairs of the number of users and whether TF32 was allowed.
    """
    calls = []
    multiply = gpu_ranking._multiply
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(True)

    def cut(tensor):
        """10 bits of the fraction stay."""
        bits = tf.bitwise.bitwise_and(tf.bitcast(tensor, tf.uint32), 0xFFFFE000)
        return tf.bitcast(bits, tf.float32)

    def multiply_rounded(users, items):
        is_rounded = tf.config.experimental.tensor_float_32_execution_enabled()
        calls.append((len(users), is_rounded))
        return multiply(*(map(cut, (users, items)) if is_rounded else (users, items)))

    monkeypatch.setattr(gpu_ranking, "_multiply", multiply_rounded)
    yield calls
    tf.config.experimental.enable_tensor_float_32_execution(before)


@pytest.mark.parametrize("scores_at_once", [1 << 28, 30 * 3 * 64])
@pytest.mark.parametrize("has_excluded", [False, True])
@pytest.mark.parametrize("more_candidates", [64, 1])
def test_lists_are_those_of_numpy(
    vectors, rounded, scores_at_once, has_excluded, more_candidates, monkeypatch
):
    monkeypatch.setattr(gpu_ranking, "_SCORES_AT_ONCE", scores_at_once)
    monkeypatch.setattr(gpu_ranking, "_MORE_CANDIDATES", more_candidates)
    users, items = vectors
    excluded = random_rows(np.random.default_rng(1)) if has_excluded else None

    expected = full_ranking.rank_catalogue(users, items, K, excluded).rows

    np.testing.assert_array_equal(rank(users, items, excluded), expected)
    assert rounded[0] == (NUM_USERS, True)


def test_only_users_who_are_not_sure_are_ranked_again(vectors, rounded, monkeypatch):
    users, items = vectors
    rank(users, items, None)
    assert rounded == [(NUM_USERS, True)]

    # With one candidate more the next score is often nearer than the rounding.
    monkeypatch.setattr(gpu_ranking, "_MORE_CANDIDATES", 1)
    rounded.clear()
    rank(users, items, None)

    (first, second) = rounded
    assert first == (NUM_USERS, True)
    assert 0 < second[0] < NUM_USERS
    assert not second[1]


def test_what_rounding_hides_is_found(rounded):
    """25 items of 400 are better by less than the rounding, which makes all scores equal."""
    items = np.ones([NUM_ITEMS, 1], np.float32)
    items[:25] += np.float32(2.0**-11)

    found = rank(np.ones([1, 1, 1], np.float32), items, None)

    assert set(found[0]) <= set(range(25))
    assert rounded == [(1, True), (1, False)]


@pytest.mark.parametrize("scores_at_once", [1 << 28, 30 * 3 * 64])
def test_equal_scores_have_the_order_of_numpy(vectors, rounded, scores_at_once, monkeypatch):
    monkeypatch.setattr(gpu_ranking, "_SCORES_AT_ONCE", scores_at_once)
    users, items = (np.round(values) for values in vectors)  # Sums without rounding.
    items[:] = items[np.arange(NUM_ITEMS) % 3]  # A third of all items has one score.
    excluded = random_rows(np.random.default_rng(2))

    expected = full_ranking.rank_catalogue(users, items, K, excluded).rows

    np.testing.assert_array_equal(rank(users, items, excluded), expected)


def test_a_gpu_has_a_kernel_for_every_operation():
    def find(users, items):
        candidates = gpu_ranking._find_best(users, items, np.array([[0, 3]]), 2 * K)
        return gpu_ranking._score_again(users, items, candidates, K)

    shapes = ([NUM_USERS, 3, 8], [NUM_ITEMS, 8])
    graph = tf.function(find).get_concrete_function(*map(tf.TensorSpec, shapes)).graph
    operations = gpu_kernels.operations_of(graph)

    assert "TopKV2" in {operation.type for operation in operations}
    assert gpu_kernels.find_missing(operations, "GPU", "DEFAULT") == set()


def test_lists_end_where_no_item_is_left(vectors, rounded):
    users, items = vectors
    excluded = Ragged.from_rows([list(range(NUM_ITEMS - 3))] * NUM_USERS)

    found = rank(users, items, excluded)

    assert (found[:, 3:] == full_ranking.EMPTY_SLOT).all()
    assert {tuple(sorted(row)) for row in found[:, :3].tolist()} == {(397, 398, 399)}


def test_a_catalogue_may_be_smaller_than_a_list(vectors):
    users, items = vectors
    expected = full_ranking.rank_catalogue(users, items[:7], K).rows

    np.testing.assert_array_equal(rank(users, items[:7], None), expected)
    assert (expected[:, 7:] == full_ranking.EMPTY_SLOT).all()


def test_the_rounding_of_products_is_put_back(vectors):
    before = tf.config.experimental.tensor_float_32_execution_enabled()

    rank(*vectors, None)

    assert tf.config.experimental.tensor_float_32_execution_enabled() is before


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_an_evaluation_on_a_gpu_has_the_metrics_of_one_without(
    vectors, rounded, exclude_seen, monkeypatch
):
    users, items = vectors
    rng = np.random.default_rng(3)
    # One positive in three is a repeated click.
    histories = [[*rng.integers(2, 402, rng.integers(1, 40)), user + 2] for user in range(30)]
    third_best = full_ranking.rank_catalogue(users, items, 3).rows[:, 2] + FIRST_ITEM_ID
    positives = [[third_best[user] if user % 3 else user + 2] for user in range(30)]
    names = np.array([str(user).encode() for user in range(30)], object)
    held_out = HeldOutUsers(names, Ragged.from_rows(histories), Ragged.from_rows(positives))

    def compute_user_vectors(history_ids):
        """The user is the last click of the history."""
        lengths = (history_ids > 0).sum(axis=1)
        last = history_ids[np.arange(len(history_ids)), lengths - 1]
        return users[last - FIRST_ITEM_ID]

    def evaluate():
        return lists.evaluate_user_vectors(
            compute_user_vectors,
            items,
            held_out,
            max_history_length=50,
            ks=(5, K),
            exclude_seen=exclude_seen,
        )

    with monkeypatch.context() as patch:
        patch.setattr(lists, "_has_gpu", lambda: False)
        without = evaluate()
    assert not rounded
    pretended_gpu.pretend(monkeypatch.setattr)

    found = evaluate()

    assert rounded == [(NUM_USERS, True)]
    np.testing.assert_array_equal(found.top_rows, without.top_rows)
    assert found.metrics == without.metrics
    assert 0.4 < found.metrics["recall@5"] < 0.8
