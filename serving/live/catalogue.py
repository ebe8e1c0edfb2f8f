"""The items of one version of a release, and how they change while served.

Imports no TensorFlow. ScaNN's searchers must not be changed while they are
searched, so nothing here is changed in place: a base (the index as built), a
delta (new items, scored exactly) and a mask of hidden rows make an immutable
`LiveView`; a change makes the next view and swaps the reference.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recall.feature_columns.attributes import ItemAttribute
from serving.index.bundle import IndexBundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.index.catalogue import NO_ROW
from serving.index.long_rows import lengths_of
from serving.index.shards import Shard
from serving.live import item_attributes
from serving.live.delta import DeltaItem
from serving.live.item_content import CountedValues, ItemContent, ItemEmbedder, UnknownValues
from serving.live.release_items import ReleaseItems
from serving.live.store import ItemChange
from serving.live.view import LiveView
from serving.protocol.status import Code, ServingError

MIN_REBUILD_CHANGES = 5000
"""Changes below this never make a new base: scoring 5,000 items of 64 numbers
exactly adds about .1 ms to a search."""

REBUILD_SHARE = 0.01
"""Share of the base that may have changed before it is built anew: 10,000 of
10^6 items, .2 ms a search, against a build of half a minute."""


class PlacedChanges(NamedTuple):
    """Changes with everything a catalogue needs to make them.

    Attributes:
        deleted: Raw ids to leave out.
        restored: Raw ids of items to have as the release has them.
        added: Items to have with these vectors.
        waiting: Raw ids of upserted items that no vector is known for.
        value_counts: Of the values of features that vectors were made of.
    """

    deleted: list[bytes]
    restored: list[bytes]
    added: list[DeltaItem]
    waiting: list[bytes]
    value_counts: CountedValues = CountedValues()


class LiveCatalogue:
    """See `catalogue.Catalogue`. Reading never waits; changes take turns.

    Attributes:
        version: Of the index.
        fingerprint: Embedding space of its vectors.
        similarity: `cosine` or `inner_product`.
        shard: The part of the catalogue it is; None for all of it.
        longest: Length of the release's longest vector; not of upserted ones, or
            each of these would allow a longer one.
    """

    def __init__(self, bundle: IndexBundle, *, version: int, embed: ItemEmbedder | None = None):
        """Starts with the items of a bundle.

        Args:
            bundle: The opened bundle.
            version: Version of the index, reported in answers.
            embed: The item tower of the same version; None where the model
                has no categories.
        """
        self.version = version
        self.fingerprint = bundle.fingerprint
        self.similarity = bundle.manifest["similarity"]
        self.shard = Shard.of_manifest(bundle.manifest)
        self.longest = 1.0
        if self.similarity != "cosine":
            self.longest = float(lengths_of(bundle.item_vectors).max())
        self._lock = threading.Lock()
        self._embed = embed
        self._unknown_values = UnknownValues()
        base = BundleCatalogue(bundle, version=version)
        # Of the release, for as long as it serves: changes of items move no limit.
        self.common_categories = base.common_categories
        self._release = ReleaseItems(bundle, base)
        self._bundle = bundle
        self._popular_ids = [item_id.encode() for item_id in bundle.fallback]
        self._view = LiveView.of(base, self._popular_ids, self.common_categories)
        self._changes_of_rebuild: list[PlacedChanges] | None = None
        self._waiting: set[bytes] = set()

    @property
    def has_embedder(self) -> bool:
        """Whether items can be placed by their categories."""
        return self._embed is not None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the model declares."""
        return self._embed.features if self._embed is not None else ()

    @property
    def attributes(self) -> Mapping[str, ItemAttribute]:
        """What items can be filtered on beside their categories, by name."""
        return self._release.attributes.declared

    def check_features(self, item_id: str, features: Mapping[str, Any]) -> None:
        """Refuses features that the release does not declare, or of another kind.

        Raises:
            InputError: One is.
        """
        item_attributes.check_given(self.attributes, self.features, item_id, features)
        if of_model := self._of_model(features):
            self._embed.check(item_id, of_model)

    @property
    def dim(self) -> int:
        """Size of a vector."""
        return self._view.dim

    @property
    def num_waiting(self) -> int:
        """Upserted items that are not served because no vector is known for them."""
        return len(self._waiting)

    def view(self) -> LiveView:
        """The items as they are now."""
        return self._view

    def count_items(self, item_ids: Sequence[str]) -> int:
        """How many of some distinct ids are items that are served, or wait for a vector."""
        keys = [item_id.encode() for item_id in item_ids]
        is_served = self._view.rows_of(keys) != NO_ROW
        return int(np.count_nonzero(is_served)) + len(self._waiting.intersection(keys))

    def in_release(self, item_ids: Sequence[str]) -> np.ndarray:
        """`[n]` bool, whether the release itself has an item, served or not."""
        return self._release.rows_of([item_id.encode() for item_id in item_ids]) != NO_ROW

    def status(self) -> dict[str, int | str | list[str]]:
        """How the items are held, sizes in items, and the categories that do not count."""
        view = self._view
        return {
            "version": self.version,
            "fingerprint": self.fingerprint,
            "num_items": view.num_items,
            "num_base": view.base.num_items,
            "num_hidden": view.num_hidden,
            "num_delta": view.delta.num_live,
            "num_waiting": self.num_waiting,
            "categories_left_out": list(self.common_categories),
            **(self._unknown_values.describe() if self.features else {}),
        }

    def place(self, changes: Sequence[ItemChange], *, are_new: bool = True) -> PlacedChanges:
        """Finds the vector, the categories and the title of every upserted item.

        A vector given for this embedding space comes before that of given features, that
        before the trained one of the release, and that before the vector of the categories.

        Args:
            changes: Distinct items; those of other shards are passed over.
            are_new: Whether their values are counted as given: once, however many versions
                and processes place them.
        """
        if self.shard is not None:
            changes = [c for c in changes if self.shard.holds(c.item_id.encode())]
        upserts = [change for change in changes if not change.is_deleted]
        rows = self._release.rows_of([change.item_id.encode() for change in upserts]).tolist()
        restored, added, unplaced = [], [], []
        for change, row in zip(upserts, rows, strict=True):
            if row != NO_ROW and _is_plain(change):
                restored.append(change.item_id.encode())
                continue
            item = self._known_item(change, row)
            (unplaced if item.vector is None else added).append(item)
        by_content, waiting, counts = self._embed_items(unplaced, upserts, are_new=are_new)
        deleted = [change.item_id.encode() for change in changes if change.is_deleted]
        return PlacedChanges(deleted, restored, added + by_content, waiting, counts)

    def apply(self, placed: PlacedChanges) -> None:
        """Makes changes visible to every view taken from now on."""
        with self._lock:
            if self._changes_of_rebuild is not None:
                self._changes_of_rebuild.append(placed)
            self._view = self._changed(self._view, placed)
            self._unknown_values.add(placed.value_counts)
            settled = {*placed.deleted, *placed.restored, *(i.item_id for i in placed.added)}
            self._waiting = (self._waiting - settled) | set(placed.waiting)

    def needs_rebuild(self) -> bool:
        """Whether so much changed that a new base pays."""
        view = self._view
        changed = view.num_hidden + view.delta.num_slots
        return view.num_items > 0 and changed >= max(
            MIN_REBUILD_CHANGES, REBUILD_SHARE * view.base.num_items
        )

    def rebuild(self, build: Callable[[IndexBundle, LiveView], IndexBundle]) -> None:
        """Builds a new base out of the items of now, and swaps it in.

        Reading and changing go on meanwhile; changes made during the build are
        made again on the new base before anybody sees it.

        Args:
            build: The base so far and the items of now -> a bundle of just
                these items; slow.
        """
        with self._lock:
            bundle, view = self._bundle, self._view
            self._changes_of_rebuild = []
        try:
            release = self._release.without_index()
            bundle = build(bundle, view)
            base = BundleCatalogue(bundle, version=self.version)
            view = LiveView.of(base, self._popular_ids, self.common_categories)
            with self._lock:
                self._release = release
                for placed in self._changes_of_rebuild:
                    view = self._changed(view, placed)
                self._bundle, self._view = bundle, view
        finally:
            with self._lock:
                self._changes_of_rebuild = None

    def _changed(self, view: LiveView, placed: PlacedChanges) -> LiveView:
        """The view after changes."""
        if self._release.is_base_of(view):
            return view.changed([*placed.deleted, *placed.waiting], placed.restored, placed.added)
        # A base built since may lack what is restored: deleted items are not in it.
        added = placed.added + self._release_items(placed.restored)
        return view.changed([*placed.deleted, *placed.waiting], (), added)

    def _release_items(self, item_ids: Sequence[bytes]) -> list[DeltaItem]:
        """Items of the release as they were published."""
        rows = self._release.rows_of(item_ids).tolist()
        return [self._release.item(*pair) for pair in zip(rows, item_ids, strict=True)]

    def _known_item(self, change: ItemChange, row: int) -> DeltaItem:
        """An upserted item as the change, or else the release, describes it; maybe no vector."""
        known = self._release.item(row, change.item_id.encode())
        vector = known.vector
        if change.vector is not None and change.fingerprint == self.fingerprint:
            vector = change.vector
        elif self._of_model(change.features):
            vector = None
        return known._replace(
            vector=vector,
            categories=known.categories if change.categories is None else change.categories,
            title=known.title if change.title is None else change.title,
            attributes=item_attributes.of_change(self.attributes, change, known.attributes),
        )

    def _of_model(self, features: Mapping[str, Any] | None) -> dict[str, Any]:
        """Those of some values that the model looks at."""
        return {name: v for name, v in (features or {}).items() if name in self.features}

    def _embed_items(
        self, items: Sequence[DeltaItem], upserts: Sequence[ItemChange], *, are_new: bool
    ) -> tuple[list[DeltaItem], list[bytes], CountedValues]:
        """Items without a vector -> those that their content places, ids of the others."""
        if not items or self._embed is None:
            return [], [item.item_id for item in items], CountedValues()
        features = {c.item_id: given for c in upserts if (given := self._of_model(c.features))}
        ids = [item.item_id.decode() for item in items]
        embedded = self._embed(
            [
                ItemContent(item_id, item.categories, item.title, features.get(item_id))
                for item_id, item in zip(ids, items, strict=True)
            ],
            are_new=are_new,
        )
        if embedded.fingerprint != self.fingerprint:
            raise ServingError(
                Code.UNAVAILABLE,
                f"The item tower answers from embedding space {embedded.fingerprint}, the index "
                f"holds {self.fingerprint}. Serve both from one release.",
            )
        placed, waiting = [], []
        for item, vector, num_known in zip(items, *embedded[:2], strict=True):
            if num_known > 0 and np.isfinite(vector).all():
                placed.append(item._replace(vector=vector))
            else:
                waiting.append(item.item_id)
        return placed, waiting, CountedValues.of(embedded)


def _is_plain(change: ItemChange) -> bool:
    """Whether a change says nothing but that the item is to be there."""
    said = (change.categories, change.title, change.vector, change.features)
    return all(value is None for value in said)
