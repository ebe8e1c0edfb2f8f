"""What goes into the recall service and what comes out, and the limits.

Imports no TensorFlow.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from recall.errors import InputError

MODEL_NAME = "recall"
"""Name of the recall service among the models of a server."""

FALLBACK_INTEREST = -1
"""Interest of an item that no interest found but the fallback list."""


@dataclasses.dataclass(frozen=True)
class RecallRequest:
    """What one user is to be recommended.

    Attributes:
        history: Raw item ids, oldest first; unknown ids are ignored.
        k: Items wanted.
        exclude: Raw ids of items that must not be in the answer.
        include_seen: Whether items of the history may be in the answer.
    """

    history: tuple[str, ...] = ()
    k: int = 20
    exclude: tuple[str, ...] = ()
    include_seen: bool = False


class RecalledItem(NamedTuple):
    """One item of an answer.

    Attributes:
        item_id: Raw id.
        score: Largest inner product with an interest; 0 from the fallback list.
        interest: The interest that gave the score, -1 for the fallback list.
    """

    item_id: str
    score: float
    interest: int


class RecallResponse(NamedTuple):
    """The answer for one user.

    Attributes:
        items: Best first, each once: `k`, or all there are after removal.
        is_fallback: Whether the history named no known item, so that the
            items are popular ones.
        num_known: Ids of the history that are items.
        num_unknown: Ids of the history that are not.
        model_version: Version of the user tower.
        index_version: Version of the index.
    """

    items: tuple[RecalledItem, ...]
    is_fallback: bool
    num_known: int
    num_unknown: int
    model_version: int
    index_version: int


@dataclasses.dataclass(frozen=True)
class RecallLimits:
    """Largest accepted sizes of a request; each bounds memory and time."""

    max_k: int = 1000
    """The length of a bundle's fallback list; beyond it ranking stages choke."""
    max_history_length: int = 10_000
    """The longest histories of public logs have a few thousand clicks."""
    max_exclude: int = 10_000
    """Every excluded item is one more to fetch from every interest."""
    max_batch_size: int = 512
    """Users in one call: about a second of work at the largest `k`."""
    max_item_id_length: int = 1024
    """Far longer than any real id; bounds the text a request can hold."""


def check_requests(requests: Sequence[RecallRequest], limits: RecallLimits) -> None:
    """Compares every size of a batch with its limit.

    Raises:
        InputError: A size is beyond its limit.
    """
    _check_limit("number of requests in a batch", len(requests), limits.max_batch_size)
    for request in requests:
        if not 1 <= request.k <= limits.max_k:
            raise InputError(f"`k` must be in [1, {limits.max_k}], received {request.k}.")
        _check_limit("length of `history`", len(request.history), limits.max_history_length)
        _check_limit("length of `exclude`", len(request.exclude), limits.max_exclude)
        longest = max(map(len, (*request.history, *request.exclude)), default=0)
        _check_limit("length of an item id", longest, limits.max_item_id_length)


def _check_limit(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise InputError(f"The {what} must be at most {limit}, received {size}.")
