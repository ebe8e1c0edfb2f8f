"""Approximate search with ScaNN, behind the contract of `item_index`.

Imports ScaNN only when an index is built or loaded; its import takes seconds
and brings TensorFlow along where that is installed.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recall.config import IndexConfig
from recall.errors import InputError
from serving.index.exact_index import ExactIndex
from serving.index.item_index import (
    DEFAULT_PARAMETERS,
    SearchParameters,
    SearchResult,
    check_item_vectors,
    check_queries,
)
from serving.index.long_rows import LongRows, find_long_rows

_ASSETS_FILE = "scann_assets.pbtxt"
"""ScaNN's table of contents of a serialised searcher."""

MIN_PARTITION_SIZE = 1
"""ScaNN 1.4.2 passes its `min_partition_size` (50 by default) on as the smallest size of a
cluster in k-means. It is no minimum: leaves of fewer items occur all the same, but centres
are moved for it, leaves get uneven and a query needs up to twice as many for the same
recall. With 1 nothing is moved. docs/measurements.md has the table that
`tests.benchmarks.leaves` makes. It matters while building alone and is not kept in a saved
index."""

_MEAN_LEAF_ITEMS = 20
"""At least, so that a catalogue of a few dozen items stays in one piece: to score that many
costs less than to choose among leaves."""

_TRAINING_SAMPLE = 100_000
"""ScaNN's own default number of vectors the tree and the hash learn from."""

_ANISOTROPIC_THRESHOLD = 0.2
"""Guo et al. 2020 (the ScaNN paper) and ScaNN's examples for unit vectors."""

MIN_ITEMS = 16
"""The hash has 16 centres per block and needs as many vectors to learn from."""

_BUILD_NEIGHBORS = 100
"""Result length ScaNN assumes where a search names none; every search does."""


