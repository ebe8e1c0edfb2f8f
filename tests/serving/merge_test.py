import numpy as np

from serving.merge import merge_max_score


def _merge(*lists):
    rows = [np.array([row for row, _ in pairs], dtype=np.int64) for pairs in lists]
    scores = [np.array([score for _, score in pairs], dtype=np.float32) for pairs in lists]
    merged = merge_max_score(rows, scores)
    return list(
        zip(
            merged.rows.tolist(),
            merged.scores.round(4).tolist(),
            merged.interests.tolist(),
            strict=True,
        )
    )


def test_item_of_two_interests_keeps_its_best_score():
    merged = _merge([(5, 0.5), (2, 0.25)], [(2, 0.75), (5, 0.125)])
    assert merged == [(2, 0.75, 1), (5, 0.5, 0)]


def test_ties_go_to_the_lower_row_and_the_lower_interest():
    merged = _merge([(9, 0.5), (4, 0.5)], [(4, 0.5), (1, 0.5)])
    assert merged == [(1, 0.5, 1), (4, 0.5, 0), (9, 0.5, 0)]


def test_lists_of_different_lengths_and_empty_lists():
    assert _merge([], [(3, -0.5)], []) == [(3, -0.5, 1)]
    assert _merge([], []) == []


def test_equals_sorting_all_scores():
    random = np.random.default_rng(5)
    scores = random.normal(size=(3, 50)).astype(np.float32)
    lists = [np.argsort(-row, kind="stable")[:10] for row in scores]
    merged = merge_max_score(lists, [scores[k][rows] for k, rows in enumerate(lists)])
    best = scores.max(axis=0)
    assert merged.rows[:10].tolist() == np.argsort(-best, kind="stable")[:10].tolist()
    np.testing.assert_array_equal(merged.scores[:10], np.sort(best)[::-1][:10])
    assert merged.interests[:10].tolist() == scores.argmax(axis=0)[merged.rows[:10]].tolist()


def test_take_keeps_the_columns_together():
    merged = merge_max_score([np.array([1, 2, 3])], [np.array([3.0, 2.0, 1.0])])
    taken = merged.take(np.array([True, False, True]))
    assert (taken.rows.tolist(), taken.scores.tolist()) == ([1, 3], [3.0, 1.0])
