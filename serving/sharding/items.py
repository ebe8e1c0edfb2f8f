"""Live items in front of shards: every change goes to the shard the item lives in."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.api import item_changes
from serving.api.item_changes import ITEMS_MODEL, UNKNOWN_COUNT, Acknowledgement, ItemUpsert
from serving.api.items_tensors import build_delete_inputs, build_upsert_inputs
from serving.index.shards import home_of
from serving.protocol.status import ServingError
from serving.sharding.clients import ShardCall, ShardClients

CHANGE_TIMEOUT_S = 5.0
"""Longest wait for a shard to acknowledge; it needs milliseconds."""


class ShardedItems:
    """Changes and tells like `LiveItems`.

    Attributes:
        clients: The connections to the shards.
    """

    def __init__(self, clients: ShardClients):
        """Takes the shards; they need not be up yet."""
        self.clients = clients

    def upsert(self, items: Sequence[ItemUpsert], *, version: int | None = None) -> Acknowledgement:
        """See `LiveItems.upsert`; where a shard fails, send all of it again.

        Args:
            items: See `ItemUpsert`.
            version: Not passed on: every shard answers with the version it serves.

        Returns:
            Sums over the shards that had something to change; no number of
            items when that is not all of them.

        Raises:
            InputError: An item is not valid.
            ServingError: A shard refuses or does not answer; others may have
                made their part of the change.
        """
        item_changes.check_upserts(items)
        return self._change(
            "upsert", {h: build_upsert_inputs(part) for h, part in self._split(items)}
        )

    def delete(self, item_ids: Sequence[str], *, version: int | None = None) -> Acknowledgement:
        """See `LiveItems.delete`; for the rest as `upsert`."""
        item_changes.check_ids(item_ids)
        ids = [ItemUpsert(item_id) for item_id in item_ids]
        parts = {
            home: build_delete_inputs([item.item_id for item in part])
            for home, part in self._split(ids)
        }
        return self._change("delete", parts)

    def status(self) -> dict[str, Any]:
        """The sums over the shards that answer, and how many they are."""
        (answers,) = self.clients.ask_all([ShardCall(ITEMS_MODEL, "status", {})], CHANGE_TIMEOUT_S)
        arrived = [answer for answer in answers if not isinstance(answer, ServingError)]
        sums = {
            name: int(sum(answer[name] for answer in arrived))
            for name in ("sequence", "num_upserted", "num_deleted")
        }
        return {**sums, "num_shards": len(answers), "num_shards_up": len(arrived)}

    def close(self) -> None:
        """Closes the connections."""
        self.clients.close()

    def _split(self, items: Sequence[ItemUpsert]) -> list[tuple[int, list[ItemUpsert]]]:
        """The items of each shard that has any."""
        parts: dict[int, list[ItemUpsert]] = {}
        for item in items:
            home = home_of(item.item_id.encode(), len(self.clients.addresses))
            parts.setdefault(home, []).append(item)
        return sorted(parts.items())

    def _change(self, kind: str, inputs: dict[int, dict[str, np.ndarray]]) -> Acknowledgement:
        calls = {home: ShardCall(ITEMS_MODEL, kind, of_home) for home, of_home in inputs.items()}
        answers = self.clients.change_each(calls, CHANGE_TIMEOUT_S).values()
        sums = Acknowledgement(
            *(int(sum(answer[name] for answer in answers)) for name in Acknowledgement._fields)
        )
        is_whole = len(answers) == len(self.clients.addresses)
        return sums if is_whole else sums._replace(num_items=UNKNOWN_COUNT)
