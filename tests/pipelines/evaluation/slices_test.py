"""Groups of held-out clicks, by hand."""

import numpy as np
import pytest

from pipelines.evaluation import slices
from pipelines.evaluation.exposure import measure_exposure, popularity_deciles
from pipelines.evaluation.user_results import UserResults
from recall.ragged import Ragged
from recall.vocabulary import ItemVocabulary

VOCABULARY = ItemVocabulary(
    [f"i{n}" for n in range(20)],
    [*range(200, 10, -10), 0],
    [("all", "even" if n % 2 == 0 else "odd") for n in range(20)],
)
"""Items 0 and 1 are the most clicked tenth, 18 and 19 the last one; 19 was never clicked."""


def make_results(rows, places, history_lengths=None, num_trained=None):
    """A user for each row of positives."""
    number = len(rows)
    return UserResults(
        np.array([f"u{n}" for n in range(number)], object),
        np.array(history_lengths if history_lengths is not None else [1] * number),
        np.array(num_trained if num_trained is not None else [5] * number),
        Ragged.from_rows(rows),
        {"model": np.array(places), "popularity": np.zeros(len(places), int)},
        depth=20,
        num_tested=number,
    )


def members(groups):
    return {group.name: np.flatnonzero(group.is_member).tolist() for group in groups}


def test_deciles_follow_the_counts_not_the_order():
    counts = np.array([1, 50, 3, 40, 5, 30, 7, 20, 9, 10])
    assert popularity_deciles(counts).tolist() == [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]


def test_groups_by_the_length_of_the_history():
    results = make_results([[0], [1, 2], [3], [4]], [0] * 5, [1, 3, 10, 101])
    found = members(slices.by_history_length(results))
    assert found["1 to 2"] == [0]
    assert found["3 to 5"] == [1, 2]
    assert found["6 to 10"] == [3]
    assert found["101 or more"] == [4]
    assert found["11 to 20"] == []


def test_groups_by_what_training_has_seen_of_the_user():
    results = make_results([[0], [1], [2]], [0] * 3, num_trained=[0, 7, -1])
    assert members(slices.by_novelty(results)) == {"new users": [0], "returning users": [1]}


def test_groups_by_the_popularity_of_the_item():
    results = make_results([[0], [18], [19], [-1]], [0] * 4)
    found = members(slices.by_popularity(results, VOCABULARY))
    assert found["top 10 %"] == [0]
    assert found["last 10 %"] == [1]
    assert found["not in training"] == [2, 3]


def test_groups_by_category_leave_out_what_all_items_have():
    results = make_results([[0], [1], [2], [-1]], [0] * 4)
    assert members(slices.by_category(results, VOCABULARY)) == {"even": [0, 2], "odd": [1]}


def test_a_hit_rate_is_of_clicks_and_its_distance_is_to_the_first_ranker():
    """40 users with two clicks each: the first in place 1, the second in place 11."""
    results = make_results([[0, 1]] * 40, [1, 11] * 40)
    group = slices.Slice("all", np.ones(80, bool))
    (found,) = slices.measure(results, [group], k=10)
    assert (found.num_clicks, found.num_users) == (80, 40)
    assert found.hit_rates.metrics["model"] == pytest.approx((0.5, 0.5, 0.5))
    assert found.hit_rates.metrics["popularity"] == (0, 0, 0)
    assert found.hit_rates.differences["popularity"] == pytest.approx((0.5, 0.5, 0.5))


def test_small_groups_are_left_out():
    results = make_results([[0]] * 30, [1] * 30)
    groups = [slices.Slice(str(n), np.arange(30) < n) for n in (19, 20)]
    assert [one.name for one in slices.measure(results, groups, k=10)] == ["20"]


def test_exposure_counts_slots_clicks_and_targets():
    lists = {"model": np.array([[0, 5, 19], [1, -1, 0]]), "popularity": np.array([[0, 1, 2]] * 2)}
    found = measure_exposure(lists, np.array([0, 19, -1]), VOCABULARY.counts, k=2)
    assert found["items"] == [2] * 10
    assert found["clicks"][0] == 200 + 190
    assert found["targets"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found["slots"]["model"] == [2, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert found["slots"]["popularity"] == [4, 0, 0, 0, 0, 0, 0, 0, 0, 0]
