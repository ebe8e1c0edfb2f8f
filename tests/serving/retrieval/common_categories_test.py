"""A category of all items neither limits nor likens, and changes of items do not make it do so."""

import dataclasses

import numpy as np
import pytest

from recall.vocabulary import ItemVocabulary
from serving.api.recall_request import RecallRequest
from serving.index.bundle import IndexBundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.index.catalogue import distinctive_categories
from serving.index.exact_index import ExactIndex
from serving.live import rebuild
from serving.live.catalogue import LiveCatalogue
from serving.live.store import ItemChange
from serving.retrieval.service import RecallService
from serving.retrieval.user_vectors import UserVectors

NUM_ITEMS = 12
IDS = [f"i{row}" for row in range(NUM_ITEMS)]
COLOURS = ("red", "red", "red", "blue", "blue", "green")
FINGERPRINT = "f"

# Item r has score (12 - r) / 16 for every user: the order of the items is that of the rows.
VECTORS = np.zeros((NUM_ITEMS, 2), np.float32)
VECTORS[:, 0] = (NUM_ITEMS - np.arange(NUM_ITEMS)) / 16


def make_bundle(rooted=NUM_ITEMS) -> IndexBundle:
    """Two rows of colours, and "root" on the first items."""
    categories = [
        ("root", COLOURS[row % 6]) if row < rooted else (COLOURS[row % 6],)
        for row in range(NUM_ITEMS)
    ]
    return IndexBundle(
        manifest={"fingerprint": FINGERPRINT, "similarity": "dot"},
        item_ids=np.array([item_id.encode() for item_id in IDS]),
        item_vectors=VECTORS,
        table=ItemVocabulary(IDS, range(NUM_ITEMS, 0, -1), categories).to_table(),
        fallback=tuple(IDS),
        index=ExactIndex(VECTORS),
    )


class OneInterest:
    """A user tower whose users all want large first numbers."""

    def compute(self, histories, *, timeout_s=None):
        size = len(histories)
        return UserVectors(
            user_vectors=np.tile(np.array([[[1.0, 0.0]]], np.float32), (size, 1, 1)),
            interest_weights=np.ones((size, 1), np.float32),
            num_known=np.array([len(history) for history in histories]),
            num_unknown=np.zeros(size, np.int64),
            fingerprint=FINGERPRINT,
            model_version=1,
        )


def recall(catalogue, **request):
    """Items of a user who has seen the last item."""
    service = RecallService(OneInterest(), catalogue)
    (answer,) = service.recall([RecallRequest(("i11",), **request)])
    return [item.item_id for item in answer.items]


class TestARelease:
    catalogue = BundleCatalogue(make_bundle())

    def test_limits_are_those_of_the_other_categories(self):
        # One of each colour: i0 red, i3 blue, i5 green.
        assert recall(self.catalogue, k=9, max_per_category=1) == ["i0", "i3", "i5"]
        assert recall(self.catalogue, k=4, max_per_category=2) == ["i0", "i1", "i3", "i4"]

    def test_of_the_popular_items_too(self):
        (answer,) = RecallService(OneInterest(), self.catalogue).recall(
            [RecallRequest((), k=9, max_per_category=1)]
        )
        assert [item.item_id for item in answer.items] == ["i0", "i3", "i5"]

    def test_diversity_is_that_of_the_other_categories(self):
        # After i0 (red) every other colour is worth 1 more, after i3 (blue) green 1 more still.
        found = recall(self.catalogue, k=3, merge="diversity", diversity_weight=1.0)
        assert found == ["i0", "i3", "i5"]

    def test_filters_see_it(self):
        assert recall(self.catalogue, k=20, exclude_categories=("root",)) == []
        assert len(recall(self.catalogue, k=20, categories=("root",))) == 11

    @pytest.mark.parametrize(("rooted", "names"), [(12, ("root",)), (11, ("root",)), (10, ())])
    def test_from_nine_in_ten_items_on(self, rooted, names):
        assert BundleCatalogue(make_bundle(rooted)).common_categories == names

    def test_below_it_counts(self):
        catalogue = BundleCatalogue(make_bundle(rooted=10))
        # i10 (blue) and i11 (green, seen) have no root: one item of root, then i10.
        assert recall(catalogue, k=9, max_per_category=1) == ["i0", "i10"]


class TestLiveItems:
    """Changes of the items of a release leave alone what counts in it."""

    def change(self, live, *changes):
        live.apply(live.place(changes))

    def upsert(self, item_id, *categories, score=0.01):
        vector = np.array([score, 0], np.float32)
        return ItemChange(item_id, categories=categories, vector=vector, fingerprint=FINGERPRINT)

    def check(self, live, expected):
        assert recall(live, k=20, max_per_category=1) == expected
        view = live.view()
        codes = set(distinctive_categories(view, view.rows()).codes.tolist())
        assert not codes & set(view.category_codes(["root"]).tolist())

    def test_new_items_without_it(self):
        live = LiveCatalogue(make_bundle(), version=1)
        self.change(live, *(self.upsert(f"n{n}", f"own{n}") for n in range(5)))
        # Now 12 of 17 items have it: it still does not count.
        self.check(live, ["i0", "i3", "i5", *(f"n{n}" for n in range(5))])
        live.rebuild(rebuild.build_bundle)
        self.check(live, ["i0", "i3", "i5", *(f"n{n}" for n in range(5))])

    def test_it_goes_and_comes_back(self):
        live = LiveCatalogue(make_bundle(), version=1)
        self.change(live, *(self.upsert(item_id, "red") for item_id in IDS))
        live.rebuild(rebuild.build_bundle)  # No item of this base has it.
        self.check(live, ["i0"])
        back = [self.upsert(f"n{n}", "root", f"own{n}") for n in range(3)]
        self.change(live, *back)
        self.check(live, ["i0", "n0", "n1", "n2"])
        assert live.status()["categories_left_out"] == ["root"]

    def test_a_category_that_becomes_that_of_all_still_counts(self):
        live = LiveCatalogue(make_bundle(rooted=0), version=1)
        assert live.common_categories == ()
        self.change(live, *(self.upsert(item_id, "new") for item_id in IDS))
        for _ in range(2):
            assert recall(live, k=20, max_per_category=2) == ["i0", "i1"]
            live.rebuild(rebuild.build_bundle)
        assert live.status()["categories_left_out"] == []


def test_no_categories_at_all():
    table = ItemVocabulary(IDS).to_table()
    catalogue = BundleCatalogue(dataclasses.replace(make_bundle(), table=table))
    assert catalogue.common_categories == ()
    assert recall(catalogue, k=3, max_per_category=1) == ["i0", "i1", "i2"]
