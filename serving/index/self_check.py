"""A bundle's own test: a few real queries and the items they must find.

Imports no TensorFlow. Checksums tell that the files are those that were
written; this tells that the searcher finds with them, on this machine and with
this ScaNN, what it found when it was built.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recall.errors import InputError
from serving.index.exact_index import ExactIndex, recall_of_rows
from serving.index.item_index import ItemIndex
from serving.release import manifest as manifests

QUERIES_NAME = "self_check_queries.npy"
ROWS_NAME = "self_check_rows.npy"

KEY = "self_check"
"""Of the manifest: `k` and the `recall` the index had when it was built."""

NUM_QUERIES = 64
"""64 queries of 100 neighbours: 25 ms of ScaNN, .4 s of exact search over 10^6
items; a standard error of recall near .01, which does not matter as the same
queries are compared with themselves."""

NEIGHBORS = 100
"""Depth of the comparison, as in the manifest's `recall@100`."""

MARGIN = 0.02
"""Recall an opened index may lose. Searches repeat exactly on one machine;
another processor's rounding moves a few near-ties, far less than this, while a
searcher with the wrong vectors, tree or settings loses far more."""


def write(
    folder: Path, index: ItemIndex, item_vectors: np.ndarray, query_vectors: np.ndarray | None
) -> dict[str, Any]:
    """Stores queries and their exact answers, and measures the index with them.

    Args:
        folder: Of the bundle.
        index: Built over `item_vectors`.
        item_vectors: `[num_items, dim]` float32.
        query_vectors: `[num_queries, dim]` float32 of real users in random
            order, the first 64 are taken; None takes items evenly spaced.

    Returns:
        What goes into the manifest under `self_check`.
    """
    k = min(NEIGHBORS, index.num_items)
    if query_vectors is None:
        query_vectors = item_vectors[:: -(-len(item_vectors) // NUM_QUERIES)]
    queries = np.ascontiguousarray(query_vectors[:NUM_QUERIES], dtype=np.float32)
    wanted = ExactIndex(item_vectors).search(queries, k).rows
    np.save(folder / QUERIES_NAME, queries, allow_pickle=False)
    np.save(folder / ROWS_NAME, np.stack(wanted), allow_pickle=False)
    return {"k": k, "recall": recall_of_rows(index.search(queries, k).rows, wanted)}


def check(folder: Path, manifest: Mapping[str, Any], index: ItemIndex) -> np.ndarray:
    """Asks the stored queries again.

    Returns:
        The queries, `[num_queries, dim]` float32.

    Raises:
        InputError: It is lower than promised by more than `MARGIN`, or the
            stored queries do not fit the index.
    """
    queries = manifests.load_array(folder, manifest, QUERIES_NAME)
    wanted = manifests.load_array(folder, manifest, ROWS_NAME)
    promised = manifest.get(KEY)
    if not isinstance(promised, Mapping) or wanted.shape != (len(queries), promised.get("k")):
        raise InputError(f"The self-check of {folder} is not whole. Run `recall index` again.")
    found = recall_of_rows(index.search(queries, promised["k"]).rows, wanted)
    if found < promised["recall"] - MARGIN:
        raise InputError(
            f"The index in {folder} finds {found:.4f} of the items it must find, "
            f"{promised['recall']:.4f} when it was built: its files, or the ScaNN of this "
            "machine, are not those it was built with. Run `recall index` again."
        )
    return queries
