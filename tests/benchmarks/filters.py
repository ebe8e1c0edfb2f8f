"""What filters and boosts cost: `python -m tests.benchmarks.filters` prints JSON.

The recall service in this process, without doors and towers, is asked with the vectors of
four interests each: without a filter, with filters that leave a share of the items, and with
boosts. Beside the time stands the share of the exact answers that were found. With --both_ways
each filter is answered in the two ways that there are, whichever the service would choose.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import threadpoolctl
from absl import app, flags

from pipelines.publishing.index_choice import tune_index
from recall.config import IndexConfig
from recall.feature_columns.attributes import ItemAttribute
from recall.vocabulary import ItemVocabulary
from serving.api.recall_request import RecallRequest
from serving.index.attributes import ItemAttributes
from serving.index.bundle import IndexBundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import build_index
from serving.retrieval import search
from serving.retrieval.service import RecallService
from serving.retrieval.user_vectors import UserVectors
from tests.benchmarks import measure
from tests.benchmarks.serving_release import draw_unit_vectors

_MODULE = "tests.benchmarks.filters"

_SIZES = flags.DEFINE_list("sizes_filtered", ["100000"], "Items of the catalogues.")
_USERS = flags.DEFINE_integer("users_filtered", 128, "Requests of each measurement.", 1)

_BOTH_WAYS = flags.DEFINE_bool(
    "both_ways", False, "Measures the index, and the scores of all items that pass, of each filter."
)

K, _DIM, _INTERESTS, _RUNS = 200, 64, 4, 3

_SHARES = {
    "half": 2,
    "third": 3,
    "fifth": 5,
    "tenth": 10,
    "twentieth": 20,
    "hundredth": 100,
    "thousandth": 1000,
}
"""Attribute -> one in so many items has its first value."""

_DECLARED = (
    *(ItemAttribute(name) for name in _SHARES),
    ItemAttribute("price", "numeric"),
    ItemAttribute("available_until", "time"),
)
_ENDED_S, _LATER_S = 1e9, 2e9
"""When a tenth of the items ends, and a time when nothing has."""

QUESTIONS: Mapping[str, Mapping[str, Any]] = {
    "no filter": {},
    **{f"one in {n:,}": {"where": {name: "v0"}} for name, n in _SHARES.items()},
    "a range, one in 2": {"where": {"price": {"max": 50}}},
    "a range and one in 10": {"where": {"price": {"max": 50}, "tenth": "v0"}},
    "boost of one in 100": {"boosts": [{"where": {"hundredth": "v0"}, "multiply": 1.1}]},
    "boost of one in 2": {"boosts": [{"where": {"half": "v0"}, "multiply": 1.1}]},
    "boost of one in 2, first": {"boosts": [{"where": {"half": "v0"}, "add": 10}]},
}


class _NoTower:
    """All requests bring their vectors."""

    def compute(self, histories, *, timeout_s: float | None = None) -> UserVectors:
        shape = (len(histories), 1, _DIM)
        nothing = np.zeros(len(histories), np.int64)
        return UserVectors(np.zeros(shape), np.ones(shape[:2]), nothing, nothing, "f", 1)


def build_catalogue(num_items: int) -> BundleCatalogue:
    """Clustered items with attributes, behind the index that `recall index` would choose."""
    generator = np.random.default_rng(0)
    vectors = draw_unit_vectors(num_items, _DIM, seed=1)
    queries = draw_unit_vectors(512, _DIM, seed=1_000_001)
    index = build_index(vectors, IndexConfig(), "cosine")
    index, recall, _ = tune_index(index, ExactIndex(vectors), queries, IndexConfig())
    columns = {name: generator.integers(n, size=num_items) for name, n in _SHARES.items()}
    prices = generator.random(num_items) * 100
    has_ended = generator.random(num_items) < 0.1
    table = {
        **{name: _names(values, _SHARES[name]) for name, values in columns.items()},
        "price": pa.array(prices),
        "available_until": pa.array(np.full(num_items, _ENDED_S), mask=~has_ended),
    }
    attributes = ItemAttributes(_DECLARED, pa.table(table))
    vocabulary = ItemVocabulary([f"i{row}" for row in range(num_items)])
    bundle = IndexBundle(
        manifest={"fingerprint": "f", "recall@100": recall},
        item_ids=np.array([item_id.encode() for item_id in vocabulary.item_ids]),
        item_vectors=vectors,
        table=vocabulary.to_table(),
        fallback=(),
        index=index,
        attributes=attributes,
    )
    return BundleCatalogue(bundle)


def _names(values: np.ndarray, num_names: int) -> pa.ListArray:
    """Numbers as lists of one name each."""
    names = pa.array([f"v{number}" for number in range(num_names)])
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, names.take(pa.array(values)))


@threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
def measure_case(case: dict[str, Any]) -> dict[str, float]:
    """Asks for one kind of answer for every user, with a thread for a product as in a server."""
    catalogue = build_catalogue(case["num_items"])
    users = draw_unit_vectors(case["num_users"] * _INTERESTS, _DIM, seed=77)
    users = users.reshape(-1, _INTERESTS, _DIM)
    measure_all = _measure_both_ways if case.get("both_ways") else _measure_questions
    return measure_all(catalogue, users)


def _measure_both_ways(catalogue: BundleCatalogue, users: np.ndarray) -> dict[str, float]:
    """Filters by the index, which looks further the less passes, and by all items that pass."""
    facts = {}
    service = RecallService(_NoTower(), catalogue, clock=lambda: _ENDED_S - 1)
    for name, number in _SHARES.items():

        def ask(exact: bool, name: str = name) -> list:
            fields = {"where": {name: "v0"}, "exact": exact}
            return [
                service.recall([RecallRequest(user_vectors=user, k=K, **fields)])[0]
                for user in users
            ]

        expected = ask(True)
        scores = measure.cheapest(lambda ask=ask: ask(True), _RUNS)
        facts[f"one in {number:,}: CPU ms, all that pass"] = _milliseconds(scores, users)
        # No filter is tight: the service asks the index, and all items where that is not enough.
        with mock.patch.object(search, "_TIGHT_FACTOR", 0):
            answers = ask(False)
            index = measure.cheapest(lambda ask=ask: ask(False), _RUNS)
        facts[f"one in {number:,}: CPU ms, index"] = _milliseconds(index, users)
        facts[f"one in {number:,}: recall, index"] = _recall(answers, expected)
    return facts


def _milliseconds(cost: measure.Cost, users: Sequence[Any]) -> float:
    return 1e3 * cost.cpu_seconds / len(users)


def _measure_questions(catalogue: BundleCatalogue, users: np.ndarray) -> dict[str, float]:
    """What the service chooses."""
    facts = {}
    for name, fields in {**QUESTIONS, "a tenth has ended": {}}.items():
        now_s = _LATER_S if name == "a tenth has ended" else _ENDED_S - 1
        service = RecallService(_NoTower(), catalogue, clock=lambda now_s=now_s: now_s)

        def ask(exact: bool = False, service: RecallService = service, fields=fields) -> list:
            return [
                service.recall([RecallRequest(user_vectors=user, k=K, exact=exact, **fields)])[0]
                for user in users
            ]

        answers, expected = ask(), ask(exact=True)
        cost = measure.cheapest(ask, _RUNS)
        facts[f"{name}: CPU ms"] = _milliseconds(cost, users)
        facts[f"{name}: ms"] = 1e3 * cost.seconds / len(users)
        facts[f"{name}: recall"] = _recall(answers, expected)
        facts[f"{name}: items"] = float(np.mean([len(a.item_ids) for a in answers]))
    return facts


def _recall(answers: list, expected: list) -> float:
    """Share of the exact answers' items that are found."""
    pairs = zip(answers, expected, strict=True)
    return float(np.mean([np.isin(e.item_ids, a.item_ids).mean() for a, e in pairs]))


def main(_: list[str]) -> None:
    """Measures the case that is named, or every size in a process of its own."""
    if measure.answer_case(measure_case):
        return
    cases = []
    for size in _SIZES.value:
        measure.show_progress(f"{size} items")
        case = {"num_items": int(size), "num_users": _USERS.value}
        case |= {"both_ways": True} if _BOTH_WAYS.value else {}
        cases.append(case | measure.run_case(_MODULE, case))
    measure.print_report(cases)


if __name__ == "__main__":
    app.run(main)
