"""The items of now -> a new base, while the old one serves.

Imports no TensorFlow. Runs in a thread of its own at a low priority: ScaNN
builds without holding Python's lock.
"""

import dataclasses
import logging
import os
import threading

import numpy as np
import pyarrow as pa

from recall.vocabulary import schema
from serving.index import index_tuning, self_check
from serving.index.attributes import ItemAttributes
from serving.index.bundle import IndexBundle
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import MIN_ITEMS, ScannIndex, ScannParameters
from serving.live.view import LiveView

_LOGGER = logging.getLogger(__name__)

NICENESS = 10
"""Of the building thread: requests come first on a machine without idle cores."""


def build_bundle(base: IndexBundle, view: LiveView) -> IndexBundle:
    """A bundle in memory of just the items of a view, to be searched like `base`.

    Args:
        base: The bundle below `view`.
        view: At least one item.

    Returns:
        The bundle; the fallback list and the manifest are those of `base`.
    """
    _lower_priority()
    rows = view.rows()
    item_vectors = np.ascontiguousarray(view.vectors(rows))
    return dataclasses.replace(
        base,
        item_ids=view.item_ids(rows),
        item_vectors=item_vectors,
        table=_table(base.table, view, rows),
        index=_build_index(base, item_vectors),
        attributes=_attributes(base.attributes, view, rows),
    )


def _lower_priority() -> None:
    """Lets other threads go first; on Linux a thread has a niceness of its own."""
    if threading.current_thread() is not threading.main_thread():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _attributes(
    base: ItemAttributes | None, view: LiveView, rows: np.ndarray
) -> ItemAttributes | None:
    """What rows of a view are filtered on."""
    if base is None:
        return None
    split = np.searchsorted(rows, view.base.num_items)
    added = view.delta.attributes((rows[split:] - view.base.num_items).tolist())
    declared = tuple(base.declared.values())
    return base.take(rows[:split]).followed_by(ItemAttributes.of_values(declared, added))


def _table(base: pa.Table, view: LiveView, rows: np.ndarray) -> pa.Table:
    """The vocabulary columns of rows of a view."""
    split = np.searchsorted(rows, view.base.num_items)
    slots = rows[split:] - view.base.num_items
    columns = [
        [item_id.decode() for item_id in view.delta.item_ids[slots].tolist()],
        [0] * len(slots),
        [list(view.delta.categories(slot)) for slot in slots.tolist()],
        [view.delta.title(slot) for slot in slots.tolist()],
    ]
    added = [pa.array(c, type=f.type) for c, f in zip(columns, schema(), strict=True)]
    kept = base.take(pa.array(rows[:split]))
    return pa.concat_tables([kept, pa.Table.from_arrays(added, schema=schema())])


def _build_index(base: IndexBundle, item_vectors: np.ndarray) -> ExactIndex | ScannIndex:
    """An index of the release's kind that finds as much of what real users ask for.

    The parameters are the base's; where the catalogue changed so much that
    they find less than promised, others are tried. Where none finds it, the
    items are searched exactly, until the next rebuild.
    """
    exact = ExactIndex(item_vectors)
    parameters = _scann_parameters(base)
    if parameters is None or len(item_vectors) < MIN_ITEMS:
        return exact
    num_leaves = max(1, min(parameters.num_leaves, len(item_vectors) // 2))
    searched = min(parameters.leaves_to_search, num_leaves)
    index = ScannIndex.build(
        item_vectors, parameters._replace(num_leaves=num_leaves, leaves_to_search=searched)
    )
    queries = item_vectors[:MIN_ITEMS] if base.check_queries is None else base.check_queries
    k = min(base.manifest[self_check.KEY]["k"], len(item_vectors))
    wanted = base.manifest[self_check.KEY]["recall"] - self_check.MARGIN
    tuning = index_tuning.tune(index, exact, queries, k=k, wanted=wanted)
    if tuning.index is exact:
        _LOGGER.warning("Rebuilt without ScaNN, %s", tuning.reason)
    return tuning.index


def _scann_parameters(base: IndexBundle) -> ScannParameters | None:
    """Those of the base, or of its release where the base came out exact; None for exact ones."""
    if isinstance(base.index, ScannIndex):
        return base.index.parameters
    if base.manifest.get("kind") == ScannIndex.kind:
        return ScannParameters(**base.manifest["scann"])
    return None
