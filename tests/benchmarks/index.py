"""Recall of indexes against what a query costs: `python -m tests.benchmarks.index` prints JSON.

ScaNN as it is served, exact search, and, where they are installed, `faiss-cpu`
(inverted lists) and `hnswlib`, each at several settings over the same vectors:
those of a bundle (`--bundle=DIR`), whose stored users are the queries, as many
made of these (`--items=N`), or clustered ones. One thread; CPU time counts.

Clusters are easy: the items a query wants lie in one of them. Trained vectors are
spread out, and an index has to look much further for the same recall.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from recall.config import IndexConfig
from serving.index.bundle import open_bundle
from serving.index.exact_index import ExactIndex
from serving.index.item_index import SearchParameters
from serving.index.scann_index import ScannIndex, ScannParameters
from tests.benchmarks import measure
from tests.benchmarks.serving_release import draw_unit_vectors

_MODULE = "tests.benchmarks.index"

_BUNDLE = flags.DEFINE_string("bundle", None, "Index bundle of `recall index` or a release.")
_ITEMS = flags.DEFINE_integer(
    "items", None, "How many items; by default those of the bundle, or 1,000,000.", 100
)
_DIM = flags.DEFINE_integer("dim", 64, "Size of their vectors.", 2)
_QUERIES = flags.DEFINE_integer("queries", 1024, "Queries of a measurement.", 4)
_USER_VECTORS = flags.DEFINE_integer("user_vectors", 4, "Queries of one user, one call.", 1)
_KINDS = flags.DEFINE_list("kinds", ["scann", "exact", "faiss", "hnswlib"], "What is measured.")
_TARGET = flags.DEFINE_float("target", 0.98, "Recall at which kinds are compared.", 0, 1)

K = 100
_NUM_RUNS = 2
_NUM_CLUSTERED = 1_000_000
_EFFORTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112)
_EFFORTS += (128, 160, 200)
"""Leaves, lists or candidates: how far a search looks, in steps of about a sixth, so that
the first setting with the wanted recall has little more than that."""

_REORDERED = 3 * K
"""Candidates whose score ScaNN computes exactly. A release has more, as it may be asked
for more items than `K`; that many are tried next."""

_NEIGHBOUR, _NUM_SAMPLED = 10, 500

_OPTIONAL = ("faiss", "hnswlib")
"""Kinds named as the packages they need, which are no packages of the project."""


class Candidate(NamedTuple):
    """One setting of an index.

    Attributes:
        setting: What was set, for the report.
        search: `[num_queries, dim]` -> rows of every query.
    """

    setting: dict[str, int]
    search: Callable[[np.ndarray], Sequence[np.ndarray]]


def read_vectors(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Item vectors and queries of a case."""
    if case["bundle"] is not None:
        bundle = open_bundle(case["bundle"])
        repeats = -(-case["queries"] // len(bundle.check_queries))
        queries = np.tile(bundle.check_queries, (repeats, 1))[: case["queries"]]
        return grow(bundle.item_vectors, case["items"] or len(bundle.item_vectors)), queries
    items = draw_unit_vectors(case["items"] or _NUM_CLUSTERED, case["dim"], seed=1)
    return items, draw_unit_vectors(case["queries"], case["dim"], seed=2)


def grow(vectors: np.ndarray, num_items: int) -> np.ndarray:
    """`num_items` unit vectors where those of `vectors` are.

    Beyond the given ones they are copies, each moved as far as a vector's tenth
    nearest neighbour is from it (the median of some).

    Args:
        vectors: `[n, dim]` float32 unit vectors.
        num_items: Rows wanted; up to n, the first of `vectors` are taken.
    """
    if num_items <= len(vectors):
        return vectors[:num_items]
    generator = np.random.default_rng(0)
    sample = vectors[generator.permutation(len(vectors))[:_NUM_SAMPLED]]
    cosines = np.partition(sample @ vectors.T, -_NEIGHBOUR - 1, axis=1)[:, -_NEIGHBOUR - 1]
    distance = np.tan(np.arccos(np.median(cosines)))
    dim = vectors.shape[1]
    added = generator.standard_normal((num_items - len(vectors), dim), dtype=np.float32)
    added *= distance / np.sqrt(dim)
    added += vectors[generator.integers(len(vectors), size=len(added))]
    return np.concatenate([vectors, added / np.linalg.norm(added, axis=1, keepdims=True)])


def build_scann(vectors: np.ndarray) -> Iterator[Candidate]:
    """The index of a release, at more and more leaves."""
    chosen = ScannParameters.choose(IndexConfig(), len(vectors), "cosine")
    index = ScannIndex.build(vectors, chosen)
    least = max(1, chosen.num_leaves // 200)
    for effort in _EFFORTS:
        leaves = min(least * effort, chosen.num_leaves)
        for reorder in sorted({min(_REORDERED, chosen.reorder), chosen.reorder}):
            parameters = SearchParameters(leaves_to_search=leaves, reorder=reorder)
            yield Candidate(
                {"leaves_to_search": leaves, "reorder": reorder},
                lambda queries, parameters=parameters: index.search(queries, K, parameters).rows,
            )


def build_exact(vectors: np.ndarray) -> Iterator[Candidate]:
    """Every item scored."""
    index = ExactIndex(vectors)
    yield Candidate({}, lambda queries: index.search(queries, K).rows)


def build_faiss(vectors: np.ndarray) -> Iterator[Candidate]:
    """Inverted lists over the vectors as they are, `IVF,Flat`."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    num_lists = max(1, round(len(vectors) ** 0.5))
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], num_lists, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:: max(1, len(vectors) // 100_000)])
    index.add(vectors)
    for effort in _EFFORTS:
        probes = min(effort, num_lists)

        def search(queries: np.ndarray, probes: int = probes) -> np.ndarray:
            index.nprobe = probes
            return index.search(queries, K)[1]

        yield Candidate({"lists": num_lists, "probes": probes}, search)


def build_hnswlib(vectors: np.ndarray) -> Iterator[Candidate]:
    """A graph with the settings its authors' examples use."""
    hnswlib = importlib.import_module("hnswlib")
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=200, M=16)
    index.set_num_threads(1)
    index.add_items(vectors, num_threads=1)
    for effort in _EFFORTS:
        breadth = K + 25 * (effort - 1)

        def search(queries: np.ndarray, breadth: int = breadth) -> np.ndarray:
            index.set_ef(breadth)
            return index.knn_query(queries, k=K, num_threads=1)[0]

        yield Candidate({"ef": breadth}, search)


_BUILDERS = {
    "scann": build_scann,
    "exact": build_exact,
    "faiss": build_faiss,
    "hnswlib": build_hnswlib,
}


def measure_search(
    candidate: Candidate, queries: np.ndarray, wanted: np.ndarray, per_user: int
) -> dict[str, Any]:
    """Recall and cost of a setting, user by user as the service asks."""
    users = [queries[start : start + per_user] for start in range(0, len(queries), per_user)]
    found: list[np.ndarray] = []

    def search_all() -> None:
        found[:] = [rows for user in users for rows in candidate.search(user)]

    cost = measure.cheapest(search_all, _NUM_RUNS)
    hits = sum(len(np.intersect1d(rows, best)) for rows, best in zip(found, wanted, strict=True))
    return {
        **candidate.setting,
        "recall": round(hits / wanted.size, 4),
        "cpu_ms_per_user": round(1e3 * cost.cpu_seconds / len(users), 4),
        "ms_per_user": round(1e3 * cost.seconds / len(users), 4),
    }


def exact_rows(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """`[num_queries, K]` rows of the best items."""
    return np.stack(ExactIndex(vectors).search(queries, min(K, len(vectors))).rows)


def measure_case(case: dict[str, Any]) -> dict[str, Any]:
    """Builds one kind of index and searches at ever more effort until recall is there."""
    vectors, queries = read_vectors(case)
    vectors = np.ascontiguousarray(vectors)
    wanted = exact_rows(vectors, queries)
    memory_mb = measure.resident_mb()
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    candidates = _BUILDERS[case["kind"]](vectors)
    first = next(candidates)  # Building is done when the first setting is known.
    facts = {
        "build_seconds": round(time.perf_counter() - started_s, 2),
        "build_cpu_seconds": round(time.process_time() - started_cpu_s, 2),
        "index_memory_mb": round(measure.resident_mb() - memory_mb, 1),
    }
    settings = [measure_search(first, queries, wanted, case["user_vectors"])]
    for candidate in candidates:
        if settings[-1]["recall"] >= case["target"]:
            break
        settings.append(measure_search(candidate, queries, wanted, case["user_vectors"]))
    return {**facts, "settings": settings}


def compare(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Users per CPU-second of every kind at the first setting with the wanted recall."""
    speeds = {}
    for case in cases:
        last = case["settings"][-1]
        if last["recall"] >= case["target"]:
            speeds[case["kind"]] = round(1e3 / last["cpu_ms_per_user"])
    return speeds


def installed_kinds(kinds: Sequence[str]) -> list[str]:
    """Those of the kinds whose package is there."""
    return [
        kind
        for kind in kinds
        if kind not in _OPTIONAL or importlib.util.find_spec(kind) is not None
    ]


def main(_: Sequence[str]) -> None:
    """Measures the case that is named, or every kind in a process of its own."""
    if measure.answer_case(measure_case):
        return
    cases = []
    for kind in installed_kinds(_KINDS.value):
        measure.show_progress(kind)
        case = {
            "kind": kind,
            "bundle": _BUNDLE.value,
            "items": _ITEMS.value,
            "dim": _DIM.value,
            "queries": _QUERIES.value,
            "user_vectors": _USER_VECTORS.value,
            "target": _TARGET.value,
        }
        cases.append(case | measure.run_case(_MODULE, case))
    missing = sorted(set(_KINDS.value) - {case["kind"] for case in cases})
    measure.print_report(
        cases, users_per_cpu_second_at_target=compare(cases), not_installed=missing
    )


if __name__ == "__main__":
    app.run(main)
