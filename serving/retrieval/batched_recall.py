"""Requests of several callers answered in one call of the recall service.

Imports no TensorFlow. One thread that runs tower, search and merge for sixteen
requests hands Python's lock on far less often than sixteen threads that do so
for one each, and tower and index cost less per user in batches.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from serving.api.recall_limits import RecallLimits, check_requests
from serving.api.recall_request import MERGE_MAX_SCORE, RecallRequest, RecallResponse
from serving.api.recaller import ItemVectors
from serving.batching.arrays import length_class
from serving.batching.batch_queue import BatchQueue, BatchReport
from serving.batching.options import BatchingOptions
from serving.protocol.call import deadline_after
from serving.retrieval.service import RecallService, deadline_exceeded

RECALL_BATCHING = BatchingOptions(
    # Requests: with 32 nothing is cheaper, and answers come in longer waves.
    max_batch_size=16,
    # While one batch is in the index, which leaves Python's lock alone, the other one
    # has it. One runner left a third of two cores idle.
    num_batch_threads=2,
    # The doors admit fewer.
    max_enqueued_batches=64,
)
"""How recall requests share batches; the options of a model's batches are another matter."""

_MAX_VECTORS = 8
"""Vectors of a request that may share a batch: as many interests as models have."""

_MAX_NAMED = 1024
"""Items such a request may name, in all its lists: .8 CPU-ms of lookups among 10^6 (measured)."""


class _Job(NamedTuple):
    """A request, and when it ends on the monotonic clock."""

    request: RecallRequest
    deadline_s: float


class BatchedRecallService:
    """In front of a `RecallService`: answers lone requests together while it is busy.

    Safe to call from several threads.
    """

    def __init__(
        self,
        service: RecallService,
        batching: BatchingOptions = RECALL_BATCHING,
        report: Callable[[BatchReport], None] = lambda _: None,
    ):
        """Puts a queue in front of a service.

        Args:
            service: Answers.
            batching: Sizes and times, in requests; the fields about the shape of a
                model's inputs do not matter here.
            report: Told of every batch that ran.
        """
        self._service = service
        self._queue = BatchQueue(functools.partial(_answer, service), batching, report)

    @property
    def limits(self) -> RecallLimits:
        """Largest sizes of a request."""
        return self._service.limits

    @property
    def popular_item_ids(self) -> tuple[str, ...]:
        """See `RecallService`."""
        return self._service.popular_item_ids

    @property
    def num_waiting(self) -> int:
        """Requests that wait for a batch now."""
        return self._queue.queued_rows

    def item_vectors(self, item_ids: Sequence[str]) -> ItemVectors:
        """See `RecallService.item_vectors`."""
        return self._service.item_vectors(item_ids)

    def recall(
        self, requests: Sequence[RecallRequest], *, timeout_s: float | None = None
    ) -> list[RecallResponse]:
        """See `RecallService.recall`.

        Raises:
            ServingError: Also RESOURCE_EXHAUSTED, too many requests wait, and
                CANCELLED, the client of the current call went away meanwhile.
        """
        if len(requests) != 1 or not self._is_cheap(requests[0]):
            return self._service.recall(requests, timeout_s=timeout_s)
        check_requests(requests, self.limits)
        job = _Job(requests[0], deadline_after(timeout_s))
        key = length_class(len(job.request.history))
        response = self._queue.run(job, 1, key, timeout_s=timeout_s)
        if response.coverage == 0:
            raise deadline_exceeded()
        return [response]

    def _is_cheap(self, request: RecallRequest) -> bool:
        """Whether a request costs no more than most and cannot be refused for its contents.

        The others run in their own threads: whoever shared a batch with them
        would have to wait for what they ask for, or to run again.
        """
        if request.user_vectors is not None and not self._fits(request):
            return False
        lists = (request.history, request.exclude, request.deny)
        if sum(map(len, lists)) > _MAX_NAMED or len(request.similar_to) > _MAX_VECTORS:
            return False
        return not (
            request.exact
            or request.allow
            or request.categories
            or request.exclude_categories
            or request.where
            or request.boosts
            or request.interest_weights
            or request.max_per_category is not None
            or request.leaves_to_search is not None
            or request.reorder is not None
            or request.merge != MERGE_MAX_SCORE
        )

    def _fits(self, request: RecallRequest) -> bool:
        """Whether ready vectors are few and of this model."""
        vectors, view = request.user_vectors, self._service.view()
        return (
            vectors.ndim == 2
            and len(vectors) <= _MAX_VECTORS
            and vectors.shape[1] == view.dim
            and request.fingerprint in ("", view.fingerprint)
        )


def _answer(service: RecallService, jobs: Sequence[_Job]) -> list[RecallResponse]:
    """No method: a queue and a service that hold each other would outlive their version."""
    requests, deadlines_s = zip(*jobs, strict=True)
    return service.recall_together(requests, deadlines_s)