class ScannParameters(NamedTuple):
    """Shape of a ScaNN searcher.

    Attributes:
        num_leaves: Leaves of the tree.
        leaves_to_search: Leaves a query looks into.
        reorder: Candidates whose score is recomputed from the full vectors.
        spherical: Whether the tree clusters directions; for unit vectors.
    """

    num_leaves: int
    leaves_to_search: int
    reorder: int
    spherical: bool

    @classmethod
    def choose(cls, config: IndexConfig, num_items: int, similarity: str) -> "ScannParameters":
        """Parameters for a catalogue.

        The square root of the catalogue balances the two costs of a query:
        scoring the leaves' centres and scoring the items of the leaves.
        """
        num_leaves = max(1, min(round(num_items**0.5), num_items // _MEAN_LEAF_ITEMS))
        searched = max(1, round(num_leaves * config.leaves_to_search_fraction))
        return cls(num_leaves, searched, config.reorder, similarity == "cosine")


class ScannIndex:
    """Approximate search: tree, anisotropic hashing, exact scores of the best.

    Never mutated after it is built: ScaNN's updates are not safe beside
    searches. Rows, not ids, are stored: ScaNN would keep ids in a pickle.
    """

    kind = "scann"

    def __init__(
        self,
        searcher: Any,
        shape: tuple[int, int],
        parameters: ScannParameters,
        long_rows: LongRows | None = None,
    ):
        """Wraps a ScaNN searcher; use `build` or `load`.

        Args:
            searcher: Of ScaNN, over all rows but the long ones.
            shape: `[num_items, dim]` of all of them.
            parameters: How it was built and is searched.
            long_rows: Rows that are scored exactly beside it; None where there are none.
        """
        self._searcher = searcher
        self.num_items, self.dim = shape
        self.parameters = parameters
        self._long = long_rows
        self._num_held = self.num_items if long_rows is None else len(long_rows.others)

    @classmethod
    def build(
        cls,
        item_vectors: np.ndarray,
        parameters: ScannParameters,
        *,
        min_partition_size: int = MIN_PARTITION_SIZE,
    ) -> "ScannIndex":
        """Builds an index over `[num_items, dim]` float32.

        Rows much longer than the others are kept beside ScaNN, see `long_rows`.

        Args:
            item_vectors: The table.
            parameters: What to build, and how it is searched.
            min_partition_size: Of ScaNN; another one is for measurements.

        Raises:
            InputError: The vectors are not a finite table, are fewer than 16, or
                ScaNN is missing.
        """
        vectors = check_item_vectors(item_vectors)
        if len(vectors) < MIN_ITEMS:
            raise InputError(
                f"A ScaNN index needs at least {MIN_ITEMS} items, the catalogue has "
                f"{len(vectors)}. Set index.kind=auto."
            )
        # Unit vectors have one length.
        rows = np.empty(0, np.int64) if parameters.spherical else find_long_rows(vectors)
        long_rows = LongRows.of(vectors, rows) if len(rows) else None
        held = vectors if long_rows is None else vectors[long_rows.others]
        builder = _scann().builder(held, _BUILD_NEIGHBORS, "dot_product")
        builder = builder.tree(
            num_leaves=parameters.num_leaves,
            num_leaves_to_search=parameters.leaves_to_search,
            training_sample_size=_TRAINING_SAMPLE,
            min_partition_size=min_partition_size,
            spherical=parameters.spherical,
        )
        builder = builder.score_ah(2, anisotropic_quantization_threshold=_ANISOTROPIC_THRESHOLD)
        searcher = builder.reorder(parameters.reorder).build()
        return cls(searcher, vectors.shape, parameters, long_rows)

    @property
    def long_rows(self) -> np.ndarray:
        """`[n]` int64, ascending: rows that are scored exactly beside ScaNN."""
        return np.empty(0, np.int64) if self._long is None else self._long.rows

    @property
    def is_exhaustive(self) -> bool:
        """Whether every item is scored exactly, which no other setting surpasses."""
        searched_all = self.parameters.leaves_to_search >= self.parameters.num_leaves
        return searched_all and self.parameters.reorder >= self.num_items

    def with_setting(self, leaves_to_search: int, reorder: int) -> "ScannIndex":
        """The same searcher that looks into so many leaves and reorders so many candidates."""
        parameters = self.parameters._replace(leaves_to_search=leaves_to_search, reorder=reorder)
        return ScannIndex(self._searcher, (self.num_items, self.dim), parameters, self._long)

    def save(self, scann_dir: str | os.PathLike) -> None:
        """Writes the searcher's files into a new folder, with relative paths."""
        Path(scann_dir).mkdir()
        self._searcher.serialize(str(scann_dir), relative_path=True)

    @classmethod
    def load(
        cls,
        scann_dir: str | os.PathLike,
        shape: tuple[int, int],
        parameters: Mapping[str, Any],
        long_rows: LongRows | None = None,
    ) -> "ScannIndex":
        """Reads the searcher's files.

        ScaNN does not notice damaged files: check their sums first. A file of
        document ids would be unpickled, so a folder that has one is refused.

        Args:
            scann_dir: Folder `save` made.
            shape: `[num_items, dim]` it was built over.
            parameters: The fields of `ScannParameters`.
            long_rows: What `save` did not write; None where there are none.

        Raises:
            InputError: The files are missing, cannot be read, or are not those
                of an index of this shape.
        """
        folder = Path(scann_dir)
        if not (folder / _ASSETS_FILE).is_file():
            raise InputError(f"{folder} holds no ScaNN index: {_ASSETS_FILE} is missing.")
        if list(folder.glob("*.pkl")):
            raise InputError(f"{folder} holds pickled files, which are never loaded. Remove them.")
        try:
            searcher = _scann().load_searcher(str(folder), assets_backcompat_shim=False)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"ScaNN cannot read {folder}: {error}.") from error
        expected = shape[0] if long_rows is None else len(long_rows.others)
        if searcher.size() != expected:
            raise InputError(
                f"{folder} holds {searcher.size()} items, expected {expected}. Run `recall index`."
            )
        return cls(searcher, shape, ScannParameters(**parameters), long_rows)

    def search(
        self, query_vectors: np.ndarray, k: int, parameters: SearchParameters = DEFAULT_PARAMETERS
    ) -> SearchResult:
        """Finds items with large inner products for every query.

        ScaNN reports a missing neighbour as row 0 with score NaN, and row 0 is
        a real item; such slots are removed here and nowhere else.

        Args:
            query_vectors: `[num_queries, dim]` float32; may have no rows.
            k: Items wanted per query, 1 <= k <= `num_items`.
            parameters: How far to look; numbers beyond the index mean all of it.

        Returns:
            `SearchResult` of `num_queries` rows, best score first. A row is
            shorter than `k` when the searched leaves hold fewer items.

        Raises:
            InputError: `k` or the shape is out of range, or a value not finite.
        """
        queries = check_queries(query_vectors, k, self.num_items, self.dim)
        if not len(queries):  # ScaNN raises on an empty batch.
            return SearchResult([], [])
        rows, scores = self._searcher.search_batched(
            queries,
            final_num_neighbors=min(k, self._num_held),
            pre_reorder_num_neighbors=self._num_reordered(k, parameters),
            leaves_to_search=self._num_leaves(parameters),
        )
        result = SearchResult(list(rows.astype(np.int64)), list(scores))
        # Seldom: something is missing, or there are ties.
        in_order = np.isfinite(scores[:, -1]) & (scores[:, :-1] > scores[:, 1:]).all(axis=1)
        for query in np.flatnonzero(~in_order).tolist():
            result.rows[query], result.scores[query] = _put_in_order(
                result.rows[query], result.scores[query]
            )
        if self._long is None:
            return result
        return SearchResult(*self._long.merge(queries, k, result.rows, result.scores))

    def _num_reordered(self, k: int, parameters: SearchParameters) -> int:
        """Candidates to score exactly: what the caller says, at least `k`."""
        if parameters.reorder is not None:
            return min(max(parameters.reorder * parameters.effort, k), self._num_held)
        # Twice `k`: a score by hash alone orders the last few only roughly.
        return min(max(self.parameters.reorder * parameters.effort, 2 * k), self._num_held)

    def _num_leaves(self, parameters: SearchParameters) -> int:
        """Leaves to look into: what the caller says, else the number that was measured."""
        num_leaves, leaves_to_search, _, _ = self.parameters
        wanted = (parameters.leaves_to_search or leaves_to_search) * parameters.effort
        return min(wanted, num_leaves)


def _put_in_order(rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items a query found: ties to the lower row, missing ones left out."""
    order = np.lexsort((rows, -scores))  # NaN last.
    order = order[: np.isfinite(scores).sum()]
    return rows[order], scores[order]


def build_index(
    item_vectors: np.ndarray, config: IndexConfig, similarity: str
) -> ExactIndex | ScannIndex:
    """Builds the index `config` asks for over `[num_items, dim]` float32."""
    if not chooses_scann(config, len(item_vectors)):
        return ExactIndex(item_vectors)
    return ScannIndex.build(
        item_vectors, ScannParameters.choose(config, len(item_vectors), similarity)
    )


def chooses_scann(config: IndexConfig, num_items: int) -> bool:
    """Whether a catalogue of `num_items` gets a ScaNN index."""
    if config.kind == "auto":
        return num_items >= config.min_scann_items
    return config.kind == "scann"


def _scann() -> Any:
    """ScaNN's Python module."""
    try:
        from scann import scann_ops_pybind
    except ImportError as error:
        raise InputError(
            f"The package `scann` cannot be imported ({error}). Install it or set index.kind=exact."
        ) from error
    return scann_ops_pybind
