"""The vectors each request of a batch is searched with.

Imports no TensorFlow. They come from the user tower, from the caller, or from
the items a request wants similar ones of; afterwards all are treated alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recall.errors import InputError
from serving.api.recall_request import MERGE_QUOTA, RecallRequest
from serving.index.catalogue import NO_ROW, CatalogueView
from serving.protocol.status import Code, ServingError
from serving.retrieval.user_vectors import UserVectors, UserVectorSource


class UserInterests(NamedTuple):
    """What one user is searched with; no vectors means a new visitor.

    Attributes:
        vectors: `[n, dim]` float32, already multiplied by the weights.
        numbers: `[n]` int32, the interest reported for what a vector finds.
        shares: `[n]` float, > 0, for quotas.
        num_known: See `RecallResponse`.
        num_unknown: See `RecallResponse`.
        model_version: See `RecallResponse`.
        weights: The user tower's weights of all interests, where it knows the history.
    """

    vectors: np.ndarray
    numbers: np.ndarray
    shares: np.ndarray
    num_known: int
    num_unknown: int
    model_version: int
    weights: tuple[float, ...] = ()


def compute_interests(
    view: CatalogueView,
    source: UserVectorSource,
    requests: Sequence[RecallRequest],
    timeout_s: float | None,
) -> list[UserInterests]:
    """The interests of every request; at most one call of the user tower.

    Raises:
        InputError: Ready vectors or weights do not fit the model.
        ServingError: The tower does not answer, or answers from another
            embedding space than the index's.
    """
    asked = [i for i, r in enumerate(requests) if r.user_vectors is None and not r.similar_to]
    interests: list[UserInterests | None] = [None] * len(requests)
    if asked:
        contexts = [requests[i].context for i in asked]
        more = {"contexts": contexts} if any(contexts) else {}
        histories = [requests[i].history for i in asked]
        answer = source.compute(histories, timeout_s=timeout_s, **more)
        check_vectors(view, answer)
        for row, i in enumerate(asked):
            interests[i] = _from_tower(requests[i], answer, row)
    return [
        found or (_from_caller if request.user_vectors is not None else _from_items)(view, request)
        for found, request in zip(interests, requests, strict=True)
    ]


def check_vectors(view: CatalogueView, answer: UserVectors) -> None:
    """Guards the index against vectors it must not be asked with.

    Raises:
        ServingError: UNAVAILABLE, they lie in another space; INTERNAL, a
            value is not finite.
    """
    if answer.fingerprint != view.fingerprint:
        raise ServingError(
            Code.UNAVAILABLE,
            f"Version {answer.model_version} of the user tower answers from embedding space "
            f"{answer.fingerprint}, version {view.version} of the index holds "
            f"{view.fingerprint}. Serve both from one release.",
        )
    if not np.isfinite(answer.user_vectors[answer.is_of_somebody]).all():
        raise ServingError(
            Code.INTERNAL,
            f"Version {answer.model_version} of the user tower gave a vector that is not "
            "finite. Serve another version.",
        )


def _from_tower(request: RecallRequest, answer: UserVectors, row: int) -> UserInterests:
    vectors = answer.user_vectors[row]
    num_known = int(answer.num_known[row])
    used, shares = _apply_weights(request, len(vectors), answer.interest_weights[row])
    used = used[~_find_switched_off(vectors, answer.interest_weights[row])[used]]
    is_known = bool(answer.is_of_somebody[row])
    if not is_known:
        used = used[:0]
    found = _build(
        request,
        vectors[used],
        used,
        shares[used],
        (num_known, int(answer.num_unknown[row]), answer.model_version),
    )
    if not (is_known and request.with_interests):
        return found
    return found._replace(weights=tuple(answer.interest_weights[row].tolist()))


def _find_switched_off(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`[num_interests]` bool: of weight 0, with the vector of the strongest interest once more."""
    is_strongest = (vectors == vectors[weights.argmax()]).all(axis=1)
    return is_strongest & (weights == 0) & (weights.max() > 0)


def _from_caller(view: CatalogueView, request: RecallRequest) -> UserInterests:
    vectors = request.user_vectors
    if vectors.shape[1] != view.dim:
        raise InputError(
            f"`user_vectors` must have {view.dim} columns, received {vectors.shape[1]}. "
            "Use vectors of the user tower exported with this index."
        )
    if request.fingerprint not in ("", view.fingerprint):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"`user_vectors` are of embedding space {request.fingerprint}, version "
            f"{view.version} of the index holds {view.fingerprint}. Compute them again.",
        )
    used, shares = _apply_weights(request, len(vectors), None)
    return _build(request, vectors[used], used, shares[used], (0, 0, 0))


def _from_items(view: CatalogueView, request: RecallRequest) -> UserInterests:
    rows = view.rows_of([item_id.encode() for item_id in request.similar_to])
    used, shares = _apply_weights(request, len(rows), None)
    num_known = int((rows != NO_ROW).sum())
    used = used[rows[used] != NO_ROW]
    return _build(
        request,
        view.vectors(rows[used]),
        used,
        shares[used],
        (num_known, len(rows) - num_known, 0),
    )


def _apply_weights(
    request: RecallRequest, num_interests: int, own_weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the interests that are used, and the weight of each interest.

    Raises:
        InputError: There are not as many weights as interests.
    """
    weights = np.array(request.interest_weights, dtype=np.float32)
    if not len(weights):
        usable = own_weights is not None and request.merge == MERGE_QUOTA and own_weights.any()
        weights = own_weights if usable else np.ones(num_interests, dtype=np.float32)
    elif len(weights) != num_interests:
        raise InputError(
            f"`interest_weights` must be one number for each of {num_interests} interests, "
            f"received {len(weights)}."
        )
    return np.flatnonzero(weights > 0), weights


def _build(
    request: RecallRequest,
    vectors: np.ndarray,
    numbers: np.ndarray,
    shares: np.ndarray,
    facts: tuple[int, int, int],
) -> UserInterests:
    if request.interest_weights and request.merge != MERGE_QUOTA:
        vectors = vectors * shares[:, None]
    return UserInterests(vectors, numbers.astype(np.int32), shares, *facts)
