"""Popularity and bigram counts, worked out by hand."""

import itertools

import numpy as np
import pytest

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from pipelines.evaluation.rankers import baselines
from recall.ragged import Ragged

FIRST = 2  # dense id of vocabulary row 0


def dense(rows):
    return Ragged.from_rows([[row + FIRST for row in items] for items in rows])


def as_dict(bigrams):
    return {
        (source, int(target)): int(count)
        for source in range(len(bigrams.offsets) - 1)
        for target, count in zip(
            bigrams.targets[bigrams.offsets[source] : bigrams.offsets[source + 1]],
            bigrams.counts[bigrams.offsets[source] : bigrams.offsets[source + 1]],
            strict=True,
        )
    }


def test_bigrams_are_neighbours_within_a_window():
    parts = [dense([[0, 1, 0, 1], [3, 2]]), dense([[0, 1]]), dense([[]])]
    assert as_dict(baselines.count_bigrams(parts, 4)) == {(0, 1): 3, (1, 0): 1, (3, 2): 1}


def test_bigrams_of_unknown_items_do_not_count():
    windows = Ragged.from_rows([[2, 1, 3], [0, 2, 3]])
    assert as_dict(baselines.count_bigrams([windows], 2)) == {(0, 1): 1}


def test_no_windows_at_all():
    bigrams = baselines.count_bigrams([], 3)
    rank = baselines.bigram_ranker(bigrams, np.array([1, 3, 2]), k=3)
    np.testing.assert_array_equal(rank(dense([[0]]), None), [[1, 2, 0]])


def test_popularity_removes_what_is_excluded():
    rank = baselines.popularity_ranker(np.array([5, 9, 7, 1]), k=3)
    np.testing.assert_array_equal(rank(dense([[1], [0]]), None), [[1, 2, 0], [1, 2, 0]])
    excluded = Ragged.from_rows([[1], [0, 2]])
    np.testing.assert_array_equal(rank(dense([[1], [0]]), excluded), [[2, 0, 3], [1, 3, -1]])


def test_popularity_of_large_counts_keeps_the_order():
    # float32 cannot tell these apart.
    counts = np.array([2**40, 2**40 + 1, 2**40 + 2])
    rank = baselines.popularity_ranker(counts, k=3)
    np.testing.assert_array_equal(rank(dense([[]]), None), [[2, 1, 0]])


def test_bigram_scores_by_hand():
    # After 0: item 1 twice, item 2 once. After 3: item 2 three times, item 4 once.
    windows = [[0, 1], [0, 1], [0, 2], [3, 2], [3, 2], [3, 2], [3, 4]]
    counts = np.array([3, 2, 4, 4, 1, 50, 40])
    bigrams = baselines.count_bigrams([dense(windows)], 7)
    rank = baselines.bigram_ranker(bigrams, counts, k=7)
    ranked = rank(dense([[3, 0], [0, 3], [0], [6]]), None)
    # Last 0, before it 3: item 2 has 1 + 3/2, item 1 has 2, item 4 has 1/2; then popularity,
    # where 2 and 3 would tie but 2 is already placed.
    np.testing.assert_array_equal(ranked[0], [2, 1, 4, 5, 6, 3, 0])
    # Last 3, before it 0: item 2 has 3 + 1/2; items 1 and 4 have 1 each, 1 is more popular.
    np.testing.assert_array_equal(ranked[1], [2, 1, 4, 5, 6, 3, 0])
    np.testing.assert_array_equal(ranked[2], [1, 2, 5, 6, 3, 0, 4])
    # Nothing ever followed 6: popularity; 2 and 3 tie.
    np.testing.assert_array_equal(ranked[3][:2], [5, 6])
    assert set(ranked[3][2:4]) == {2, 3}
    np.testing.assert_array_equal(ranked[3][4:], [0, 1, 4])


def test_bigram_skips_unknown_items_and_empty_histories():
    bigrams = baselines.count_bigrams([dense([[0, 1]])], 3)
    rank = baselines.bigram_ranker(bigrams, np.array([1, 1, 5]), k=2)
    ranked = rank(Ragged.from_rows([[2, 1], [1], []]), None)
    np.testing.assert_array_equal(ranked[0], [1, 2])
    assert (ranked[1:, 0] == 2).all()


def test_bigram_excludes():
    bigrams = baselines.count_bigrams([dense([[0, 1], [0, 2]])], 4)
    rank = baselines.bigram_ranker(bigrams, np.array([2, 1, 1, 9]), k=2)
    excluded = Ragged.from_rows([[0, 1]])
    np.testing.assert_array_equal(rank(dense([[1, 0]]), excluded), [[2, 3]])


@pytest.mark.parametrize("block_items", [3, 64])
def test_bigram_equals_plain_python(block_items, monkeypatch):
    monkeypatch.setattr("pipelines.evaluation.rankers.full_ranking._BLOCK_ITEMS", block_items)
    generator = np.random.default_rng(2)
    num_items = 20
    windows = [generator.integers(0, num_items, generator.integers(2, 9)) for _ in range(60)]
    counts = np.bincount(np.concatenate(windows), minlength=num_items)
    histories = [generator.integers(0, num_items, generator.integers(1, 5)) for _ in range(40)]
    bigrams = baselines.count_bigrams([dense(windows[:30]), dense(windows[30:])], num_items)
    excluded = Ragged.from_rows(histories)
    ranked = baselines.bigram_ranker(bigrams, counts, k=12)(dense(histories), excluded)
    followers = np.zeros((num_items, num_items))
    for window in windows:
        for source, target in itertools.pairwise(window):
            followers[source, target] += 1
    for history, row in zip(histories, ranked, strict=True):
        scores = followers[history[-1]].copy()
        if len(history) > 1:
            scores += followers[history[-2]] / 2
        left = [i for i in range(num_items) if i not in set(history)]
        expected = sorted(((scores[i], counts[i]) for i in left), reverse=True)[:12]
        assert [(scores[i], counts[i]) for i in row] == expected


def test_lists_of_a_baseline_can_be_evaluated():
    held_out = HeldOutUsers(np.array([b"a", b"b"], object), dense([[0], [1, 0]]), dense([[1], [2]]))
    rank = baselines.popularity_ranker(np.array([3, 2, 1]), k=2)
    result = lists.evaluate_lists(rank, held_out, ks=[1, 2], exclude_seen=True)
    np.testing.assert_array_equal(result.top_rows, [[1, 2], [2, -1]])
    assert result.metrics["recall@1"] == 1
