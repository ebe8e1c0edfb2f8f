"""Items found by words and ids while they change, and over shards."""

import numpy as np
import pytest

from recall.errors import InputError
from serving.api import items_tensors
from serving.api.item_changes import ItemUpsert
from serving.api.item_search import FoundItem, FoundItems
from serving.live import rebuild
from serving.live.catalogue import LiveCatalogue
from serving.live.finder import look_up_items, search_items
from serving.live.items import LiveItems
from serving.protocol.status import ServingError
from serving.servables.items_servable import ItemsServable
from tests.serving.category_embedder import CategoriesAlone
from tests.serving.live.catalogue_test import embed, make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """b0 ... b23 with the titles "T0" ... "T23"."""
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def live(bundle, tmp_path):
    """Three changes: b1 is gone, b2 has another title, "new" is new."""
    (tmp_path / "index").mkdir()
    items = LiveItems(tmp_path)
    items.attach(LiveCatalogue(bundle, version=7, embed=CategoriesAlone(embed)))
    items.delete(["b1"])
    items.upsert([ItemUpsert("b2", title="Café T2 noir")])
    items.upsert([ItemUpsert("new", ("even", "new"), "T1 twice")])
    yield items
    items.close()


def ids(found):
    return [item.item_id for item in found.items]


def test_titles_of_the_release_and_of_upserts_but_of_no_deleted_item(live):
    found = live.search("t1", 100)
    # b1 was "T1"; of those whose title begins with it the more popular come first.
    assert ids(found) == [*(f"b{row}" for row in range(10, 20)), "new"]
    assert found.ranks == (1,) * 11
    assert found.is_complete
    assert ids(live.search("cafe")) == ["b2"]
    assert ids(live.search("t2", 3)) == ["b20", "b21", "b22"]
    assert live.search("zebra") == FoundItems((), (), True)


def test_an_id_comes_first_and_once(live):
    found = live.search(" new ", 3)
    assert (ids(found), found.ranks) == (["new"], (0,))
    assert ids(live.search("b2", 4)) == ["b2", "b20", "b21", "b22"]
    assert ids(live.search("b2", 1)) == ["b2"]
    assert ids(live.search("b1", 2)) == ["b10", "b11"]  # b1 itself is gone.


def test_details(live):
    assert live.look_up(["new", "b0", "b2", "b1", "unheard", "b0"]) == [
        FoundItem("new", "T1 twice", ("even", "new"), 0, False, True),
        FoundItem("b0", "T0", ("even", "third"), 24, True, True),
        FoundItem("b2", "Café T2 noir", ("even",), 22, True, True),
        FoundItem("b1", "", (), 0, True, False),
        FoundItem("unheard", "", (), 0, False, False),
        FoundItem("b0", "T0", ("even", "third"), 24, True, True),
    ]
    assert live.look_up([]) == []


def test_after_a_rebuild(bundle):
    catalogue = LiveCatalogue(bundle, version=7, embed=CategoriesAlone(embed))
    live = LiveItemsOf(catalogue)
    live.change()
    catalogue.rebuild(rebuild.build_bundle)
    assert ids(search_items(catalogue, "t1", 100, np.inf))[-1] == "new"
    assert [item.in_release for item in look_up_items(catalogue, ["new", "b0", "b1"])] == [
        False,
        True,
        True,
    ]


class LiveItemsOf:
    """Changes of a catalogue without a store."""

    def __init__(self, catalogue):
        self._catalogue = catalogue

    def change(self):
        from serving.live.store import ItemChange

        changes = [
            ItemChange("b1", is_deleted=True),
            ItemChange("new", categories=("even",), title="T1 twice"),
        ]
        self._catalogue.apply(self._catalogue.place(changes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x" * 257,), "length of `query` must be at most 256, received 257"),
        (("x", 0), r"`k` must be in \[1, 100\], received 0"),
        (("x", 101), r"`k` must be in \[1, 100\], received 101"),
        (("\ud800",), "`query` is not valid Unicode"),
    ],
)
def test_limits_of_a_search(live, arguments, message):
    with pytest.raises(InputError, match=message):
        live.search(*arguments)


def test_limits_of_a_look_up(live):
    with pytest.raises(InputError, match="number of ids must be at most 1000, received 1001"):
        live.look_up(["x"] * 1001)
    with pytest.raises(InputError, match="length of an item id must be at most 1024"):
        live.look_up(["x" * 1025])
    with pytest.raises(ServingError, match="Version 8 is not loaded"):
        live.look_up(["b0"], version=8)


def plain(outputs):
    return {name: array.tolist() for name, array in outputs.items()}


def test_signatures(live):
    servable = ItemsServable(live, 7)
    inputs = {"query": np.array(["café".encode()], object), "k": np.array(3, np.int32)}
    outputs = servable.predict("search", inputs)
    assert items_tensors.parse_found(plain(outputs)) == live.search("café", 3)
    assert outputs["titles"].tolist() == ["Café T2 noir".encode()]
    nothing = servable.predict("search", {"query": np.array(b"zebra", object)})
    assert items_tensors.parse_found(plain(nothing)) == FoundItems((), (), True)
    asked = {"item_ids": np.array([b"new", b"unheard"], object)}
    outputs = servable.predict("lookup", asked)
    assert items_tensors.parse_items(plain(outputs)) == live.look_up(["new", "unheard"])
    assert servable.predict("lookup", asked, ["is_served"])["is_served"].tolist() == [True, False]
    for query in (np.array([b"a", b"b"], object), np.empty(0, object)):
        with pytest.raises(ServingError, match="query must be one value, received"):
            servable.predict("search", {"query": query})
    with pytest.raises(ServingError, match="query holds a text that is not valid UTF-8"):
        servable.predict("search", {"query": np.array(b"\xff", object)})


def test_changes_are_seen_by_the_next_search(live):
    live.delete(["b2"])
    assert ids(live.search("cafe")) == []
