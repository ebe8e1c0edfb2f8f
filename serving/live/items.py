"""Deletes and upserts while serving: durable first, then visible, then acknowledged.

Imports no TensorFlow. One object per process stands between the callers, the
store on disk and the catalogues of the loaded versions. Every version gets
every change, so a swap to a new release keeps them all.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from serving.api import item_changes
from serving.api.item_changes import Acknowledgement, ItemUpsert
from serving.api.item_search import (
    DEFAULT_FOUND,
    FoundItem,
    FoundItems,
    check_look_up,
    check_search,
)
from serving.live import checks, finder
from serving.live.catalogue import LiveCatalogue
from serving.live.rebuild import build_bundle
from serving.live.store import ItemChange, ItemStore
from serving.protocol.call import deadline_after
from serving.protocol.status import Code, ServingError

_LOGGER = logging.getLogger(__name__)

_POLL_S = 0.05
"""How often changes of other processes on the same folder are looked for: 5
microseconds of work."""

CATCH_UP_RETRY_S = 5.0
"""Pause after changes of other processes could not be made: an item tower that is
restarted elsewhere is back in seconds."""

REBUILD_RETRY_S = 60.0
"""Pause after a failed rebuild; what failed once rarely works a moment later."""

SEARCH_S = 0.25
"""Longest search by title: who types waits no longer for what comes under the field."""

_CLOSE_S = 5.0
"""Longest wait for a rebuild when the server stops; nothing is lost with it."""

_REPLAY = 10_000
"""Changes placed at a time when a version is loaded."""


class LiveItems:
    """Makes and remembers changes; safe to use from several threads."""

    def __init__(self, serving_dir: str | os.PathLike):
        """Opens the store of a folder of releases.

        Raises:
            InputError: There is a store that cannot be read.
        """
        self._store = ItemStore(serving_dir)
        self._lock = threading.Lock()  # Of every change; readers do not take it.
        self._counted: tuple[int, tuple[int, int]] | None = None
        self._sequence = 0  # Everything up to it is in every catalogue.
        self._catalogues: list[LiveCatalogue] = []
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._rebuilding: LiveCatalogue | None = None
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (("live-watch", self._watch), ("live-rebuild", self._rebuild))
        ]
        for thread in self._threads:
            thread.start()

    def attach(self, catalogue: LiveCatalogue) -> None:
        """Makes all changes so far in a new version's catalogue, and all later ones.

        Raises:
            ServingError: The store cannot be read.
        """
        changes, sequence = self._store.read_since(0)  # Long; writers need not wait.
        _replay(catalogue, changes)
        with self._lock:
            self._catch_up()
            _replay(catalogue, self._store.read_since(sequence)[0])
            self._catalogues.append(catalogue)
        if catalogue.num_waiting:
            _LOGGER.warning(
                "Version %d serves without %d upserted items: it has no vector for them.",
                catalogue.version,
                catalogue.num_waiting,
            )
        self._changed.set()

    def detach(self, catalogue: LiveCatalogue) -> None:
        """Forgets the catalogue of a version that is unloaded."""
        with self._lock:
            self._catalogues = [c for c in self._catalogues if c is not catalogue]

    def upsert(self, items: Sequence[ItemUpsert], *, version: int | None = None) -> Acknowledgement:
        """Adds items, or replaces what is known of them.

        Args:
            items: See `ItemUpsert`; a later one of the same id wins.
            version: The version that is asked, in whose embedding space given
                vectors lie; None for the newest loaded one. That may be one
                which never serves: a door names the version that answers.

        Raises:
            InputError: An item is not valid, or no vector can be had for it.
            ServingError: The version is not loaded, or the change cannot be
                written.
        """
        item_changes.check_upserts(items)
        with self._lock:
            asked = self._find(version)
            changes = [checks.from_upsert(i, asked) for i in _distinct(items)]
            return self._write(changes, asked)

    def delete(self, item_ids: Sequence[str], *, version: int | None = None) -> Acknowledgement:
        """Takes items out of every answer, also those a later release brings.

        Args:
            item_ids: Raw ids; unknown ones are remembered all the same, but do
                not count as changed.
            version: As for `upsert`; its items are counted.

        Raises:
            InputError: An id is not valid.
            ServingError: The version is not loaded, or the change cannot be
                written.
        """
        item_changes.check_ids(item_ids)
        with self._lock:
            changes = [ItemChange(i, is_deleted=True) for i in dict.fromkeys(item_ids)]
            return self._write(changes, self._find(version))

    def status(self) -> dict[str, Any]:
        """What changed so far, and how every loaded version holds it; plain values."""
        num_upserted, num_deleted = self._count()
        rebuilding = self._rebuilding
        return {
            "sequence": self._sequence,
            "num_upserted": num_upserted,
            "num_deleted": num_deleted,
            "versions": [
                {**catalogue.status(), "is_rebuilding": catalogue is rebuilding}
                for catalogue in self._catalogues
            ],
        }

    def search(
        self,
        query: str,
        k: int = DEFAULT_FOUND,
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> FoundItems:
        """See `ItemFinder`; after `SEARCH_S` it answers with what it found by then."""
        check_search(query, k)
        left_s = SEARCH_S if timeout_s is None else min(SEARCH_S, timeout_s)
        return finder.search_items(self._find(version), query, k, deadline_after(left_s))

    def look_up(
        self,
        item_ids: Sequence[str],
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> list[FoundItem]:
        """See `ItemFinder`; takes microseconds."""
        check_look_up(item_ids)
        return finder.look_up_items(self._find(version), item_ids)

    def close(self) -> None:
        """Stops the threads and closes the store."""
        self._stop.set()
        self._changed.set()
        for thread in self._threads:
            thread.join(_CLOSE_S)
        self._store.close()

    def _count(self) -> tuple[int, int]:
        """`ItemStore.count` of the changes so far: .13 us each, so only after a new one.

        The metrics ask in the loop of the HTTP door, however many changes there are.
        """
        sequence, counts = self._sequence, self._counted
        if counts is None or counts[0] != sequence:
            self._counted = counts = (sequence, self._store.count())
        return counts[1]

    def _find(self, version: int | None) -> LiveCatalogue:
        """The catalogue of a version, or else of the newest; it stays under the lock alone."""
        found = [c for c in list(self._catalogues) if version in (None, c.version)]
        if not found:
            what = "No version is" if version is None else f"Version {version} is not"
            raise ServingError(Code.UNAVAILABLE, f"{what} loaded; try again later.")
        return max(found, key=lambda catalogue: catalogue.version)

    def _write(self, changes: Sequence[ItemChange], asked: LiveCatalogue) -> Acknowledgement:
        """Places, stores, then shows changes; call it under the lock."""
        checks.check_home((change.item_id for change in changes), asked)
        placed = [
            (catalogue, catalogue.place(changes, are_new=catalogue is asked))
            for catalogue in self._catalogues
        ]
        for catalogue, of_catalogue in placed:
            checks.check_placed(changes, of_catalogue, catalogue)
        deleted = [change.item_id for change in changes if change.is_deleted]
        num_changed = len(changes) - len(deleted) + asked.count_items(deleted)
        sequence = self._store.append(changes)
        if sequence == self._sequence + 1:
            for catalogue, of_catalogue in placed:
                catalogue.apply(of_catalogue)
            self._sequence = sequence
        else:  # Another process wrote in between.
            self._catch_up()
        self._changed.set()
        return Acknowledgement(sequence, asked.view().num_items, num_changed)

    def _catch_up(self) -> None:
        """Makes the changes of other processes; call it under the lock.

        Deletions come first: they need no item tower, and hold also while none
        answers. What a failure leaves undone is done, with the rest, the next time.
        """
        changes, sequence = self._store.read_since(self._sequence)
        deletions = [change for change in changes if change.is_deleted]
        upserts = [change for change in changes if not change.is_deleted]
        for part in (deletions, upserts):
            for catalogue in self._catalogues:
                _replay(catalogue, part)
        self._sequence = sequence

    def _watch(self) -> None:
        """Body of the thread that looks for changes of other processes."""
        is_behind = False  # The store tells of a change once; it may take several tries to make it.
        while not self._stop.wait(_POLL_S):
            try:
                is_behind = self._store.changed_elsewhere() or is_behind
                if is_behind:
                    with self._lock:
                        self._catch_up()
                    is_behind = False
                    self._changed.set()
            except Exception:
                _LOGGER.exception("Changes of other processes cannot be made; trying again")
                self._stop.wait(CATCH_UP_RETRY_S)

    def _rebuild(self) -> None:
        """Body of the thread that builds new bases."""
        while True:
            self._changed.wait()
            self._changed.clear()
            if self._stop.is_set():
                return
            self._rebuild_all()

    def _rebuild_all(self) -> None:
        """Not part of the loop, whose variable would keep an unloaded version in memory."""
        for catalogue in list(self._catalogues):
            if catalogue.needs_rebuild() and not self._rebuild_one(catalogue):
                self._stop.wait(REBUILD_RETRY_S)
                self._changed.set()

    def _rebuild_one(self, catalogue: LiveCatalogue) -> bool:
        """Whether a new base was built; a failure leaves everything as it was."""
        started_s = time.monotonic()
        self._rebuilding = catalogue
        try:
            catalogue.rebuild(build_bundle)
        except Exception:
            _LOGGER.exception("Rebuilding the index of version %d failed", catalogue.version)
            return False
        finally:
            self._rebuilding = None
        _LOGGER.info(
            "Rebuilt the index of version %d in %.1f s: %d items",
            catalogue.version,
            time.monotonic() - started_s,
            catalogue.view().num_items,
        )
        return True


def _replay(catalogue: LiveCatalogue, changes: Sequence[ItemChange]) -> None:
    for start in range(0, len(changes), _REPLAY):
        part = changes[start : start + _REPLAY]
        catalogue.apply(catalogue.place(part, are_new=False))


def _distinct(items: Sequence[ItemUpsert]) -> list[ItemUpsert]:
    """The last one of every id."""
    return list({item.item_id: item for item in items}.values())
