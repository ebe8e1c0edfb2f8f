"""Exact full-catalogue ranking against brute force, with exclusions and ties."""

import numpy as np
import pytest

from pipelines.evaluation.rankers import full_ranking
from pipelines.evaluation.rankers.full_ranking import EMPTY_SLOT
from recall.ragged import Ragged


def random_vectors(num_users=23, num_interests=3, num_items=700, dim=8, seed=0):
    generator = np.random.default_rng(seed)
    users = generator.standard_normal((num_users, num_interests, dim)).astype(np.float32)
    return users, generator.standard_normal((num_items, dim)).astype(np.float32)


def brute_force(user_vectors, item_vectors, k, excluded=None):
    """One user and one item at a time."""
    lists = []
    for user, interests in enumerate(user_vectors.astype(np.float64)):
        scores = {
            row: max(float(vector @ interest) for interest in interests)
            for row, vector in enumerate(item_vectors.astype(np.float64))
            if excluded is None or row not in set(excluded[user].tolist())
        }
        lists.append(sorted(scores, key=lambda row: -scores[row])[:k])
    return np.array(lists)


@pytest.fixture(params=[16_384, 256, 37], ids=["one_block", "three_blocks", "many_blocks"])
def block_items(request, monkeypatch):
    monkeypatch.setattr(full_ranking, "_BLOCK_ITEMS", request.param)
    monkeypatch.setattr(full_ranking, "_TILE_ITEMS", 100)
    return request.param


@pytest.mark.usefixtures("block_items")
class TestRankCatalogue:
    @pytest.mark.parametrize("k", [1, 10, 400])
    def test_equals_brute_force(self, k):
        users, items = random_vectors()
        ranked = full_ranking.rank_catalogue(users, items, k)
        np.testing.assert_array_equal(ranked.rows, brute_force(users, items, k))
        scores = np.take_along_axis(
            np.einsum("ukd,nd->ukn", users, items).max(axis=1), ranked.rows.astype(int), axis=1
        )
        np.testing.assert_allclose(ranked.scores, scores, rtol=1e-5)
        assert ranked.rows.dtype == np.int32

    def test_excluded_rows_never_appear(self):
        users, items = random_vectors()
        best = full_ranking.rank_catalogue(users, items, 30).rows
        # Each user loses some of the best; negative and far rows are no items.
        excluded = Ragged.from_rows(
            [[*row[: u % 7 : 2], -1, -2, 10**6] for u, row in enumerate(best)]
        )
        ranked = full_ranking.rank_catalogue(users, items, 20, excluded)
        np.testing.assert_array_equal(ranked.rows, brute_force(users, items, 20, excluded))

    def test_a_short_list_ends_in_empty_slots(self):
        users, items = random_vectors(num_users=2, num_items=6)
        ranked = full_ranking.rank_catalogue(users, items, 5, Ragged.from_rows([[0, 1, 2, 3], []]))
        assert set(ranked.rows[0, :2]) == {4, 5}
        np.testing.assert_array_equal(ranked.rows[0, 2:], [EMPTY_SLOT] * 3)
        assert np.isneginf(ranked.scores[0, 2:]).all()
        assert (ranked.rows[1] != EMPTY_SLOT).all()

    def test_k_beyond_the_catalogue(self):
        users, items = random_vectors(num_items=40)
        ranked = full_ranking.rank_catalogue(users, items, 60)
        np.testing.assert_array_equal(ranked.rows[:, :40], brute_force(users, items, 40))
        assert (ranked.rows[:, 40:] == EMPTY_SLOT).all()

    def test_constant_scores_do_not_follow_the_vocabulary(self):
        users, items = random_vectors(num_users=4, num_items=2000)
        rows = full_ranking.rank_catalogue(users * 0, items, 50).rows
        assert (rows == rows[0]).all(), "one fixed order for everybody"
        assert len(set(rows[0])) == 50
        # 50 rows of 0..1999 at random: mean 999.5, standard error 81.
        assert 700 < rows[0].mean() < 1300

    def test_ties_do_not_depend_on_the_blocks(self, monkeypatch):
        generator = np.random.default_rng(5)
        scores = generator.integers(0, 4, (9, 500)).astype(np.float32)

        def rank():
            return full_ranking.rank_scores(lambda rows: scores[:, rows], 9, 500, 60)

        here = rank()
        monkeypatch.setattr(full_ranking, "_BLOCK_ITEMS", 10**6)
        np.testing.assert_array_equal(here.rows, rank().rows)
        np.testing.assert_array_equal(here.scores, -np.sort(-scores, axis=1)[:, :60])
        place = np.argsort(np.random.default_rng(full_ranking._TIE_SEED).permutation(500))
        tied = np.diff(here.scores, axis=1) == 0
        assert (np.diff(place[here.rows], axis=1)[tied] > 0).all()

    def test_order_of_users_does_not_matter(self):
        users, items = random_vectors()
        together = full_ranking.rank_catalogue(users, items, 10).rows
        one = full_ranking.rank_catalogue(users[7:8], items, 10).rows
        np.testing.assert_array_equal(together[7:8], one)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_vectors_must_be_finite(bad, which):
    vectors = random_vectors()
    vectors[which].flat[5] = bad
    with pytest.raises(ValueError, match="not finite"):
        full_ranking.rank_catalogue(*vectors, 5)


def test_shapes_and_k_are_checked():
    users, items = random_vectors()
    with pytest.raises(ValueError, match="dim"):
        full_ranking.rank_catalogue(users, items[:, :-1], 5)
    with pytest.raises(ValueError, match="dim"):
        full_ranking.rank_catalogue(users[:, 0], items, 5)
    with pytest.raises(ValueError, match="`k` must be >= 1"):
        full_ranking.rank_catalogue(users, items, 0)


def test_memory_is_bounded_by_blocks_not_by_the_catalogue():
    seen = []

    def score(rows):
        seen.append(len(rows))
        return np.zeros((2, len(rows)), np.float32)

    full_ranking.rank_scores(score, 2, 50_000, 3)
    assert max(seen) == full_ranking._BLOCK_ITEMS
    assert sum(seen) == 50_000
