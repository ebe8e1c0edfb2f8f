"""Ranking metrics: by hand, against an independent implementation, and their edges."""

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall.metrics import ranking
from recall.ragged import Ragged


def compute(retrieved, positives, ks):
    return ranking.compute_ranking_metrics(np.array(retrieved), Ragged.from_rows(positives), ks)


def test_two_users_by_hand():
    # User 0: positives 7 and 9 at ranks 2 and 4. User 1: 3 positives, one at rank 1.
    values = compute([[5, 7, 6, 9], [1, 2, 3, 4]], [[9, 7], [1, 50, 60]], [1, 2, 4]).values
    # k = 1: user 0 finds 0 of 2, user 1 finds 1 of 3; 1 of 5 events.
    assert values["recall@1"] == pytest.approx((0 / 2 + 1 / 3) / 2)
    assert values["hit_rate@1"] == pytest.approx(1 / 5)
    assert values["mrr@1"] == pytest.approx((0 + 1) / 2)
    assert values["ndcg@1"] == pytest.approx((0 + 1) / 2)
    # k = 2: user 0 has 7 at rank 2; the ideal list has both positives.
    ideal = 1 + 1 / math.log2(3)
    assert values["ndcg@2"] == pytest.approx((1 / math.log2(3) / ideal + 1 / ideal) / 2)
    assert values["mrr@2"] == pytest.approx((1 / 2 + 1) / 2)
    # k = 4: the ideal list of user 1 has min(3, 4) positives.
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    assert values["ndcg@4"] == pytest.approx((gain / ideal + 1 / (ideal + 1 / 2)) / 2)
    assert values["recall@4"] == pytest.approx((1 + 1 / 3) / 2)
    assert values["hit_rate@4"] == pytest.approx(3 / 5)


def test_equals_ir_measures():
    generator = np.random.default_rng(0)
    retrieved = np.stack([generator.permutation(40)[:20] for _ in range(60)])
    positives = [generator.permutation(60)[: generator.integers(1, 8)] for _ in range(60)]
    ks = [1, 3, 10, 20]
    qrels = {str(u): {str(i): 1 for i in row} for u, row in enumerate(positives)}
    run = {
        str(u): {str(i): float(-rank) for rank, i in enumerate(row)}
        for u, row in enumerate(retrieved)
    }
    measures = {
        "recall": ir_measures.R,
        "ndcg": ir_measures.nDCG,
        "mrr": ir_measures.RR,
    }
    expected = ir_measures.calc_aggregate(
        [measure @ k for measure in measures.values() for k in ks], qrels, run
    )
    values = compute(retrieved, positives, ks).values
    for name, measure in measures.items():
        for k in ks:
            assert values[f"{name}@{k}"] == pytest.approx(expected[measure @ k]), (name, k)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 15), min_size=1, max_size=6), min_size=1, max_size=6))
def test_equals_plain_python(positives):
    generator = np.random.default_rng(len(positives))
    retrieved = np.stack([generator.permutation(12)[:8] for _ in positives])
    values = compute(retrieved, positives, [3, 8]).values
    for k in (3, 8):
        recalls, ndcgs, found_events, events = [], [], 0, 0
        for row, wanted in zip(retrieved, positives, strict=True):
            hits = [int(i) in set(wanted) for i in row[:k]]
            distinct = len(set(wanted))
            recalls.append(sum(hits) / distinct)
            gain = sum(1 / math.log2(r + 2) for r, hit in enumerate(hits) if hit)
            ndcgs.append(gain / sum(1 / math.log2(r + 2) for r in range(min(distinct, k))))
            found_events += sum(i in row[:k] for i in wanted)
            events += len(wanted)
        assert values[f"recall@{k}"] == pytest.approx(np.mean(recalls))
        assert values[f"ndcg@{k}"] == pytest.approx(np.mean(ndcgs))
        assert values[f"hit_rate@{k}"] == pytest.approx(found_events / events)


def test_hit_rate_equals_recall_with_one_positive():
    values = compute([[1, 2], [3, 4], [5, 6]], [[2], [9], [5]], [1, 2]).values
    assert values["hit_rate@2"] == values["recall@2"] == pytest.approx(2 / 3)


def test_a_repeated_positive_is_one_item_but_two_events():
    values = compute([[4, 5]], [[4, 4, 8]], [2]).values
    assert values["recall@2"] == pytest.approx(1 / 2)
    assert values["hit_rate@2"] == pytest.approx(2 / 3)
    assert values["ndcg@2"] == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_unknown_positives_and_empty_slots_never_meet():
    values = compute([[3, -1, -1]], [[-1, -1, 3]], [3]).values
    assert values["recall@3"] == pytest.approx(1 / 3), "two unknown events are two missed items"
    assert values["hit_rate@3"] == pytest.approx(1 / 3)
    assert values["mrr@3"] == 1
    assert compute([[-1, -1]], [[-1]], [2]).values["recall@2"] == 0


def test_ranks_are_of_events():
    ranks = ranking.compute_ranks(
        np.array([[9, 8, 7], [7, 9, 1]]), Ragged.from_rows([[7, 7, 1], [7, -1]])
    )
    np.testing.assert_array_equal(ranks, [2, 2, 3, 0, 3])


def test_standard_errors():
    metrics = compute([[1], [2], [3], [4]], [[1], [9], [9], [9]], [1])
    # Values 1, 0, 0, 0: sample variance 1/4, standard error sqrt(1/4 / 4).
    assert metrics.standard_errors["recall@1"] == pytest.approx(0.25)
    assert metrics.standard_errors["hit_rate@1"] == pytest.approx(0.25)
    assert compute([[1]], [[1]], [1]).standard_errors == {}


def test_standard_error_of_the_hit_rate_covers_the_truth():
    generator = np.random.default_rng(3)
    shares, errors = [], []
    for _ in range(200):
        retrieved = np.tile(np.arange(5), (80, 1))
        # Users differ in the number of events: the ratio of sums is what varies.
        positives = [generator.integers(0, 10, generator.integers(1, 6)) for _ in range(80)]
        metrics = compute(retrieved, positives, [5])
        shares.append(metrics.values["hit_rate@5"])
        errors.append(metrics.standard_errors["hit_rate@5"])
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.12)


@pytest.mark.parametrize(
    ("retrieved", "positives", "ks", "message"),
    [
        ([[1, 2]], [[1], [2]], [1], "same number of users"),
        ([[1, 2]], [[]], [1], "without positives"),
        ([[1, 2]], [[1]], [3], r"in \[1, 2\]"),
        ([[1, 2]], [[1]], [0], r"in \[1, 2\]"),
    ],
)
def test_wrong_arguments(retrieved, positives, ks, message):
    with pytest.raises(ValueError, match=message):
        compute(retrieved, positives, ks)
