"""Live items in front of shards: every change goes to the shard the item lives in."""

from collections.abc import Sequence
from typing import Any

from serving.api import item_changes, items_tensors
from serving.api.item_changes import ITEMS_MODEL, UNKNOWN_COUNT, Acknowledgement, ItemUpsert
from serving.api.item_search import (
    DEFAULT_FOUND,
    FoundItem,
    FoundItems,
    check_look_up,
    check_search,
)
from serving.api.items_tensors import (
    build_delete_inputs,
    build_search,
    build_upsert_inputs,
    parse_found,
    parse_items,
)
from serving.index.shards import home_of
from serving.protocol.plain_tensors import PlainTensor
from serving.protocol.status import ServingError
from serving.sharding.calls import ShardOutputs
from serving.sharding.clients import ShardCall, ShardClients

CHANGE_TIMEOUT_S = 5.0
"""Longest wait for a shard to acknowledge; it needs milliseconds."""

_FIND_TIMEOUT_S = 1.0
"""Longest wait for what a shard finds; see `serving.live.items.SEARCH_S`."""


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
        parts = {home: build_delete_inputs(_ids(part)) for home, part in self._split(ids)}
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

    def search(
        self,
        query: str,
        k: int = DEFAULT_FOUND,
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> FoundItems:
        """See `ItemFinder`; not complete where a shard does not answer.

        Raises:
            InputError: The query is too long, or `k` out of range.
            ServingError: No shard answers.
        """
        check_search(query, k)
        call = ShardCall(ITEMS_MODEL, items_tensors.SEARCH, build_search(query, k))
        (answers,) = self.clients.ask_all([call], _shorter(timeout_s))
        arrived = [parse_found(_plain(a)) for a in answers if not isinstance(a, ServingError)]
        if not arrived:
            raise answers[0]
        pairs = [pair for found in arrived for pair in zip(found.ranks, found.items, strict=True)]
        pairs = sorted(pairs, key=lambda pair: (pair[0], -pair[1].num_clicks))[:k]
        return FoundItems(
            tuple(item for _, item in pairs),
            tuple(rank for rank, _ in pairs),
            len(arrived) == len(answers) and all(found.is_complete for found in arrived),
        )

    def look_up(
        self,
        item_ids: Sequence[str],
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> list[FoundItem]:
        """See `ItemFinder`.

        Raises:
            InputError: There are too many ids, or one is too long.
            ServingError: A shard where an item lives does not answer.
        """
        check_look_up(item_ids)
        parts = self._split([ItemUpsert(item_id) for item_id in dict.fromkeys(item_ids)])
        calls = [
            (
                home,
                ShardCall(ITEMS_MODEL, items_tensors.LOOKUP, build_delete_inputs(_ids(part))),
            )
            for home, part in parts
        ]
        found: dict[str, FoundItem] = {}
        for answer in self.clients.ask_some(calls, _shorter(timeout_s)):
            if isinstance(answer, ServingError):
                raise answer
            found.update((item.item_id, item) for item in parse_items(_plain(answer)))
        return [found[item_id] for item_id in item_ids]

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

    def _change(self, kind: str, inputs: dict[int, dict[str, PlainTensor]]) -> Acknowledgement:
        calls = {home: ShardCall(ITEMS_MODEL, kind, of_home) for home, of_home in inputs.items()}
        answers = self.clients.change_each(calls, CHANGE_TIMEOUT_S).values()
        sums = Acknowledgement(
            *(int(sum(answer[name] for answer in answers)) for name in Acknowledgement._fields)
        )
        is_whole = len(answers) == len(self.clients.addresses)
        return sums if is_whole else sums._replace(num_items=UNKNOWN_COUNT)


def _ids(items: Sequence[ItemUpsert]) -> list[str]:
    return [item.item_id for item in items]


def _plain(outputs: ShardOutputs) -> dict[str, Any]:
    return {name: array.tolist() for name, array in outputs.items()}


def _shorter(timeout_s: float | None) -> float:
    return _FIND_TIMEOUT_S if timeout_s is None else min(timeout_s, _FIND_TIMEOUT_S)
