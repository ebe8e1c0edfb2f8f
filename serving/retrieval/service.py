"""Requests -> user interests -> search -> answers.

A plain callable: no TensorFlow, no files, no sockets. Where user vectors come
from and where items are searched is handed in.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from serving.api.recall_limits import RecallLimits, check_num_item_ids, check_requests, check_size
from serving.api.recall_request import (
    MERGE_DIVERSITY,
    POOLED_MERGES,
    ItemMetadata,
    RecallRequest,
    RecallResponse,
)
from serving.api.recaller import ItemVectors
from serving.index.bundle import check_compatible
from serving.index.catalogue import NO_ROW, Catalogue, CatalogueView, distinctive_categories
from serving.protocol.call import deadline_after, time_until_s
from serving.protocol.status import Code, ServingError
from serving.retrieval.batch_search import search_batch
from serving.retrieval.conditions import unknown_categories, unknown_values
from serving.retrieval.filters import FilterBuilder, ItemFilter
from serving.retrieval.interests import UserInterests, compute_interests
from serving.retrieval.merge import MergedItems, diversify, prefer_new_categories
from serving.retrieval.popular_items import popular_items
from serving.retrieval.search import UserSearch
from serving.retrieval.user_vectors import UserVectorSource

_POPULAR_ITEMS = 20
"""Known items for warm-up requests; a usual length of a history."""


class RecallService:
    """Answers batches of requests; safe to call from several threads."""

    def __init__(
        self,
        user_vectors_source: UserVectorSource,
        catalogue: Catalogue,
        *,
        limits: RecallLimits | None = None,
        clock: Callable[[], float] = time.time,
    ):
        """Puts a user tower and a catalogue together and checks that they match.

        Args:
            user_vectors_source: The user tower; asked once here.
            catalogue: The items; asked for a view once per call.
            limits: Largest sizes of a request.
            clock: Seconds since 1970: which items are available.

        Raises:
            InputError: Tower and index are of different exports.
            ServingError: The tower does not answer.
        """
        self._source = user_vectors_source
        self._catalogue = catalogue
        self.limits = limits or RecallLimits()
        self._clock = clock
        check_compatible(catalogue.view(), self._source.compute([()]).fingerprint)

    def view(self) -> CatalogueView:
        """The items as they are now."""
        return self._catalogue.view()

    @property
    def popular_item_ids(self) -> tuple[str, ...]:
        """Raw ids of a few popular items, best first."""
        view = self._catalogue.view()
        rows = view.fallback_rows[:_POPULAR_ITEMS]
        return tuple(item_id.decode() for item_id in view.item_ids(rows).tolist())

    def recall(
        self, requests: Sequence[RecallRequest], *, timeout_s: float | None = None
    ) -> list[RecallResponse]:
        """Answers every request, in one call of the tower and few searches.

        Args:
            requests: At most `limits.max_batch_size`.
            timeout_s: Time left for the whole call; None means no deadline.

        Returns:
            One response per request, in their order. When the time is over
            after something was found, the responses that may lack items say
            so (`degraded`).

        Raises:
            InputError: A request exceeds a limit or does not fit the model.
            ServingError: The time is over and nothing was found, the tower
                does not answer, or it answers from another embedding space
                than the index's.
        """
        check_requests(requests, self.limits)
        if not requests:
            return []
        return self.recall_together(requests, [deadline_after(timeout_s)] * len(requests))

    def item_vectors(self, item_ids: Sequence[str]) -> ItemVectors:
        """The vectors of items as they are now.

        Args:
            item_ids: Raw ids, at most `limits.max_similar_to`.

        Raises:
            InputError: There are more, or one is too long.
        """
        check_num_item_ids(item_ids, self.limits)
        return look_up(self._catalogue.view(), item_ids)

    def recall_together(
        self, requests: Sequence[RecallRequest], deadlines_s: Sequence[float]
    ) -> list[RecallResponse]:
        """As `recall`, for requests that do not wait equally long.

        Args:
            requests: At least one, checked.
            deadlines_s: When each one ends, on the monotonic clock.
        """
        last_s = max(deadlines_s)
        view = self._catalogue.view()
        interests = compute_interests(view, self._source, requests, time_until_s(last_s))
        check_size(
            "number of interests in a batch",
            sum(len(found.vectors) for found in interests),
            self.limits.max_queries,
        )
        if time.monotonic() > last_s:
            raise deadline_exceeded()
        builder = FilterBuilder(view, self._clock())
        filters = [builder.build(request) for request in requests]
        boosts = [builder.boosts(*pair) for pair in zip(requests, filters, strict=True)]
        searches = {
            i: UserSearch(view, requests[i], interests[i], filters[i], deadlines_s[i], boosts[i])
            for i in range(len(requests))
            if len(interests[i].vectors)
        }
        search_batch(view, list(searches.values()), [requests[i].exact for i in searches])
        responses = [
            _search_response(view, request, found, searches[i])
            if i in searches
            else _popular_response(view, request, found, filters[i])
            for i, (request, found) in enumerate(zip(requests, interests, strict=True))
        ]
        if all(response.coverage == 0 for response in responses):
            raise deadline_exceeded()
        return responses


def look_up(view: CatalogueView, item_ids: Sequence[str]) -> ItemVectors:
    """The vectors a view has of some raw ids."""
    rows = view.rows_of([item_id.encode() for item_id in item_ids])
    is_known = rows != NO_ROW
    vectors = np.zeros((len(rows), view.dim), np.float32)
    vectors[is_known] = view.vectors(rows[is_known])
    return ItemVectors(vectors, is_known, view.fingerprint)


def _search_response(
    view: CatalogueView, request: RecallRequest, interests: UserInterests, search: UserSearch
) -> RecallResponse:
    """The answer of a finished search, or of one that was cut short."""
    items = search.items
    coverage = 1.0
    if not search.is_complete:
        coverage = len(items.rows) / search.num_wanted
    if request.merge in POOLED_MERGES:
        categories = distinctive_categories(view, items.rows)
        pick = diversify if request.merge == MERGE_DIVERSITY else prefer_new_categories
        items = pick(items, categories, request.k, request.diversity_weight)
    items = items._replace(interests=interests.numbers[items.interests])
    return _response(view, request, items, interests, False, not search.is_complete, coverage)


def _popular_response(
    view: CatalogueView, request: RecallRequest, interests: UserInterests, item_filter: ItemFilter
) -> RecallResponse:
    """The answer for a user nothing is known about."""
    items = popular_items(view, request.k, item_filter, request.max_per_category)
    return _response(view, request, items, interests, True, False, 1.0)


def _response(
    view: CatalogueView,
    request: RecallRequest,
    items: MergedItems,
    interests: UserInterests,
    is_fallback: bool,
    degraded: bool,
    coverage: float,
) -> RecallResponse:
    return RecallResponse(
        view.item_ids(items.rows),
        items.scores,
        items.interests,
        is_fallback,
        interests.num_known,
        interests.num_unknown,
        interests.model_version,
        view.version,
        degraded,
        coverage,
        ItemMetadata(*view.texts(items.rows)) if request.with_metadata else None,
        interests.weights if request.with_interests else None,
        unknown_categories(view, (*request.categories, *request.exclude_categories)),
        unknown_values(view, request.where, request.boosts),
        items.rows,
    )


def deadline_exceeded() -> ServingError:
    """The error of a request whose time is over."""
    return ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
