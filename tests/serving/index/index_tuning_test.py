"""Which setting is chosen: by recalls and costs that are made up, and once by real ones."""

import time

import numpy as np
import pytest

from serving.index import index_tuning
from serving.index.exact_index import ExactIndex, recall_against_exact
from serving.index.item_index import SearchResult
from serving.index.scann_index import ScannIndex, ScannParameters

NUM_ITEMS, K = 400, 10
VECTORS = np.random.default_rng(0).standard_normal((NUM_ITEMS, 4)).astype(np.float32)
QUERIES = np.random.default_rng(1).standard_normal((8, 4)).astype(np.float32)
EXACT = ExactIndex(VECTORS)


class FakeIndex:
    """Finds as many of the best ten as a table says for (leaves, reorder)."""

    num_items = NUM_ITEMS

    def __init__(self, hits, parameters, tried=None):
        self.hits, self.parameters = hits, parameters
        self.tried = [] if tried is None else tried

    @property
    def is_exhaustive(self):
        return self.parameters.leaves_to_search == 16 and self.parameters.reorder == NUM_ITEMS

    def with_setting(self, leaves, reorder):
        parameters = self.parameters._replace(leaves_to_search=leaves, reorder=reorder)
        return FakeIndex(self.hits, parameters, self.tried)

    def search(self, queries, k):
        setting = self.parameters[1:3]
        self.tried.append(setting)
        found = EXACT.search(queries, k)
        count = self.hits(*setting)
        return SearchResult([r[:count] for r in found.rows], [s[:count] for s in found.scores])


def tune(hits, wanted, first=4, reorder=100):
    index = FakeIndex(hits, ScannParameters(16, first, reorder, False))
    tuning = index_tuning.tune(index, EXACT, QUERIES, k=K, wanted=wanted)
    return tuning, index.tried


def test_what_is_good_enough_is_kept():
    tuning, tried = tune(lambda leaves, reorder: 9, wanted=0.9)
    assert tried == [(4, 100)]
    assert (tuning.index.parameters.leaves_to_search, tuning.recall) == (4, 0.9)
    assert tuning.facts == {"recalls": {"4 leaves, 100 reordered": 0.9}}
    assert "4 of 16 leaves" in tuning.reason


def test_more_leaves_in_small_steps():
    tuning, tried = tune(lambda leaves, reorder: min(leaves, 10), wanted=0.8)
    assert tried == [(4, 100), (6, 100), (8, 100)]
    assert tuning.index.parameters.leaves_to_search == 8


def test_fewer_leaves_where_more_find_less():
    tuning, tried = tune(lambda leaves, reorder: 9 if leaves == 2 else 3, wanted=0.9)
    assert tried == [(n, 100) for n in (4, 6, 8, 11, 16, 3, 2)]
    assert tuning.index.parameters[1:3] == (2, 100)


def test_a_dip_on_the_way_is_passed():
    hits = {4: 5, 6: 2, 8: 9}
    tuning, _ = tune(lambda leaves, reorder: hits[leaves], wanted=0.9)
    assert tuning.index.parameters.leaves_to_search == 8


def test_more_reordering_where_leaves_do_not_help():
    tuning, tried = tune(
        lambda leaves, reorder: 10 if reorder >= 50 and leaves > 6 else 1, 1.0, reorder=25
    )
    assert tuning.index.parameters[1:3] == (8, 50)
    # Whether 50 is enough is asked of the best and of all leaves alone.
    assert tried[-5:] == [(4, 50), (16, 50), (4, 50), (6, 50), (8, 50)]


def test_no_more_is_reordered_than_exact_search_would_score():
    _, tried = tune(lambda leaves, reorder: 5, 1.0, reorder=30)
    assert max(reorder for _, reorder in tried) == 60  # Next were 120, of 400 items.


def test_exact_search_where_nothing_helps():
    tuning, tried = tune(lambda leaves, reorder: 6, wanted=0.9)
    assert tuning.index is EXACT
    assert tuning.recall == 1.0
    assert (16, NUM_ITEMS) not in tried  # That is exact search, only dearer.
    assert "at most 0.6000 of the exact top 10, less than 0.9000" in tuning.reason


@pytest.mark.parametrize(("exact_ms", "is_exact"), [(0.5, True), (2.0, True), (2.1, False)])
def test_the_cheaper_one_is_served(monkeypatch, exact_ms, is_exact):
    monkeypatch.setattr(
        index_tuning, "measure_cost_ms", lambda index, *_: exact_ms if index is EXACT else 2.0
    )
    tuning, _ = tune(lambda leaves, reorder: 10, wanted=0.9)
    chosen = index_tuning.prefer_cheaper(tuning, EXACT, QUERIES, K)
    assert (chosen.index is EXACT) == is_exact
    assert chosen.facts["cpu_ms_per_user"] == 2.0
    assert chosen.facts["exact_cpu_ms_per_user"] == exact_ms
    assert f"exact search takes {exact_ms:.3g} CPU-ms per user, ScaNN 2" in chosen.reason


def test_cost_is_processor_time_per_user():
    class Spins:
        def search(self, queries, k):
            assert len(queries) == 4
            end_s = time.process_time() + 0.002
            while time.process_time() < end_s:
                pass

    assert 2.0 <= index_tuning.measure_cost_ms(Spins(), QUERIES, K) < 4.0


def test_real_index():
    index = ScannIndex.build(VECTORS, ScannParameters(20, 1, 100, spherical=False))
    tuning = index_tuning.tune(index, EXACT, QUERIES, k=K, wanted=0.9)
    assert isinstance(tuning.index, ScannIndex)
    assert tuning.recall == recall_against_exact(tuning.index, EXACT, QUERIES, K) >= 0.9


def test_curve_has_less_and_more_than_what_was_chosen(monkeypatch):
    monkeypatch.setattr(
        index_tuning, "measure_cost_ms", lambda index, *_: float(index.parameters[1])
    )
    index = FakeIndex(lambda leaves, reorder: min(leaves, 10), ScannParameters(16, 8, 100, False))
    best_rows = EXACT.search(QUERIES, K).rows
    points = index_tuning.measure_curve(index, best_rows, QUERIES, K)
    assert [point["leaves"] for point in points] == [1, 2, 4, 8, 16]
    assert [point["recall"] for point in points] == [0.1, 0.2, 0.4, 0.8, 1.0]
    assert [point["cpu_ms_per_user"] for point in points] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert {point["reorder"] for point in points} == {100}
