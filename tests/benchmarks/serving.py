"""What requests cost: `python -m tests.benchmarks.serving` prints JSON.

A server process with a real K = 4 model of random weights over a clustered
catalogue is asked over gRPC by a process of its own, at several numbers of
requests in flight. Both share the machine; CPU time is the server's alone.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from recall.config import RecallConfig
from serving.api.recall_request import RecallRequest
from serving.index.bundle import open_bundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.models.saved_model import SavedModelServable
from serving.protocol import tensors
from serving.release.release import USER_TOWER, latest_release
from serving.retrieval.service import RecallService
from serving.retrieval.user_vectors import UserVectors
from serving.servables.towers import PredictUserVectors
from serving.server_process import prepare_process
from tests.benchmarks import measure
from tests.benchmarks.load import DEADLINE_S
from tests.benchmarks.server_load import build_recall_message, measure_load
from tests.benchmarks.serving_release import draw_unit_vectors, write_release
from tests.serving.server_process import Client, ServerProcess, build_message

_MODULE = "tests.benchmarks.serving"

_SIZES = flags.DEFINE_list("num_items", ["10000", "100000", "1000000"], "Items of the catalogues.")
_CONCURRENCY = flags.DEFINE_list("concurrency", ["1", "8", "64"], "Requests in flight.")
_DEADLINES = flags.DEFINE_boolean("deadlines", True, "Whether the calls of load have deadlines.")
_SECONDS = flags.DEFINE_float("seconds", 10.0, "Time of each measurement.", 0.5)
_CHANGES = flags.DEFINE_integer("changes", 300, "Upserts, and deletions, that are timed.", 2)

K = 200
"""Items of an answer: what a ranking stage takes."""

HISTORY_LENGTH = 50
_NUM_MESSAGES = 256
"""Different requests, so that no cache of the processor holds all their items."""

_IN_PROCESS_CALLS = 300


def draw_histories(num_items: int) -> list[tuple[str, ...]]:
    """Histories of `HISTORY_LENGTH` items, different ones."""
    rows = np.random.default_rng(0).integers(num_items, size=(_NUM_MESSAGES, HISTORY_LENGTH))
    return [tuple(f"i{row}" for row in history) for history in rows.tolist()]


def build_requests(num_items: int, num_interests: int, dim: int) -> dict[str, list[bytes]]:
    """Serialised requests by what they ask for."""
    histories = draw_histories(num_items)
    vectors = draw_unit_vectors(_NUM_MESSAGES * num_interests, dim, seed=77)
    users = vectors.reshape(_NUM_MESSAGES, num_interests, dim)
    towers = [{"history_item_ids": tensors.pad_strings([history])} for history in histories]
    whole = [RecallRequest(history, k=K) for history in histories]
    search = [RecallRequest(user_vectors=user, k=K) for user in users]
    messages = {
        "user_vectors": [build_message(USER_TOWER, "", inputs) for inputs in towers],
        "search": [build_recall_message(request) for request in search],
        "request": [build_recall_message(request) for request in whole],
    }
    return {kind: [m.SerializeToString() for m in made] for kind, made in messages.items()}


def measure_changes(client: Client, dim: int, count: int) -> dict[str, float]:
    """Time until upserts and deletions of single items are acknowledged."""
    generator, facts = np.random.default_rng(0), {}
    for kind in ("upsert", "delete"):
        elapsed_ms = []
        for number in range(count):
            inputs = {"item_ids": np.array([f"new{number}".encode()], object)}
            if kind == "upsert":
                inputs["vectors"] = generator.standard_normal((1, dim)).astype(np.float32)
            started_s = time.perf_counter()
            client.predict("items", kind, inputs)
            elapsed_ms.append((time.perf_counter() - started_s) * 1e3)
        for percentile in (50, 99):
            facts[f"{kind}_p{percentile}_ms"] = float(np.percentile(elapsed_ms, percentile))
    return facts


class _KnownUsers(NamedTuple):
    """A user tower that has computed everything before: `serving.retrieval.user_vectors`."""

    answers: Mapping[tuple[str, ...], UserVectors]

    def compute(self, histories, *, timeout_s: float | None = None) -> UserVectors:
        return self.answers[histories[0]]


def measure_in_process(serving_dir: Path, num_calls: int) -> dict[str, float]:
    """CPU time of a request without doors, and what of it is neither tower nor search.

    The service, the tower and the index are given histories in turn, in one
    thread and one process. For its own code the service is measured behind a
    tower that only looks up: threads of a real one are still at work when it
    has answered, which looked like 0.4 ms of the service.

    Args:
        serving_dir: Folder of releases.
        num_calls: Calls of each measurement.
    """
    release = latest_release(serving_dir)
    bundle = open_bundle(release.index_dir, verify=False)
    tower = SavedModelServable(USER_TOWER, release.version, release.user_tower_dir)
    source = PredictUserVectors(tower.predict_default, release.version)
    catalogue = BundleCatalogue(bundle, version=release.version)
    histories = draw_histories(bundle.num_items)
    answers = {history: source.compute([history]) for history in [(), *histories]}
    users = [answers[history].user_vectors[0] for history in histories]
    service = RecallService(source, catalogue)
    own_code = RecallService(_KnownUsers(answers), catalogue)
    # The service asks for more than `k`: the seen items are taken out afterwards.
    wanted = min(K + HISTORY_LENGTH, bundle.num_items)
    costs = {
        "tower_cpu_ms": lambda n: source.compute([histories[n]]),
        "search_cpu_ms": lambda n: bundle.index.search(users[n], wanted),
        "service_cpu_ms": lambda n: service.recall([RecallRequest(histories[n], k=K)]),
        "service_without_tower_cpu_ms": lambda n: own_code.recall(
            [RecallRequest(histories[n], k=K)]
        ),
    }
    facts = {name: _cpu_ms(call, num_calls) for name, call in costs.items()}
    rest = facts["service_without_tower_cpu_ms"] - facts["search_cpu_ms"]
    return {**facts, "service_code_cpu_ms": rest}


def _cpu_ms(call: Callable[[int], Any], num_calls: int) -> float:
    def run() -> None:
        for number in range(num_calls):
            call(number % _NUM_MESSAGES)

    run()
    return 1e3 * measure.cheapest(run, 3).cpu_seconds / num_calls


def measure_case(case: dict[str, Any]) -> dict[str, float]:
    """Builds a release, serves it and asks for everything."""
    config = RecallConfig().override(case["settings"])
    facts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        serving_dir = Path(folder) / "serving"
        write_release(serving_dir, 1, case["num_items"], config)
        facts.update(measure_in_process(serving_dir, case["in_process_calls"]))
        server = ServerProcess(serving_dir, Path(folder) / "server.log")
        try:
            facts["seconds_to_ready"] = server.seconds_to_ready
            requests = build_requests(
                case["num_items"], config.model.num_interests, config.model.dim
            )
            for kind, messages in requests.items():
                for concurrency in case["concurrency"]:
                    costs = measure_load(
                        server,
                        messages,
                        concurrency,
                        case["seconds"],
                        case.get("deadline_s", DEADLINE_S),
                    )
                    facts |= {f"{kind}_at_{concurrency}_{key}": v for key, v in costs.items()}
            facts["server_memory_mb"] = server.resident_mb()
            with server.open_client() as client:
                facts |= measure_changes(client, config.model.dim, case["changes"])
        finally:
            server.kill()
    return facts


def main(_: Sequence[str]) -> None:
    """Measures the case that is named, or every catalogue in processes of its own."""
    prepare_process()  # What is measured in this process, too, runs as in a server.
    if measure.answer_case(measure_case):
        return
    cases = []
    for num_items in map(int, _SIZES.value):
        measure.show_progress(f"{num_items} items")
        case = {
            "num_items": num_items,
            "concurrency": [int(text) for text in _CONCURRENCY.value],
            "seconds": _SECONDS.value,
            "deadline_s": DEADLINE_S if _DEADLINES.value else None,
            "changes": _CHANGES.value,
            "in_process_calls": _IN_PROCESS_CALLS,
            "settings": measure.SETTINGS.value,
        }
        cases.append(case | measure.run_case(_MODULE, case))
    measure.print_report(cases)


if __name__ == "__main__":
    app.run(main)
