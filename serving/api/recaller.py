"""What answers recall requests, as its callers know it. Imports no TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from serving.api.recall_limits import RecallLimits
from serving.api.recall_request import RecallRequest, RecallResponse


class ItemVectors(NamedTuple):
    """What some items are searched with when similar ones are wanted.

    Attributes:
        vectors: `[n, dim]` float32; zeros where there is no such item.
        is_known: `[n]` bool, whether there is.
        fingerprint: The embedding space.
    """

    vectors: np.ndarray
    is_known: np.ndarray
    fingerprint: str


class Recaller(Protocol):
    """Answers batches of requests; may be used from several threads."""

    @property
    def limits(self) -> RecallLimits:
        """Largest sizes of a request."""

    @property
    def popular_item_ids(self) -> tuple[str, ...]:
        """Some known items, for requests of our own."""

    def recall(
        self, requests: Sequence[RecallRequest], *, timeout_s: float | None = None
    ) -> list[RecallResponse]:
        """One answer per request, in the time left.

        Raises:
            InputError: A request is not valid.
            ServingError: There is no answer.
        """

    def item_vectors(self, item_ids: Sequence[str]) -> ItemVectors:
        """What items are searched with; raises as `recall`."""
