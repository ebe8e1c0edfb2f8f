"""The recall service in front of the shards of a catalogue.

User vectors are computed here, once; every shard searches its items with them,
filters them, and sends its best; the best of all are the answer. A shard that
is lost or too slow makes the answer degraded, not an error.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serving.api import recall_tensors
from serving.api.recall_limits import RecallLimits, check_num_item_ids, check_requests
from serving.api.recall_request import (
    MERGE_MAX_SCORE,
    RECALL_MODEL,
    ItemMetadata,
    RecallRequest,
    RecallResponse,
)
from serving.api.recaller import ItemVectors
from serving.protocol.call import deadline_after
from serving.protocol.status import Code, ServingError
from serving.retrieval.interests import UserInterests, compute_interests
from serving.retrieval.service import look_up
from serving.retrieval.user_vectors import UserVectorSource
from serving.sharding.calls import ShardOutputs
from serving.sharding.clients import ShardCall, ShardClients
from serving.sharding.vectors import ItemsOfShards, ShardedVectors, TowerVectors, time_left_s

SHARD_TIMEOUT_S = 1.0
"""Longest wait for a shard's answer to one request where the caller has more time: a
hundred times what a healthy one needs. A batch has as many requests as it has."""

_MERGE_SHARE = 0.9
"""Share of the time left that the shards may use; the rest is for the answer."""


class ShardedRecallService:
    """Answers like `RecallService`; safe to call from several threads."""

    def __init__(
        self,
        user_vectors_source: UserVectorSource,
        tower_vectors: TowerVectors,
        clients: ShardClients,
        popular_item_ids: Sequence[str],
        *,
        version: int = 0,
        limits: RecallLimits | None = None,
    ):
        """Puts a user tower in front of the shards; they need not be up yet.

        Args:
            user_vectors_source: The user tower; asked once here.
            tower_vectors: The item tower of the same release.
            clients: The shards.
            popular_item_ids: The fallback list of the whole catalogue.
            version: Of the release.
            limits: Largest sizes of a request.

        Raises:
            ServingError: The tower does not answer.
        """
        probe = user_vectors_source.compute([()])
        self._items = ItemsOfShards(probe.fingerprint, probe.user_vectors.shape[2], version)
        self._source = user_vectors_source
        self._clients = clients
        self.popular_item_ids = tuple(popular_item_ids)
        self._place_of = {i.encode(): place for place, i in enumerate(popular_item_ids)}
        self.limits = limits or RecallLimits()
        self._vectors = ShardedVectors(
            clients,
            tower_vectors,
            self._items.fingerprint,
            ids_per_call=self.limits.max_similar_to,
            call_timeout_s=SHARD_TIMEOUT_S,
        )

    def recall(
        self, requests: Sequence[RecallRequest], *, timeout_s: float | None = None
    ) -> list[RecallResponse]:
        """Answers every request; see `RecallService.recall`.

        Returns:
            One response per request, in their order. `coverage` is the share
            of the shards' answers that arrived whole, `degraded` whether it is
            below 1. A request of a batch that no shard answered in time has no
            items.

        Raises:
            InputError: A request exceeds a limit or does not fit the model.
            ServingError: No shard answers, or a request asks for something
                that needs the whole catalogue in one place.
        """
        deadline_s = deadline_after(timeout_s)
        check_requests(requests, self.limits)
        if not requests:
            return []
        for request in requests:
            _check_offered(request)
        wanted = (item_id for request in requests for item_id in request.similar_to)
        items = self._items.with_items(self._vectors.find(wanted, deadline_s))
        interests = compute_interests(items, self._source, requests, time_left_s(deadline_s))
        calls = [
            _build_call(items.fingerprint, request, found)
            for request, found in zip(requests, interests, strict=True)
        ]
        left_s = time_left_s(deadline_s)
        answers = self._clients.ask_all(
            calls,
            math.inf if left_s is None else _MERGE_SHARE * left_s,
            call_timeout_s=SHARD_TIMEOUT_S,
        )
        if all(isinstance(answer, ServingError) for of_shards in answers for answer in of_shards):
            raise answers[0][0]
        return [
            self._merge(request, found, of_shards)
            for request, found, of_shards in zip(requests, interests, answers, strict=True)
        ]

    def item_vectors(self, item_ids: Sequence[str]) -> ItemVectors:
        """See `RecallService.item_vectors`; from the shards."""
        check_num_item_ids(item_ids, self.limits)
        return look_up(self._items.with_items(self._vectors.find(item_ids, math.inf)), item_ids)

    def _merge(
        self,
        request: RecallRequest,
        interests: UserInterests,
        answers: Sequence[ShardOutputs | ServingError],
    ) -> RecallResponse:
        """The best of all shards' answers."""
        arrived = [answer for answer in answers if not isinstance(answer, ServingError)]
        if not arrived:
            return self._nothing_found(request, interests)
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
        return RecallResponse(
            item_ids[best].astype(np.bytes_),
            scores[best],
            numbers[best],
            is_fallback,
            interests.num_known,
            interests.num_unknown,
            interests.model_version,
            min(int(answer["index_version"][0]) for answer in arrived),
            degraded=coverage < 1,
            coverage=coverage,
            metadata=_merge_metadata(arrived, found, best) if request.with_metadata else None,
            interest_weights=interests.weights if request.with_interests else None,
            unknown_categories=_unknown_to_all(answers, recall_tensors.parse_unknown),
            unknown_values=_unknown_to_all(answers, recall_tensors.parse_unknown_values),
        )

    def _nothing_found(self, request: RecallRequest, interests: UserInterests) -> RecallResponse:
        """The answer where no shard answered but others of the batch were."""
        return RecallResponse(
            np.empty(0, np.bytes_),
            np.empty(0, np.float32),
            np.empty(0, np.int32),
            not len(interests.vectors),
            interests.num_known,
            interests.num_unknown,
            interests.model_version,
            self._items.version,
            degraded=True,
            coverage=0.0,
            metadata=ItemMetadata() if request.with_metadata else None,
            interest_weights=interests.weights if request.with_interests else None,
        )

    def _popularity(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """Places in the fallback list; items that are not in it come last."""
        last = len(self._place_of)
        return np.array([self._place_of.get(item_id, last) for item_id in item_ids], np.int64)


def _merge_metadata(
    answers: Sequence[ShardOutputs], found: Sequence[np.ndarray], best: np.ndarray
) -> ItemMetadata:
    """Titles and categories of the best items of all answers.

    Args:
        answers: Of the shards.
        found: `[k]` bool for each, which places hold an item.
        best: `[n]` places among all items found, in the order of `answers`.
    """
    parts = [
        recall_tensors.parse_metadata(
            answer["titles"][0].tolist(), answer["categories"][0].tolist(), mask.tolist()
        )
        for answer, mask in zip(answers, found, strict=True)
    ]
    titles = [title for part in parts for title in part.titles]
    categories = [names for part in parts for names in part.categories]
    places = best.tolist()
    return ItemMetadata(
        tuple(titles[place] for place in places), tuple(categories[place] for place in places)
    )


def _unknown_to_all(
    answers: Sequence[ShardOutputs | ServingError],
    read: Callable[[ShardOutputs], tuple[Any, ...]],
) -> tuple[Any, ...]:
    """What no shard knows; a shard that is lost may know all of it.

    Args:
        answers: Of the shards.
        read: An answer -> what that shard does not know.
    """
    if any(isinstance(answer, ServingError) for answer in answers):
        return ()
    first, *others = map(read, answers)
    return tuple(name for name in first if all(name in names for names in others))


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
        similar_to=(),
        interest_weights=(),  # The vectors are multiplied already.
        with_interests=False,  # They are known here.
        user_vectors=interests.vectors if len(interests.vectors) else None,
        context=None,  # It is in the vectors.
        fingerprint=fingerprint if len(interests.vectors) else "",
        deny=tuple(dict.fromkeys((*request.deny, *seen, *request.similar_to))),
    )
    return ShardCall(RECALL_MODEL, *recall_tensors.build_recall_inputs(of_shard))
