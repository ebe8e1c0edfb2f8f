"""The recall service in front of the shards of a catalogue.

User vectors are computed here, once; every shard searches its items with them,
filters them, and sends its best; the best of all are the answer. A shard that
is lost or too slow makes the answer degraded, not an error.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from recall.errors import InputError
from serving import recall_signatures
from serving.recall_limits import RecallLimits, check_requests
from serving.recall_types import (
    MERGE_MAX_SCORE,
    MODEL_NAME,
    RecallRequest,
    RecallResponse,
)
from serving.shard_clients import Outputs, ShardCall, ShardClients
from serving.status import Code, ServingError
from serving.user_interests import UserInterests, compute_interests
from serving.user_vectors import UserVectorSource

SHARD_TIMEOUT_S = 1.0
"""Longest wait for a shard where the caller has more time: a hundred times what
a healthy one needs."""

_MERGE_SHARE = 0.9
"""Share of the time left that the shards may use; the rest is for the answer."""

ItemVectors = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""Raw ids -> `[n, dim]` vectors, `[n]` bool whether the item tower knows each."""


class _Space(NamedTuple):
    """What is known here of the catalogue; stands for a view of it."""

    fingerprint: str
    dim: int
    version: int


class ShardedRecallService:
    """Answers like `RecallService`; safe to call from several threads."""

    def __init__(
        self,
        user_vectors_source: UserVectorSource,
        item_vectors: ItemVectors,
        clients: ShardClients,
        popular_item_ids: Sequence[str],
        *,
        version: int = 0,
        limits: RecallLimits | None = None,
    ):
        """Puts a user tower in front of the shards; they need not be up yet.

        Args:
            user_vectors_source: The user tower; asked once here.
            item_vectors: The item tower of the same release.
            clients: The shards.
            popular_item_ids: The fallback list of the whole catalogue.
            version: Of the release.
            limits: Largest sizes of a request.

        Raises:
            ServingError: The tower does not answer.
        """
        probe = user_vectors_source.compute([()])
        self._space = _Space(probe.fingerprint, probe.user_vectors.shape[2], version)
        self._source = user_vectors_source
        self._item_vectors = item_vectors
        self._clients = clients
        self.popular_item_ids = tuple(popular_item_ids)
        self._place_of = {i.encode(): place for place, i in enumerate(popular_item_ids)}
        self.limits = limits or RecallLimits()

    def recall(
        self, requests: Sequence[RecallRequest], *, timeout_s: float | None = None
    ) -> list[RecallResponse]:
        """Answers every request; see `RecallService.recall`.

        Returns:
            One response per request, in their order. `coverage` is the share
            of the shards' answers that arrived whole, `degraded` whether it is
            below 1.

        Raises:
            InputError: A request exceeds a limit or does not fit the model.
            ServingError: No shard answers, or a request asks for something
                that needs the whole catalogue in one place.
        """
        deadline_s = time.monotonic() + (SHARD_TIMEOUT_S if timeout_s is None else timeout_s)
        check_requests(requests, self.limits)
        if not requests:
            return []
        for request in requests:
            _check_offered(request)
        with_vectors = [self._with_vectors(request) for request in requests]
        interests = compute_interests(self._space, self._source, with_vectors, timeout_s)
        calls = [
            _build_call(self._space.fingerprint, request, found)
            for request, found in zip(with_vectors, interests, strict=True)
        ]
        left_s = _MERGE_SHARE * (deadline_s - time.monotonic())
        if left_s <= 0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        answers = self._clients.ask_all(calls, min(left_s, SHARD_TIMEOUT_S))
        return [
            self._merge(request, found, of_shards)
            for request, found, of_shards in zip(requests, interests, answers, strict=True)
        ]

    def _with_vectors(self, request: RecallRequest) -> RecallRequest:
        """The request with the vectors of the items it wants similar ones of."""
        if not request.similar_to:
            return request
        vectors, is_known = self._item_vectors(request.similar_to)
        weights = request.interest_weights or (1.0,) * len(is_known)
        if len(weights) != len(is_known):
            raise InputError(
                f"`interest_weights` must be one number for each of {len(is_known)} interests, "
                f"received {len(weights)}."
            )
        return dataclasses.replace(
            request,
            similar_to=(),
            user_vectors=vectors,
            # An unknown item has no vector of its own and is not searched with.
            interest_weights=tuple(np.where(is_known, weights, 0.0).tolist()),
            deny=request.deny + request.similar_to,
        )

    def _merge(
        self,
        request: RecallRequest,
        interests: UserInterests,
        answers: Sequence[Outputs | ServingError],
    ) -> RecallResponse:
        """The best of all shards' answers."""
        arrived = [answer for answer in answers if not isinstance(answer, ServingError)]
        if not arrived:
            raise answers[0]
        found = [answer["item_ids"][0].astype(np.bool_) for answer in arrived]  # "" is padding.
        item_ids, scores, numbers = (
            np.concatenate([a[name][0][mask] for a, mask in zip(arrived, found, strict=True)])
            for name in ("item_ids", "scores", "interests")
        )
        is_fallback = not len(interests.vectors)
        keys = self._popularity(item_ids.tolist()) if is_fallback else -scores
        best = np.argsort(keys, kind="stable")[: request.k]
        if not is_fallback:
            numbers = interests.numbers[numbers]
        coverage = float(sum(answer["coverage"][0] for answer in arrived) / len(answers))
        known = (interests.num_known, interests.num_unknown)
        if request.similar_to:
            num_known = int(self._item_vectors(request.similar_to)[1].sum())
            known = (num_known, len(request.similar_to) - num_known)
        return RecallResponse(
            item_ids[best].astype(np.bytes_),
            scores[best],
            numbers[best],
            is_fallback,
            *known,
            interests.model_version,
            min(int(answer["index_version"][0]) for answer in arrived),
            degraded=coverage < 1,
            coverage=coverage,
        )

    def _popularity(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """Places in the fallback list; items that are not in it come last."""
        last = len(self._place_of)
        return np.array([self._place_of.get(item_id, last) for item_id in item_ids], np.int64)


def _check_offered(request: RecallRequest) -> None:
    """Refuses what cannot be put together from the shards' lists."""
    if request.merge != MERGE_MAX_SCORE or request.max_per_category is not None:
        raise ServingError(
            Code.UNIMPLEMENTED,
            'Over shards, `merge` is "max_score" and there is no `max_per_category`: others '
            "need the whole catalogue in one place. Leave them out.",
        )


def _build_call(fingerprint: str, request: RecallRequest, interests: UserInterests) -> ShardCall:
    """What every shard is asked; nothing is searched for a user nothing is known about."""
    seen = () if request.include_seen else request.history
    of_shard = dataclasses.replace(
        request,
        history=(),
        include_seen=False,
        interest_weights=(),  # The vectors are multiplied already.
        user_vectors=interests.vectors if len(interests.vectors) else None,
        fingerprint=fingerprint if len(interests.vectors) else "",
        deny=tuple(dict.fromkeys((*request.deny, *seen))),
    )
    return ShardCall(MODEL_NAME, *recall_signatures.build_inputs(of_shard))
