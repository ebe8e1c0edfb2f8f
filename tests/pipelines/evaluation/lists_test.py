"""The evaluator against another implementation, and what must not move a metric.

Vectors of small integers have inner products without rounding: what differs
between two ways of cutting the same work is then a defect, and many scores tie.
"""

import ir_measures
import numpy as np
import pytest

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from pipelines.evaluation.rankers import full_ranking
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID, UNKNOWN_ID

NUM_USERS, NUM_ITEMS, NUM_INTERESTS, DIM = 41, 300, 3, 6
KS = (1, 5, 20)


def draw_held_out(seed=0, most_positives=4):
    """Users with repeated clicks, unknown items, and positives they have seen."""
    generator = np.random.default_rng(seed)

    def ids(low, high):
        return generator.integers(
            UNKNOWN_ID, FIRST_ITEM_ID + NUM_ITEMS, generator.integers(low, high)
        )

    return HeldOutUsers(
        np.array([f"u{user}".encode() for user in range(NUM_USERS)], object),
        Ragged.from_rows([ids(1, 60) for _ in range(NUM_USERS)]),
        Ragged.from_rows([ids(1, most_positives + 1) for _ in range(NUM_USERS)]),
    )


class Vectors:
    """Vectors of items, and of users by the newest items of their history."""

    def __init__(self, draw):
        self.items = draw((NUM_ITEMS, DIM))
        self._by_last_item = draw((FIRST_ITEM_ID + NUM_ITEMS, NUM_INTERESTS, DIM))

    def of_users(self, history_ids):
        lengths = (history_ids != 0).sum(axis=1)
        return self._by_last_item[history_ids[np.arange(len(history_ids)), lengths - 1]]

    def scores(self, held_out):
        """`[num_users, num_items]` in float64, one user at a time."""
        last = [held_out.histories[user][-1] for user in range(held_out.num_users)]
        users = self._by_last_item[last].astype(np.float64)
        return np.array([(self.items @ interests.T).max(axis=1) for interests in users])


def tied_vectors(seed=1):
    generator = np.random.default_rng(seed)
    return Vectors(lambda shape: generator.integers(-1, 2, shape).astype(np.float32))


def real_vectors(seed=1):
    generator = np.random.default_rng(seed)
    return Vectors(lambda shape: generator.standard_normal(shape).astype(np.float32))


def evaluate(vectors, held_out, exclude_seen=True, ks=KS, **arguments):
    return lists.evaluate_user_vectors(
        vectors.of_users,
        vectors.items,
        held_out,
        max_history_length=60,
        ks=ks,
        exclude_seen=exclude_seen,
        **arguments,
    )


def assert_same(result, expected):
    np.testing.assert_array_equal(result.top_rows, expected.top_rows)
    assert result.metrics == expected.metrics
    assert result.standard_errors == expected.standard_errors


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_equals_ir_measures_on_the_same_scores(exclude_seen):
    """trec_eval ranks the scores itself; only the scores are handed over."""
    held_out, vectors = draw_held_out(), real_vectors()
    run, qrels = {}, {}
    for user, scores in enumerate(vectors.scores(held_out)):
        seen = set(held_out.histories[user].tolist()) if exclude_seen else set()
        run[str(user)] = {
            str(row): score for row, score in enumerate(scores) if row + FIRST_ITEM_ID not in seen
        }
        # Two clicks of unknown items are two items that no list holds.
        names = [
            f"unknown{place}" if dense == UNKNOWN_ID else str(dense - FIRST_ITEM_ID)
            for place, dense in enumerate(held_out.positives[user].tolist())
        ]
        qrels[str(user)] = dict.fromkeys(names, 1)
    measures = {"recall": ir_measures.R, "ndcg": ir_measures.nDCG, "mrr": ir_measures.RR}
    expected = ir_measures.calc_aggregate(
        [measure @ k for measure in measures.values() for k in KS], qrels, run
    )
    metrics = evaluate(vectors, held_out, exclude_seen).metrics
    for name, measure in measures.items():
        for k in KS:
            assert metrics[f"{name}@{k}"] == pytest.approx(expected[measure @ k]), (name, k)
    assert 0 < metrics["recall@5"] < 1


