"""The serving benchmarks on tiny cases: they run, and what they measure is what they say."""

import numpy as np
import pytest

from recall.config import RecallConfig
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import ScannIndex, ScannParameters
from tests.benchmarks import (
    batch_inference,
    compare,
    filters,
    index,
    leaves,
    serving,
    serving_release,
)
from tests.benchmarks.load import Load, combine
from tests.benchmarks.measure import ROOT

SMALL = ["model.dim=16", "model.num_blocks=1", "model.feed_forward_dim=16"]
CASE = {"bundle": None, "items": 3000, "dim": 16, "queries": 64, "user_vectors": 4, "target": 0.9}


def test_item_vectors_are_clustered_unit_vectors():
    vectors = serving_release.draw_unit_vectors(5000, 16, seed=1)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    scores = vectors[:100] @ vectors.T
    np.fill_diagonal(scores, -1)
    # The nearest of 5,000 independent directions is nearer than .9 only by a cluster.
    assert np.median(scores.max(axis=1)) > 0.7
    assert abs(np.median(scores)) < 0.1


def test_more_items_lie_as_far_from_the_given_ones_as_these_from_their_tenth_neighbours():
    given = serving_release.draw_unit_vectors(60_000, 64, seed=1)  # 30 of every cluster.
    grown = index.grow(given, 60_500)
    assert grown.shape == (60_500, 64)
    np.testing.assert_array_equal(grown[:60_000], given)
    np.testing.assert_allclose(np.linalg.norm(grown, axis=1), 1, atol=1e-5)
    tenth = np.median(np.sort(given[:500] @ given.T, axis=1)[:, -11])  # Last is the item itself.
    nearest = np.median((grown[60_000:] @ given.T).max(axis=1))
    assert 0.3 < tenth < 0.9
    assert nearest == pytest.approx(tenth, abs=0.05)
    np.testing.assert_array_equal(index.grow(given, 50), given[:50])


def test_recall_and_its_cost_by_kind():
    exact = index.measure_case({**CASE, "kind": "exact"})
    assert [setting["recall"] for setting in exact["settings"]] == [1.0]
    scann = index.measure_case({**CASE, "kind": "scann"})
    recalls = [setting["recall"] for setting in scann["settings"]]
    efforts = [(s["leaves_to_search"], s["reorder"]) for s in scann["settings"]]
    assert recalls[-1] >= 0.9 > max([0.0, *recalls[:-1]])
    assert efforts == sorted(set(efforts))
    speeds = index.compare([CASE | {"kind": "exact"} | exact])
    assert speeds == {"exact": round(1e3 / exact["settings"][0]["cpu_ms_per_user"])}


