"""How even ScaNN's leaves are, and what that is worth: `python -m tests.benchmarks.leaves`.

Builds the index of finished runs (`--runs=DIR,DIR`, folders of `recall run`) with several
`min_partition_size` and searches it with the vectors of held-out users. Prints JSON: the
sizes of the leaves, recall@100 with the leaves a release starts with, before it is tuned,
and how many leaves recall .98 needs.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from pipelines.artifacts import records
from pipelines.publishing.embed import build_queries, embed_items
from recall.config import IndexConfig
from serving.index.exact_index import ExactIndex, recall_of_rows
from serving.index.item_index import SearchParameters
from serving.index.scann_index import ScannIndex, ScannParameters
from serving.release import manifest as manifests
from tests.benchmarks import measure

_MODULE = "tests.benchmarks.leaves"

_RUN_DIRS = flags.DEFINE_list("runs", [], "Folders of `recall run`.")
_SIZES = flags.DEFINE_list("min_partition_size", ["1", "10", "25", "50"], "Values of ScaNN's.")
_BUILDS = flags.DEFINE_integer("builds", 3, "Indexes of each kind: ScaNN has no seed.", 1)
_MAX_QUERIES = flags.DEFINE_integer("max_queries", 1000, "Queries of a measurement.", 1)

K = 100
TARGET = 0.98
_LEAF_OF_ITEM = "datapoint_to_token.npy"
"""File of a saved ScaNN index."""


def read_vectors(run_dir: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Item vectors of a run, vectors of its held-out users, and the similarity."""
    export_dir, examples_dir = run_dir / "export", run_dir / "examples"
    manifest = manifests.read(export_dir)
    vocabulary = records.read_vocabulary(export_dir)
    items = embed_items(export_dir, vocabulary, manifest["fingerprint"])
    queries, _ = build_queries(export_dir, examples_dir, vocabulary, items)
    return items, queries, manifest["similarity"]


def leaf_sizes(index: ScannIndex) -> np.ndarray:
    """`[num_leaves]` int, items of each leaf, ascending."""
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder) / "scann")
        leaves = np.load(Path(folder) / "scann" / _LEAF_OF_ITEM)
    return np.sort(np.bincount(leaves, minlength=index.parameters.num_leaves))


def measure_index(
    index: ScannIndex, queries: np.ndarray, wanted: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Leaves of one index, and recall by how many of them are searched.

    Args:
        index: As built, before it is tuned.
        queries: `[num_queries, dim]` float32.
        wanted: Rows of the exact top `K` per query.
    """

    def recall(leaves: int) -> float:
        parameters = SearchParameters(leaves_to_search=leaves)
        return recall_of_rows(index.search(queries, K, parameters).rows, wanted)

    num_leaves, searched, _, _ = index.parameters
    needed = next((n for n in range(1, num_leaves + 1) if recall(n) >= TARGET), None)
    sizes = leaf_sizes(index)
    return {
        "smallest_leaf": int(sizes[0]),
        "largest_leaf": int(sizes[-1]),
        "recall": round(recall(searched), 3),
        "leaves_for_target": needed,
    }


def measure_case(case: dict[str, Any]) -> dict[str, Any]:
    """All indexes of one run."""
    items, queries, similarity = read_vectors(Path(case["run"]))
    queries = queries[: case["max_queries"]]
    wanted = ExactIndex(items).search(queries, min(K, len(items))).rows
    parameters = ScannParameters.choose(IndexConfig(), len(items), similarity)
    by_size = {}
    for size in case["min_partition_size"]:
        by_size[str(size)] = [
            measure_index(
                ScannIndex.build(items, parameters, min_partition_size=size), queries, wanted
            )
            for _ in range(case["builds"])
        ]
    facts = {"num_items": len(items), "similarity": similarity, "leaves": parameters.num_leaves}
    searched = parameters.leaves_to_search
    return {**facts, "leaves_to_search": searched, "by_min_partition_size": by_size}


def main(_: Sequence[str]) -> None:
    """Measures the case that is named, or every run in a process of its own."""
    if measure.answer_case(measure_case):
        return
    cases = []
    for run_dir in _RUN_DIRS.value:
        measure.show_progress(run_dir)
        case = {
            "run": run_dir,
            "min_partition_size": [int(text) for text in _SIZES.value],
            "builds": _BUILDS.value,
            "max_queries": _MAX_QUERIES.value,
        }
        cases.append(case | measure.run_case(_MODULE, case))
    measure.print_report(cases)


if __name__ == "__main__":
    app.run(main)
