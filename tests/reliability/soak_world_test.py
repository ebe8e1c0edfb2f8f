"""The judge of the soak notices every kind of wrong answer; catalogues of numbers made by hand."""

import time

import numpy as np
import pytest

from tests.reliability.soak_world import Answer, Fact, World
from tests.serving.conftest import TinyCatalogue

K, HISTORY = 5, ("i3", "i7")


@pytest.fixture
def world():
    return World((TinyCatalogue(1), TinyCatalogue(2)))


def best(catalogue, k=K):
    """The right answer by brute force."""
    scores = (catalogue.user_vectors(HISTORY) @ catalogue.item_vectors.T).max(axis=0)
    scores[[3, 7]] = -2
    rows = np.argsort(-scores)[:k]
    return [f"i{row}" for row in rows], scores[rows]


def faults(world, item_ids, scores, version=1, is_whole=True, from_s=None):
    answer = Answer(list(item_ids), np.asarray(scores), version, is_whole)
    from_s = time.monotonic() if from_s is None else from_s
    return world.faults(answer, history=HISTORY, k=K, from_s=from_s, is_exact=True)


def test_right_answers_of_both_catalogues(world):
    for version in (1, 2, 3):
        assert faults(world, *best(world.catalogue_of(version)), version) == ([], 1.0)


def test_wrong_answers(world):
    ids, scores = best(world.catalogue_of(1))
    assert faults(world, ids, scores, version=2)[0]  # Of the other catalogue.
    assert faults(world, ids, scores, is_whole=False)[0]
    assert faults(world, ids[:-1], scores[:-1])[0]
    assert "twice" in faults(world, [ids[0], *ids[:-1]], scores)[0][0]
    assert "history" in faults(world, ["i3", *ids[1:]], scores)[0][0]
    assert "order" in faults(world, ids[::-1], scores[::-1])[0][0]
    assert "has not the score" in faults(world, ids, scores - 0.01)[0][0]


def test_missing_items(world):
    ids, scores = best(world.catalogue_of(1), k=12)
    # Without the first item that no writer may have changed.
    fixed = next(n for n, item_id in enumerate(ids) if int(item_id[1:]) % 10 > 1)
    kept = [n for n in range(12) if n != fixed][:K]
    found, share = faults(world, [ids[n] for n in kept], scores[kept])
    assert "lacks items" in found[0]
    assert share < 1


def test_changes_are_believed_from_their_beginning_and_binding_from_their_end(world):
    catalogue = world.catalogue_of(1)
    vector = catalogue.user_vectors(HISTORY)[0]  # Nothing is nearer to it.
    ids, scores = best(catalogue, K - 1)
    with_new = (["n1", *ids], [1.0, *scores])
    assert faults(world, *with_new)[0]
    world.begin("n1", Fact(True, vector))
    assert faults(world, *with_new)[0] == []
    world.end("n1", version=1)
    assert faults(world, *with_new)[0] == []
    assert faults(world, *with_new, version=2)[0]  # In the other space it has no vector.
    before_s = time.monotonic()
    world.begin("n1", Fact(False))
    assert faults(world, *with_new)[0] == []
    world.end("n1")
    assert faults(world, *with_new, from_s=before_s)[0] == []
    assert "n1" in faults(world, *with_new)[0][0]


def test_a_trained_item_has_its_own_vector_where_the_given_one_means_nothing(world):
    item_id = world.items_of_writer(0)[0]
    (row,) = [world.catalogue_of(1).row_of(item_id)]
    given = np.array([0, 0, 0, 1], np.float32)
    world.begin(item_id, Fact(True, given))
    world.end(item_id, version=1)
    for version, vector in ((1, given), (2, world.catalogue_of(2).item_vectors[row])):
        users = world.catalogue_of(version).user_vectors(HISTORY)
        score = float((users @ vector).max())
        answer = faults(world, [item_id, *"abcd"], [score] * K, version)[0]
        assert not any(text.startswith(item_id) for text in answer)
        wrong = faults(world, [item_id, *"abcd"], [score + 0.1] * K, version)[0]
        assert any(text.startswith(item_id) for text in wrong)