@pytest.mark.parametrize("batch_size", [1, 2, 7, 40])
def test_the_batch_size_moves_nothing(batch_size):
    held_out, vectors = draw_held_out(), tied_vectors()
    expected = evaluate(vectors, held_out)
    assert_same(evaluate(vectors, held_out, batch_size=batch_size), expected)


@pytest.mark.parametrize("block_items", [64, 7])
def test_the_blocks_of_the_catalogue_move_nothing(block_items, monkeypatch):
    held_out, vectors = draw_held_out(), tied_vectors()
    expected = evaluate(vectors, held_out)
    monkeypatch.setattr(full_ranking, "_BLOCK_ITEMS", block_items)
    monkeypatch.setattr(full_ranking, "_TILE_ITEMS", 5)
    assert_same(evaluate(vectors, held_out), expected)


def test_the_order_of_the_users_moves_nothing():
    held_out, vectors = draw_held_out(), tied_vectors()
    order = np.random.default_rng(2).permutation(NUM_USERS)
    expected, shuffled = evaluate(vectors, held_out), evaluate(vectors, held_out.take(order))
    np.testing.assert_array_equal(shuffled.top_rows, expected.top_rows[order])
    for name, value in expected.metrics.items():
        assert shuffled.metrics[name] == pytest.approx(value, rel=1e-12), name


def test_longer_lists_leave_the_shorter_cut_offs_alone():
    held_out, vectors = draw_held_out(), tied_vectors()
    short, long = evaluate(vectors, held_out), evaluate(vectors, held_out, ks=(*KS, 200))
    np.testing.assert_array_equal(long.top_rows[:, : max(KS)], short.top_rows)
    assert short.metrics.items() <= long.metrics.items()


def test_excluding_before_the_cut_equals_filtering_the_whole_ranking():
    """The seen items leave, and the others keep their order, ties included."""
    held_out, vectors = draw_held_out(), tied_vectors()
    everything = evaluate(vectors, held_out, exclude_seen=False, ks=(NUM_ITEMS,)).top_rows
    excluded = evaluate(vectors, held_out)
    for user, ranking in enumerate(everything):
        unseen = ranking[~np.isin(ranking + FIRST_ITEM_ID, held_out.histories[user])]
        np.testing.assert_array_equal(excluded.top_rows[user], unseen[: max(KS)])


def test_a_seen_item_counts_as_seen_however_long_ago_and_how_often():
    """Also where the user tower no longer sees that far back."""
    held_out, vectors = draw_held_out(), tied_vectors()
    twice = Ragged.from_rows(
        [
            np.concatenate([row[::-1], row])
            for row in map(held_out.histories.__getitem__, range(NUM_USERS))
        ]
    )
    assert twice.lengths.max() > 60
    repeated = HeldOutUsers(held_out.user_ids, twice, held_out.positives)
    assert_same(evaluate(vectors, repeated), evaluate(vectors, held_out))


def test_a_model_without_a_preference_is_not_lent_the_order_of_the_vocabulary():
    """It is sorted by popularity, so ties by row would be the popularity baseline."""
    generator = np.random.default_rng(3)
    # Half of the positives are among the 30 most popular items.
    popular, any_item = (generator.integers(0, size, NUM_USERS * 20) for size in (30, NUM_ITEMS))
    positives = np.where(generator.random(NUM_USERS * 20) < 0.5, popular, any_item)
    held_out = draw_held_out()
    wanted = HeldOutUsers(
        held_out.user_ids,
        held_out.histories,
        Ragged.from_rows((positives + FIRST_ITEM_ID).reshape(NUM_USERS, 20)),
    )
    indifferent = real_vectors()
    indifferent.items[:] = 1
    hit_rate = evaluate(indifferent, wanted, exclude_seen=False, ks=(30,)).metrics["hit_rate@30"]
    # Chance is 30 / 300; ties by row would find .5 and a tenth of the rest, .55.
    assert np.mean(positives < 30) > 0.5
    assert hit_rate == pytest.approx(0.1, abs=0.05)
