"""What was planted, and which futures the past foretells."""

import numpy as np
import pytest

from pipelines.experiments import planted_truth
from pipelines.experiments.planted_truth import PlantedLog
from pipelines.synthetic.world import PlantedUsers
from recall.errors import InputError
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

# Items 0..5 have interests 0 0 1 1 2 2; u1 has 0 and turns to 1 after 3 clicks, u2 has 2.
TRUTH = PlantedLog(
    np.array([0, 0, 1, 1, 2, 2]),
    PlantedUsers(np.array([[0], [2]]), np.array([[1], [2]]), np.array([3, 9])),
    3,
)


def test_a_future_is_foretold_by_the_interests_so_far():
    future_ids = np.array([[0, 2, 0], [4, 5, 1]]) + FIRST_ITEM_ID
    future_ids[0, 2] = 0  # Padding.
    shares = np.zeros((2, 3, 3))
    shares[0] = [[0.6, 0.3, 0.1], [0.1, 0.6, 0.3], [0, 0, 1]]
    shares[1] = [[0.5, 0.4, 0.1], [0.5, 0.3, 0.2], [0.1, 0.5, 0.4]]
    # u1: prototype 0 has interest 0, prototype 1 interest 1, not to be foreseen before the turn.
    # u2: prototype 0 has 2, prototype 1 interest 0. Nobody's clicks are of prototype 2.
    find = planted_truth.find_predictable
    early = find(TRUTH, [b"u1", b"u2"], np.array([2, 2]), future_ids, shares)
    assert early.tolist() == [[True, False, False], [True, False, False]]
    late = find(TRUTH, [b"u1", b"u2"], np.array([4, 2]), future_ids, shares)
    assert late.tolist() == [[True, True, False], [True, False, False]]


def test_items_have_the_interest_of_their_category():
    vocabulary = ItemVocabulary(["i1", "i2"], categories=[["hair accessories"], ["skirts"]])
    truth = planted_truth.read(
        "synthetic:users=4,items=2,interests=2,interests_per_user=1", vocabulary
    )
    # Names in the order of the interests: skirts, hair accessories.
    assert truth.interest_of.tolist() == [1, 0]


def test_a_real_log_has_no_truth():
    with pytest.raises(InputError, match="has no planted interests"):
        planted_truth.read("events.csv", ItemVocabulary(["a"]))


def test_mutual_information_by_hand():
    """Four clicks, one of them under the other label."""
    first, second = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    information = (
        0.25 * np.log(0.25 / 0.125) + 0.25 * np.log(0.25 / 0.375) + 0.5 * np.log(0.5 / 0.375)
    )
    entropies = np.log(2), -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    found = planted_truth.normalised_mutual_information(first, second)
    assert found == pytest.approx(information / np.mean(entropies))
    assert planted_truth.normalised_mutual_information(first, np.zeros(4, int)) == 0


def test_a_selection_is_described_by_counts():
    is_confident = np.array([[True, True, False], [True, False, False]])
    is_predictable = np.array([[True, False, False], [True, True, False]])
    found = planted_truth.describe_selection(is_confident, is_predictable)
    assert found == pytest.approx(
        {
            "pair_base_rate": 3 / 6,
            "confident_precision": 2 / 3,
            "confident_lift": 4 / 3,
            "confident_recall": 2 / 3,
        }
    )
