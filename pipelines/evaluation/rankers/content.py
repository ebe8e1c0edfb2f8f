"""A baseline that knows what items are and nothing of who clicked them: content neighbours.

Imports no TensorFlow.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse

from pipelines.evaluation.rankers import full_ranking
from pipelines.evaluation.rankers.full_ranking import Ranker
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID

_PROFILE_ITEMS = 10
"""Latest clicks that a user is the mean of: a shorter memory misses, a longer one blurs."""

_NUM_BINS = 10
"""Quantiles that a number is one of: neighbours in value share one."""

_WORD = r"[^\pL\pN]+"


def content_matrix(features: ItemFeatures) -> scipy.sparse.csr_matrix:
    """`[num_items, width]`: of each feature a block of unit length, all features alike.

    Names and words weigh by the logarithm of how rare they are, as in a search for text.
    """
    blocks = [
        _block(column, features.table[column.name].combine_chunks()) for column in features.columns
    ]
    return _unit_rows(scipy.sparse.hstack([_unit_rows(block) for block in blocks]))


def content_ranker(
    matrix: scipy.sparse.csr_matrix, candidates: scipy.sparse.csr_matrix, k: int
) -> Ranker:
    """Ranks by the cosine between an item and the mean of a user's latest clicks.

    Args:
        matrix: Of all items, which histories are made of.
        candidates: Of those that are ranked.
        k: Items of a list.
    """

    def rank(histories: Ragged, excluded: Ragged | None) -> np.ndarray:
        profiles = _profiles(matrix, histories)

        def score(rows: np.ndarray) -> np.ndarray:
            return (profiles @ candidates[rows].T).toarray().astype(np.float32)

        return full_ranking.rank_scores(
            score, len(histories), candidates.shape[0], k, excluded
        ).rows

    return rank


def _profiles(matrix: scipy.sparse.csr_matrix, histories: Ragged) -> scipy.sparse.csr_matrix:
    """`[num_users, width]` means of the latest clicks of each user."""
    items = Ragged(histories.values, histories.offsets)  # Without what stands beside clicks.
    latest = items.last_padded(_PROFILE_ITEMS) - FIRST_ITEM_ID
    users, slots = np.nonzero(latest >= 0)
    ones = np.ones(len(users), np.float32)
    shape = (len(histories), matrix.shape[0])
    return scipy.sparse.csr_matrix((ones, (users, latest[users, slots])), shape) @ matrix


def _block(column: FittedColumn, values: pa.Array) -> scipy.sparse.csr_matrix:
    """`[num_items, any]` one feature of all items."""
    if column.kind == "vector":
        filled = pc.fill_null(values, pa.scalar([0.0] * column.column.dim, values.type))
        lengths = pc.list_value_length(filled).to_numpy()
        rows = np.zeros([len(values), column.column.dim], np.float32)
        rows[lengths > 0] = filled.flatten().to_numpy().reshape(-1, column.column.dim)
        return scipy.sparse.csr_matrix(rows)
    if column.kind == "numeric":
        numbers = values.to_numpy(zero_copy_only=False)
        known = np.flatnonzero(np.isfinite(numbers))
        edges = (
            np.quantile(numbers[known], np.arange(1, _NUM_BINS) / _NUM_BINS) if len(known) else []
        )
        bins = np.searchsorted(edges, numbers[known], side="right")
        return _one_hot(known, bins, len(values))
    if column.kind == "text":
        values = pc.split_pattern_regex(pc.utf8_lower(pc.fill_null(values, "")), _WORD)
    names = values.flatten()
    owners = pc.list_parent_indices(values).to_numpy().astype(np.int64)
    real = np.flatnonzero(pc.not_equal(names, "").to_numpy(zero_copy_only=False))
    codes = names.take(pa.array(real)).dictionary_encode().indices.to_numpy().astype(np.int64)
    block = _one_hot(owners[real], codes, len(values))
    block.data[:] = 1  # A word that is there twice says no more.
    counts = np.maximum(np.asarray(block.sum(axis=0)).ravel(), 1)
    return (block @ scipy.sparse.diags(np.log((1 + len(values)) / counts))).tocsr()


def _one_hot(rows: np.ndarray, columns: np.ndarray, num_rows: int) -> scipy.sparse.csr_matrix:
    width = int(columns.max(initial=0)) + 1
    ones = np.ones(len(rows), np.float32)
    return scipy.sparse.csr_matrix((ones, (rows, columns)), (num_rows, width))


def _unit_rows(matrix: scipy.sparse.spmatrix) -> scipy.sparse.csr_matrix:
    matrix = scipy.sparse.csr_matrix(matrix, dtype=np.float32)
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return scipy.sparse.csr_matrix(
        scipy.sparse.diags(1 / np.where(lengths > 0, lengths, 1)) @ matrix
    )