def test_recall_is_counted_against_exact_search():
    vectors = serving_release.draw_unit_vectors(500, 8, seed=1)
    queries = serving_release.draw_unit_vectors(8, 8, seed=2)
    wanted = index.exact_rows(vectors, queries)
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, : index.K]
    assert [set(row) for row in wanted] == [set(row) for row in best]
    half = index.Candidate({}, lambda q: ExactIndex(vectors).search(q, index.K // 2).rows)
    assert index.measure_search(half, queries, wanted, 4)["recall"] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["faiss", "hnswlib"])
def test_other_libraries_where_they_are_installed(kind):
    pytest.importorskip(kind, reason=f"{kind} is not installed")
    facts = index.measure_case({**CASE, "kind": kind})
    assert facts["settings"][-1]["recall"] >= 0.9


def test_leaves_are_counted():
    vectors = serving_release.draw_unit_vectors(900, 16, seed=1)
    built = ScannIndex.build(vectors, ScannParameters(30, 2, 900, spherical=True))
    sizes = leaves.leaf_sizes(built)
    assert (len(sizes), sizes.sum()) == (30, 900)
    queries = serving_release.draw_unit_vectors(20, 16, seed=2)
    wanted = ExactIndex(vectors).search(queries, leaves.K).rows
    facts = leaves.measure_index(built, queries, wanted)
    assert (facts["smallest_leaf"], facts["largest_leaf"]) == (sizes[0], sizes[-1])
    assert 0 < facts["recall"] < leaves.TARGET
    assert 2 < facts["leaves_for_target"] <= 30


@pytest.mark.slow
def test_requests_are_measured():
    case = {"num_items": 300, "concurrency": [2], "seconds": 0.5, "changes": 5, "settings": SMALL}
    facts = serving.measure_case(case | {"in_process_calls": 20})
    for kind in ("user_vectors", "search", "request"):
        assert facts[f"{kind}_at_2_answers_per_second"] > 0
        assert 0 < facts[f"{kind}_at_2_p50_ms"] <= facts[f"{kind}_at_2_p99_ms"]
        assert facts[f"{kind}_at_2_server_cpu_ms"] > 0
    assert 0 < facts["upsert_p50_ms"] <= facts["upsert_p99_ms"]
    assert 0 < facts["delete_p50_ms"] <= facts["delete_p99_ms"]
    assert facts["service_code_cpu_ms"] == pytest.approx(
        facts["service_without_tower_cpu_ms"] - facts["search_cpu_ms"]
    )
    assert facts["seconds_to_ready"] > 0


def test_loads_of_several_generators_are_one():
    loads = [
        Load(2.0, np.array([1.0, 3.0]), np.array([]), {"OK": 2}),
        Load(1.5, np.array([2.0]), np.array([9.0]), {"OK": 1, "RESOURCE_EXHAUSTED": 1}),
    ]
    load = combine(loads)
    assert load.answers_per_second == 1.5
    assert load.percentiles()["p50_ms"] == 2.0
    assert load.codes == {"OK": 3, "RESOURCE_EXHAUSTED": 1}


def test_ratios_are_those_of_medians():
    def runs(*rates):
        return [
            {
                "grpc at 1": {
                    "answers_per_second": r,
                    "p50_ms": 1e3 / r,
                    "p99_ms": 8.0,
                    "server_cpu_ms": 2.0,
                }
            }
            for r in rates
        ]

    table = compare.compare(runs(100, 900, 200), runs(100, 190, 1000))["grpc at 1"]
    assert table["answers_per_second"] == {"before": 200, "after": 190, "ratio": 0.95}
    assert table["p50_ms"] == {"before": 5.0, "after": 5.263, "ratio": 1.053}
    assert table["p99_ms"]["ratio"] == 1


@pytest.mark.slow
def test_both_doors_of_a_checkout_are_measured(tmp_path):
    compare.write_release(ROOT, tmp_path / "serving", 300, SMALL)
    plan = {"concurrency": [2], "seconds": 0.5}
    facts = compare.measure_run(ROOT, tmp_path / "serving", compare.build_messages(300), plan)
    assert list(facts) == ["grpc at 2", "http at 2"]
    for costs in facts.values():
        assert costs["answers_per_second"] > 0
        assert 0 < costs["p50_ms"] <= costs["p99_ms"]


@pytest.mark.slow
def test_the_job_is_compared_with_requests_one_by_one(tmp_path):
    serving_release.write_release(tmp_path / "serving", 1, 2000, RecallConfig().override(SMALL))
    case = {"folder": str(tmp_path), "num_items": 2000, "k": 20, "seconds": 0.5, "reasons": True}
    requests = batch_inference.measure_requests(case)
    jobs = [
        {"num_users": n, **batch_inference.measure_users({**case, "num_users": n})}
        for n in (1, 2000)
    ]
    assert min(*requests.values(), *jobs[1].values()) > 0
    ratios = batch_inference.compare(requests, jobs)
    assert ratios["ratio"] < ratios["ratio_without_start"]


def test_ratios_of_a_job_and_of_requests():
    jobs = [
        {"num_users": 1, "cpu_seconds": 10.0, "users_per_cpu_second": 0.1, "peak_memory_gb": 2.0},
        {"num_users": 101, "cpu_seconds": 20.0, "users_per_cpu_second": 5.0, "peak_memory_gb": 3.0},
    ]
    ratios = batch_inference.compare({"users_per_cpu_second": 4.0}, jobs)
    # 100 users in 10 seconds without the start; 2 and 3 GB.
    assert ratios == {"ratio": 1.25, "ratio_without_start": 2.5, "memory_ratio": 1.5}


def test_a_log_has_users_of_all_lengths_in_any_order():
    users, items = batch_inference.draw_log(400, 50)
    lengths = np.bincount(users)
    assert (lengths.min(), lengths.max()) == (5, 95)
    assert lengths.mean() == pytest.approx(50, abs=5)
    assert set(items) == set(range(50))
    assert np.abs(np.diff(users)).mean() > 100  # Of one user they would be 0 apart.


def test_filters_are_measured_in_both_ways():
    facts = filters.measure_case({"num_items": 3000, "num_users": 2, "both_ways": True})
    for name in ("one in 2", "one in 1,000"):
        assert facts[f"{name}: CPU ms, all that pass"] > 0
        assert facts[f"{name}: CPU ms, index"] > 0
    # Where the index has too few, all that pass are scored after it.
    assert facts["one in 1,000: recall, index"] == 1


def test_filters_find_what_passes_and_leave_out_the_rest():
    facts = filters.measure_case({"num_items": 3000, "num_users": 2})
    assert facts["no filter: items"] == facts["one in 2: items"] == filters.K
    assert 0 < facts["one in 1,000: items"] < 15
    assert facts["one in 1,000: recall"] == facts["boost of one in 100: recall"] == 1
    assert all(value > 0 for name, value in facts.items() if name.endswith("CPU ms"))
