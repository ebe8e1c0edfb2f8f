"""What the evaluation leaves for the report, from towers that are arrays."""

import numpy as np
import pytest

from pipelines.artifacts import records
from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import details, lists
from recall.ragged import Ragged
from recall.settings.evaluation import EvaluationConfig
from recall.vocabulary import ItemVocabulary

NUM_ITEMS = 12
VOCABULARY = ItemVocabulary(
    [f"i{n}" for n in range(NUM_ITEMS)],
    range(NUM_ITEMS, 0, -1),
    [("low",) if n < 6 else ("high",) for n in range(NUM_ITEMS)],
)
ITEM_VECTORS = np.eye(NUM_ITEMS, dtype=np.float32)
CONFIG = EvaluationConfig(ks=(2, 3), thresholds=())


def compute_user_vectors(history_ids):
    """Interest 0 wants the item after the last click, interest 1 the one three after it."""
    lengths = (history_ids > 0).sum(axis=1)
    last = history_ids[np.arange(len(lengths)), lengths - 1] - 2
    vectors = np.zeros((len(lengths), 2, NUM_ITEMS), np.float32)
    for user, row in enumerate(last):
        vectors[user, 0, (row + 1) % NUM_ITEMS] = 1.0
        vectors[user, 1, (row + 3) % NUM_ITEMS] = 0.5
    return vectors


@pytest.fixture(scope="module")
def told():
    """36 users; two of three click what interest 0 wants, the others what interest 1 does."""
    starts = np.arange(36) % NUM_ITEMS
    steps = np.where(np.arange(36) % 3 < 2, 1, 3)
    held_out = HeldOutUsers(
        np.array([f"u{n}".encode() for n in range(36)], object),
        Ragged.from_rows([[start + 2] * (1 + n % 5) for n, start in enumerate(starts)]),
        Ragged.from_rows(
            [[(s + step) % NUM_ITEMS + 2] for s, step in zip(starts, steps, strict=True)]
        ),
    )
    rank = lists.vector_ranker(compute_user_vectors, ITEM_VECTORS, 5, 3)
    rows = lists.evaluate_lists(rank, held_out, ks=(2, 3), exclude_seen=True).top_rows
    top_rows = {"model": rows, "popularity": np.tile([0, 1, 2], (36, 1))}
    described = details.describe(
        held_out, top_rows, compute_user_vectors, ITEM_VECTORS, VOCABULARY, CONFIG, 5
    )
    return described, details.collect_user_results(held_out, top_rows)


def test_each_interest_has_what_it_wins_and_finds_alone(told):
    described, _ = told
    first, second = described["interests"]
    assert described["recall"] == 1.0
    assert first["share_of_clicks"] == pytest.approx(2 / 3)
    assert second["share_of_clicks"] == pytest.approx(1 / 3)
    assert 2 / 3 <= first["recall_alone"] < 1
    assert 1 / 3 <= second["recall_alone"] < 1


def test_places_count_from_one(told):
    _, results = told
    assert results.num_users == results.num_tested == 36
    assert {*results.places["model"]} == {1, 2}
    hits = (results.positives.values == 0) * 1 + (results.positives.values == 1) * 2
    hits += (results.positives.values == 2) * 3
    assert results.places["popularity"].tolist() == hits.tolist()


def test_a_dozen_users_from_short_histories_to_long_ones(told):
    described, _ = told
    users = described["users"]
    assert len(users) == 12
    lengths = [user["history_length"] for user in users]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (1, 5)
    for user in users:
        last = user["history"][-1]
        assert user["items"][0] == {"row": (last + 1) % NUM_ITEMS, "interest": 0}
        assert user["items"][1] == {"row": (last + 3) % NUM_ITEMS, "interest": 1}
        assert user["by_interest"][1][0] == (last + 3) % NUM_ITEMS
        assert last not in [row for rows in user["by_interest"] for row in rows]


def test_the_slot_before_the_first_click_is_no_click():
    held_out = HeldOutUsers(
        np.array([b"u", b"v"], object),
        Ragged.from_rows([[1, 2, 3], [1]]),  # 1: the slot.
        Ragged.from_rows([[4], [2]]),
        starts_with_slot=True,
    )
    results = details.collect_user_results(held_out, {"model": np.tile([0, 1, 2], (2, 1))})
    assert sorted(zip(results.user_ids, results.history_lengths.tolist(), strict=True)) == [
        ("u", 2),
        ("v", 0),
    ]


def test_the_same_input_gives_the_same_details(told):
    described, _ = told
    assert described["format"] == records.DETAILS_FORMAT
    assert described["k"] == 3  # Of 2 and 3 the one nearest to 10.
    assert sum(described["exposure"]["slots"]["model"]) == 36 * 3
