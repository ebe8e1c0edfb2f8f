"""Vectors of items, from the shards they live in.

A shard has its items as they are now; the item tower knows those of the
release alone, and stands in for a shard that does not answer.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from serving.api.recall_request import RECALL_MODEL
from serving.api.recall_tensors import ITEM_VECTORS_SIGNATURE
from serving.index.catalogue import NO_ROW
from serving.index.shards import home_of
from serving.protocol import plain_tensors
from serving.protocol.plain_tensors import PlainTensor
from serving.protocol.status import ServingError
from serving.retrieval.service import deadline_exceeded
from serving.sharding.calls import ShardOutputs
from serving.sharding.clients import ShardCall, ShardClients

_SHARDS_SHARE = 0.5
"""Share of the time left that the shards may use: the tower and the search come after."""


class ItemsOfShards(NamedTuple):
    """What is known here of the items that the shards hold; stands for a view of a catalogue.

    Attributes:
        fingerprint: See `CatalogueView`, as the next two.
        dim: Size of a vector.
        version: Of the release.
        row_of: Rows of the items that were looked up, by raw id.
        table: `[n, dim]` float32, their vectors.
    """

    fingerprint: str
    dim: int
    version: int
    row_of: Mapping[bytes, int] = MappingProxyType({})
    table: np.ndarray | None = None

    def with_items(self, vectors: Mapping[str, np.ndarray]) -> "ItemsOfShards":
        """The same with items that were looked up."""
        if not vectors:
            return self
        row_of = {item_id.encode(): row for row, item_id in enumerate(vectors)}
        return self._replace(row_of=row_of, table=np.stack(list(vectors.values())))

    def rows_of(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """See `CatalogueView`."""
        return np.array([self.row_of.get(i, NO_ROW) for i in item_ids], np.int64)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        if not len(rows):
            return np.empty((0, self.dim), np.float32)
        return self.table[rows]


class TowerVectors(Protocol):
    """Vectors of items by an item tower."""

    def __call__(
        self, item_ids: Sequence[str], timeout_s: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Raw ids, in the time left -> `[n, dim]` vectors, `[n]` bool whether each is known."""


class ShardedVectors:
    """Looks items up; safe to use from several threads."""

    def __init__(
        self,
        clients: ShardClients,
        tower_vectors: TowerVectors,
        fingerprint: str,
        *,
        ids_per_call: int,
        call_timeout_s: float,
    ):
        """Asks nobody yet.

        Args:
            clients: The shards.
            tower_vectors: The item tower.
            fingerprint: The embedding space wanted.
            ids_per_call: Most items a shard is asked for at once.
            call_timeout_s: Longest wait for a shard's answer.
        """
        self._clients = clients
        self._tower_vectors = tower_vectors
        self._fingerprint = fingerprint
        self._ids_per_call = ids_per_call
        self._call_timeout_s = call_timeout_s

    def find(self, item_ids: Iterable[str], deadline_s: float) -> dict[str, np.ndarray]:
        """The vectors of those raw ids that are items.

        Args:
            item_ids: Repeats are free.
            deadline_s: When nobody waits any longer, on the monotonic clock.

        Returns:
            `[dim]` float32 by id; ids that are no items are left out.

        Raises:
            ServingError: A shard does not answer and the tower does not either.
        """
        parts = self._split(item_ids)
        if not parts:
            return {}
        calls = [
            (home, ShardCall(RECALL_MODEL, ITEM_VECTORS_SIGNATURE, _inputs(part)))
            for home, part in parts
        ]
        left_s = deadline_s - time.monotonic()
        answers = self._clients.ask_some(
            calls, _SHARDS_SHARE * left_s, call_timeout_s=self._call_timeout_s
        )
        found: dict[str, np.ndarray] = {}
        lost: list[str] = []
        for (_, part), answer in zip(parts, answers, strict=True):
            if self._is_usable(answer):
                found.update(_known(part, answer["item_vectors"], answer["is_known"]))
            else:
                lost += part
        if lost:
            found.update(_known(lost, *self._tower_vectors(lost, time_left_s(deadline_s))))
        return found

    def _split(self, item_ids: Iterable[str]) -> list[tuple[int, list[str]]]:
        """The number of a shard and ids of it, for every call."""
        ids_of: dict[int, list[str]] = {}
        for item_id in dict.fromkeys(item_ids):
            home = home_of(item_id.encode(), len(self._clients.addresses))
            ids_of.setdefault(home, []).append(item_id)
        size = self._ids_per_call
        return [
            (home, ids[start : start + size])
            for home, ids in ids_of.items()
            for start in range(0, len(ids), size)
        ]

    def _is_usable(self, answer: ShardOutputs | ServingError) -> bool:
        """Whether a shard answered, and from the embedding space of this release."""
        if isinstance(answer, ServingError):
            return False
        return answer["fingerprint"][0].decode() == self._fingerprint


def time_left_s(deadline_s: float) -> float | None:
    """Seconds until a time of the monotonic clock, None for infinity.

    Raises:
        ServingError: DEADLINE_EXCEEDED, there is none.
    """
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise deadline_exceeded()
    return None if left_s == math.inf else left_s


def _inputs(item_ids: Sequence[str]) -> dict[str, PlainTensor]:
    return {"item_ids": plain_tensors.build("item_ids", item_ids)}


def _known(
    item_ids: Sequence[str], vectors: np.ndarray, is_known: np.ndarray
) -> dict[str, np.ndarray]:
    """The vectors of those that are known, by id."""
    columns = zip(item_ids, vectors, is_known.tolist(), strict=True)
    return {item_id: vector for item_id, vector, known in columns if known}
