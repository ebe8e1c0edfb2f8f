"""Which interest found what, and what it has more of than the others."""

import numpy as np
import pytest

from pipelines.evaluation.interest_profiles import describe_slots, find_interests

CATEGORIES = [("all", "red")] * 4 + [("all", "blue")] * 4 + [("all",)] * 2


def test_the_interest_of_a_slot_is_the_one_that_scores_it_highest():
    users = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    items = np.array([[0.9, 0.1], [0.2, 0.7], [0.5, 0.6]])
    interests, scores = find_interests(users, items, np.array([[1, 0, -1, 2]]))
    assert interests.tolist() == [[1, 0, -1, 1]]
    assert scores[0, [0, 1, 3]].tolist() == [0.7, 0.9, 0.6]
    assert scores[0, 2] == -np.inf


def test_lift_is_the_share_in_an_interest_by_the_share_in_all():
    """Interest 0 has 40 red slots and 20 blue ones, interest 1 has 20 blue and 20 without."""
    rows = np.array([[0] * 40 + [4] * 20 + [4] * 20 + [8] * 20])
    interests = np.array([[0] * 60 + [1] * 40])
    first, second = describe_slots(rows, interests, 2, CATEGORIES)
    assert first["share_of_slots"] == pytest.approx(0.6)
    (red,) = first["categories"]  # Blue is as frequent there as elsewhere, or less.
    assert red == {"name": "red", "lift": pytest.approx(1 / 0.6), "count": 40, "total": 40}
    (blue,) = second["categories"]
    assert blue == {"name": "blue", "lift": pytest.approx(0.5 / 0.4), "count": 20, "total": 40}
    assert [item["name"] for item in second["items"]] == [8, 4]


def test_what_was_found_once_comes_after_what_was_found_often():
    """Item 1 is in one slot, of interest 0 alone; item 0 in 50 of which 45 are interest 0's."""
    rows = np.array([[0] * 50 + [1] + [2] * 50])
    interests = np.array([[0] * 45 + [1] * 5 + [0] + [1] * 50])
    first, _ = describe_slots(rows, interests, 2, CATEGORIES)
    assert [item["name"] for item in first["items"]] == [0, 1]
    assert first["items"][1]["lift"] > first["items"][0]["lift"]


def test_an_interest_without_slots_stands_for_nothing():
    rows, interests = np.array([[0, -1]]), np.array([[1, -1]])
    first, second = describe_slots(rows, interests, 2, CATEGORIES)
    assert first == {"share_of_slots": 0.0, "categories": [], "items": []}
    assert second["share_of_slots"] == 1.0
