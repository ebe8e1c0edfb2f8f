"""Baselines that count which items are clicked together: item-kNN and EASE.

Both see the training windows alone, each as a set of items, and rank by the same exact
ranking, with the same exclusions, as the model. Imports no TensorFlow.
"""

from collections.abc import Callable, Iterable

import numpy as np
from scipy import sparse

from pipelines.evaluation.rankers import full_ranking
from pipelines.evaluation.rankers.full_ranking import Ranker
from recall.errors import InputError
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID

_NEIGHBOURS = 100
"""Of an item: usual for cosines (Ferrari Dacrema et al. 2019 search 5 to 800)."""

_EASE_PENALTY = 200.0
"""On the squared weights (lambda); Steck has 200 to 1,000 on logs of 20,000 items."""

MOST_EASE_ITEMS = 20_000
"""Catalogue that EASE is made for: its matrix, and the inverse, have 1.6 GB each."""


def count_together(windows: Iterable[Ragged], num_items: int) -> sparse.csr_matrix:
    """`[num_items, num_items]` windows that hold both items; on the diagonal those with one.

    Args:
        windows: Parts of the training windows, dense ids.
        num_items: Size of the catalogue.
    """
    total = sparse.csr_matrix((num_items, num_items), dtype=np.float32)
    for part in windows:
        clicked = _to_sets(part, num_items)
        total = total + clicked.T @ clicked
    return total.tocsr()


def item_knn_ranker(together: sparse.csr_matrix, k: int) -> Ranker:
    """Ranks by the cosines of an item with those of the history, of its nearest items alone.

    Reference:
        Sarwar et al., "Item-Based Collaborative Filtering Recommendation Algorithms", WWW 2001.
    """
    lengths = np.sqrt(np.maximum(together.diagonal(), 1))
    scale = sparse.diags((1 / lengths).astype(np.float32))
    cosines = (scale @ together @ scale).tocsr()
    cosines.setdiag(0)
    nearest = _keep_largest(cosines, _NEIGHBOURS)

    def score(histories: sparse.csr_matrix) -> np.ndarray:
        return (histories @ nearest.T).toarray()

    return _ranker(score, together.shape[0], k)


def ease_ranker(together: sparse.csr_matrix, k: int) -> Ranker:
    """Ranks by the linear model of each item from all others, in closed form.

    Raises:
        InputError: The catalogue is too large for it.

    Reference:
        Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
    """
    num_items = together.shape[0]
    if num_items > MOST_EASE_ITEMS:
        raise InputError(
            f"evaluation.extra_baselines: ease inverts a matrix of all items, {num_items:,} here; "
            f"it is made for at most {MOST_EASE_ITEMS:,}. Leave it out."
        )
    gram = together.toarray()
    gram[np.diag_indices(num_items)] += _EASE_PENALTY
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)

    def score(histories: sparse.csr_matrix) -> np.ndarray:
        return histories @ weights

    return _ranker(score, num_items, k)


def _ranker(score: Callable[[sparse.csr_matrix], np.ndarray], num_items: int, k: int) -> Ranker:
    """Ranks by scores of the set of a user's items."""

    def rank(histories: Ragged, excluded: Ragged | None) -> np.ndarray:
        scores = np.asarray(score(_to_sets(histories, num_items)), np.float32)
        return full_ranking.rank_scores(
            lambda rows: scores[:, rows], len(histories), num_items, k, excluded
        ).rows

    return rank


def _to_sets(sequences: Ragged, num_items: int) -> sparse.csr_matrix:
    """`[num_sequences, num_items]`, 1 where a sequence has an item; unknown ones are left out."""
    rows, owners = sequences.values - FIRST_ITEM_ID, sequences.row_numbers()
    known = rows >= 0
    ones = np.ones(int(known.sum()), np.float32)
    shape = (len(sequences), num_items)
    sets = sparse.csr_matrix((ones, (owners[known], rows[known])), shape=shape)
    sets.data[:] = 1  # Repeated clicks are added up before.
    return sets


def _keep_largest(matrix: sparse.csr_matrix, number: int) -> sparse.csr_matrix:
    """The largest values of every row; of equal ones those of earlier columns."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = order[place < number]
    return sparse.csr_matrix(
        (matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape
    )
