"""The recall service as a model of TF Serving's Predict API.

Existing clients in any language reach it with the stubs they have: padded
rows of histories in, padded rows of items out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from serving.api import recall_tensors
from serving.api.recall_limits import check_size
from serving.api.recall_request import (
    FALLBACK_INTEREST,
    RECALL_MODEL,
    RESPONSE_FACTS,
    RecallRequest,
    RecallResponse,
)
from serving.api.recaller import ItemVectors, Recaller
from serving.models.servable import Servable
from serving.monitoring.metrics import Metrics
from serving.protocol import signatures
from serving.protocol.tensors import numpy_dtype
from serving.servables import recall_rows

_WARM_UP_BATCH_SIZES = (1, 8)


class RecallServable(Servable):
    """See `servable.Servable`."""

    def __init__(self, service: Recaller, version: int, metrics: Metrics | None = None):
        """Wraps a service.

        Args:
            service: What answers.
            version: The release's.
            metrics: Told of the answers to callers, not of those to `warm_up` and `probe`.
        """
        self.name = RECALL_MODEL
        self.version = version
        self.service = service
        self._metrics = metrics
        self.signature_defs = recall_rows.recall_signature_defs()

    def check_shapes(self, signature_name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuses a batch that is too large, before it is decoded.

        Raises:
            InputError: It is.
        """
        limits = self.service.limits
        if signature_name == recall_tensors.ITEM_VECTORS_SIGNATURE:
            ((size,),) = shapes.values()
            check_size("number of item ids", size, limits.max_similar_to)
        else:
            size = shapes[recall_tensors.subject_input(signature_name)][0]
            check_size("number of requests in a batch", size, limits.max_batch_size)

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Answers a batch, or gives vectors of items.

        Args:
            signature_name: "", a key of `recall_tensors.INPUTS`, or `item_vectors`.
            inputs: Those of the signature; optional ones may be left out.
                Rows of texts are padded with "", and one row, or one value,
                serves for the whole batch. 0 as `max_per_category`,
                `leaves_to_search` or `reorder` says nothing.
            output_filter: Outputs wanted; none means all, titles and categories
                only where a request is `with_metadata`, weights of interests
                only where one is `with_interests`, unknown categories only
                where there are any.
            timeout_s: Time left.

        Returns:
            Outputs by name. Lists shorter than the largest `k` of the batch
            are padded with "", score 0 and interest -1, as are titles and
            categories of requests that did not ask for them.

        Raises:
            InputError: A limit of the service is exceeded.
            ServingError: The request does not fit the signature, or the
                service cannot answer.
        """
        signature = signatures.find_signature(self.signature_defs, signature_name)
        signatures.check_sent(signature, inputs)
        selected = signatures.select_outputs(signature, output_filter)
        if signature_name == recall_tensors.ITEM_VECTORS_SIGNATURE:
            item_ids = recall_rows.parse_item_vectors_inputs(inputs)
            outputs = _vector_outputs(self.service.item_vectors(item_ids))
        else:
            requests = recall_rows.parse_requests(
                signature_name, inputs, self.service.limits.max_batch_size
            )
            responses = self.service.recall(requests, timeout_s=timeout_s)
            k = max((request.k for request in requests), default=0)
            outputs = _build_outputs(responses, k)
            outputs |= recall_rows.build_asked(requests, responses, k, output_filter)
            if "is_fallback" in selected:  # Others do not ask what kind of answer it is.
                self._count(responses)
        return {name: outputs[name] for name in selected if name in outputs}

    def recall(
        self, requests: Sequence[RecallRequest], *, timeout_s: float | None = None
    ) -> list[RecallResponse]:
        """Answers and counts; see `Recaller`."""
        responses = self.service.recall(requests, timeout_s=timeout_s)
        self._count(responses)
        return responses

    def _count(self, responses: Sequence[RecallResponse]) -> None:
        if self._metrics is None:
            return
        num_fallback = sum(response.is_fallback for response in responses)
        self._metrics.count_recall_answers(
            num_personal=len(responses) - num_fallback,
            num_fallback=num_fallback,
            num_degraded=sum(response.degraded for response in responses),
            coverage=sum(response.coverage for response in responses),
        )

    def warm_up(self) -> None:
        """Answers small batches, with known items and without."""
        popular = self.service.popular_item_ids
        for batch_size in _WARM_UP_BATCH_SIZES:
            self.service.recall([RecallRequest(history=popular)] * batch_size)
        self.service.recall([RecallRequest(), RecallRequest(similar_to=popular[:1])])

    def probe(self) -> None:
        """Answers one request the way of all others, and drops the answer."""
        self.service.recall([RecallRequest(history=self.service.popular_item_ids[:1], k=1)])


def _vector_outputs(found: ItemVectors) -> dict[str, np.ndarray]:
    """All outputs of `item_vectors`."""
    fingerprints = np.full(len(found.vectors), found.fingerprint.encode(), dtype=object)
    return {
        "item_vectors": found.vectors,
        "is_known": found.is_known,
        "fingerprint": fingerprints,
    }


def _build_outputs(responses: Sequence[RecallResponse], k: int) -> dict[str, np.ndarray]:
    """Responses -> padded outputs, all rows `k` wide."""
    shape = (len(responses), k)
    width = max((response.item_ids.dtype.itemsize for response in responses), default=1)
    item_ids = np.zeros(shape, dtype=f"S{width}")
    scores = np.zeros(shape, dtype=np.float32)
    interests = np.full(shape, FALLBACK_INTEREST, dtype=np.int32)
    for row, response in enumerate(responses):
        found = slice(len(response.scores))
        item_ids[row, found] = response.item_ids
        scores[row, found] = response.scores
        interests[row, found] = response.interests
    facts = {
        name: np.array(
            [getattr(response, name) for response in responses],
            dtype=numpy_dtype(recall_tensors.OUTPUTS[name][0]),
        )
        for name in RESPONSE_FACTS
    }
    return {"item_ids": item_ids, "scores": scores, "interests": interests, **facts}
