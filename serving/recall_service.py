"""History -> user vectors -> search of every interest -> merge -> filter -> answer.

A plain callable: no TensorFlow, no files, no sockets. Where user vectors come
from and where items are searched is handed in.
"""

import time
from collections.abc import Sequence

import numpy as np

from recall.vocabulary import FIRST_ITEM_ID
from serving import filters
from serving.bundle import IndexBundle, check_compatible
from serving.item_index import ExactIndex, ItemIndex
from serving.merge import MergedItems, merge_max_score
from serving.recall_types import (
    FALLBACK_INTEREST,
    RecalledItem,
    RecallLimits,
    RecallRequest,
    RecallResponse,
    check_requests,
)
from serving.status import Code, ServingError
from serving.user_vectors import UserVectors, UserVectorSource

__all__ = [
    "FALLBACK_INTEREST",
    "RecallLimits",
    "RecallRequest",
    "RecallResponse",
    "RecallService",
    "RecalledItem",
]


class RecallService:
    """Answers batches of requests; safe to call from several threads."""

    def __init__(
        self,
        user_vectors_source: UserVectorSource,
        bundle: IndexBundle,
        *,
        index_version: int = 0,
        limits: RecallLimits | None = None,
    ):
        """Puts a user tower and an index together and checks that they match.

        Args:
            user_vectors_source: The user tower; asked once here.
            bundle: The opened index.
            index_version: Reported in answers.
            limits: Largest sizes of a request.

        Raises:
            InputError: Tower and index are of different exports.
            ServingError: The tower does not answer.
        """
        self._source = user_vectors_source
        self._bundle = bundle
        self._index_version = index_version
        self.limits = limits or RecallLimits()
        self._exact: ItemIndex = (
            bundle.index
            if bundle.index.kind == ExactIndex.kind
            else ExactIndex(bundle.item_vectors)
        )
        fallback = bundle.items.to_dense(bundle.fallback) - FIRST_ITEM_ID
        self._fallback_rows = fallback[fallback >= 0]
        check_compatible(bundle, self._source.compute([()]).fingerprint)

    @property
    def popular_item_ids(self) -> tuple[str, ...]:
        """Raw ids of the fallback list, best first."""
        return self._bundle.fallback

    def recall(
        self, requests: Sequence[RecallRequest], *, timeout_s: float | None = None
    ) -> list[RecallResponse]:
        """Answers every request, in one call of the tower and one search.

        Args:
            requests: At most `limits.max_batch_size`.
            timeout_s: Time left for the whole call; None means no deadline.

        Returns:
            One response per request, in their order.

        Raises:
            InputError: A request exceeds a limit.
            ServingError: The time is over, the tower does not answer, or it
                answers from another embedding space than the index's.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        check_requests(requests, self.limits)
        if not requests:
            return []
        vectors = self._source.compute([r.history for r in requests], timeout_s=timeout_s)
        self._check_vectors(vectors)
        _check_deadline(deadline_s)
        removed = [self._removed_rows(request) for request in requests]
        personal = np.flatnonzero(vectors.num_known > 0).tolist()
        found = self._search(
            vectors.user_vectors[personal],
            [requests[i].k for i in personal],
            [removed[i] for i in personal],
            deadline_s,
        )
        merged = dict(zip(personal, found, strict=True))
        return [
            RecallResponse(
                items=self._items(merged[i])
                if i in merged
                else self._fallback(requests[i], removed[i]),
                is_fallback=i not in merged,
                num_known=int(vectors.num_known[i]),
                num_unknown=int(vectors.num_unknown[i]),
                model_version=vectors.model_version,
                index_version=self._index_version,
            )
            for i in range(len(requests))
        ]

    def _check_vectors(self, vectors: UserVectors) -> None:
        """Guards the index against vectors it must not be asked with."""
        if vectors.fingerprint != self._bundle.fingerprint:
            raise ServingError(
                Code.UNAVAILABLE,
                f"The user tower answers from embedding space {vectors.fingerprint}, the index "
                f"holds {self._bundle.fingerprint}. Serve both from one release.",
            )
        if not np.isfinite(vectors.user_vectors[vectors.num_known > 0]).all():
            raise ServingError(
                Code.INTERNAL,
                f"Version {vectors.model_version} of the user tower gave a vector that is not "
                "finite. Serve another version.",
            )

    def _removed_rows(self, request: RecallRequest) -> np.ndarray:
        """Rows of the items that must not be in the answer."""
        seen = () if request.include_seen else request.history
        return filters.rows_of(self._bundle.items, (*request.exclude, *seen))

    def _search(
        self,
        user_vectors: np.ndarray,
        ks: Sequence[int],
        removed: Sequence[np.ndarray],
        deadline_s: float | None,
    ) -> list[MergedItems]:
        """Best items of every user, as many as there must be.

        An approximate index may find too few items in the leaves it looks
        into; those users are searched again exactly.

        Args:
            user_vectors: `[num_users, num_interests, dim]` float32.
            ks: Items wanted per user.
            removed: Rows that must not be found, per user.
            deadline_s: On the monotonic clock, None for no deadline.
        """
        merged = self._search_once(self._bundle.index, user_vectors, ks, removed)
        num_items = self._bundle.num_items
        short = [
            user
            for user, items in enumerate(merged)
            if len(items.rows) < filters.num_available(ks[user], len(removed[user]), num_items)
        ]
        if short:
            _check_deadline(deadline_s)
            exact = self._search_once(
                self._exact,
                user_vectors[short],
                [ks[user] for user in short],
                [removed[user] for user in short],
            )
            for user, items in zip(short, exact, strict=True):
                merged[user] = items
        return merged

    def _search_once(
        self,
        index: ItemIndex,
        user_vectors: np.ndarray,
        ks: Sequence[int],
        removed: Sequence[np.ndarray],
    ) -> list[MergedItems]:
        """Searches every interest of every user at once, merges and filters."""
        if not len(user_vectors):
            return []
        num_users, num_interests, dim = user_vectors.shape
        num_fetched = max(
            filters.num_to_fetch(k, len(rows), self._bundle.num_items)
            for k, rows in zip(ks, removed, strict=True)
        )
        result = index.search(user_vectors.reshape(num_users * num_interests, dim), num_fetched)
        answers = []
        for user in range(num_users):
            interests = slice(user * num_interests, (user + 1) * num_interests)
            merged = merge_max_score(result.rows[interests], result.scores[interests])
            kept = merged.take(filters.keep_mask(merged.rows, removed[user]))
            answers.append(kept.take(slice(ks[user])))
        return answers

    def _items(self, merged: MergedItems) -> tuple[RecalledItem, ...]:
        item_ids = self._bundle.items.item_ids
        return tuple(
            RecalledItem(item_ids[row], score, interest)
            for row, score, interest in zip(*(c.tolist() for c in merged), strict=True)
        )

    def _fallback(self, request: RecallRequest, removed: np.ndarray) -> tuple[RecalledItem, ...]:
        """Popular items, then, where the list is too short, the others."""
        listed = self._fallback_rows
        kept = listed[filters.keep_mask(listed, removed)][: request.k]
        if len(kept) < request.k:
            others = np.arange(self._bundle.num_items)
            others = others[filters.keep_mask(others, np.concatenate([removed, listed]))]
            kept = np.concatenate([kept, others])[: request.k]
        item_ids = self._bundle.items.item_ids
        return tuple(RecalledItem(item_ids[row], 0.0, FALLBACK_INTEREST) for row in kept.tolist())


def _check_deadline(deadline_s: float | None) -> None:
    if deadline_s is not None and time.monotonic() > deadline_s:
        raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
