"""Attributes of items that change: after every change, and on a base that is built anew."""

import numpy as np
import pytest

from recall.feature_columns.attributes import ItemAttribute
from recall.vocabulary import ItemVocabulary
from serving.index import bundle
from serving.index.attributes import ItemAttributes
from serving.index.exact_index import ExactIndex
from serving.live import rebuild
from serving.live.catalogue import LiveCatalogue
from serving.live.store import ItemChange

DECLARED = (
    ItemAttribute("brand"),
    ItemAttribute("tags", column="categories"),
    ItemAttribute("price", "numeric"),
    ItemAttribute("available_until", "time"),
)
VECTOR = np.ones(2, np.float32)


@pytest.fixture(name="catalogue")
def _catalogue(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    values = {"fingerprint": "f", "similarity": "inner_product", "recall@100": 1.0}
    attributes = ItemAttributes.of_values(
        DECLARED,
        [
            {"brand": ["acme"], "tags": ["red"], "price": 1.0},
            {"brand": ["apex", "acme"], "price": 2.0, "available_until": 50.0},
            {},
        ],
    )
    vocabulary = ItemVocabulary(["a", "b", "c"], categories=[["red"], [], []])
    bundle.write_bundle(
        tmp_path, vocabulary, vectors, ExactIndex(vectors), values, attributes=attributes
    )
    return LiveCatalogue(bundle.open_bundle(tmp_path), version=1)


def change(catalogue, *changes):
    catalogue.apply(catalogue.place(changes))


def ids(catalogue, rows):
    return {item_id.decode() for item_id in catalogue.view().item_ids(rows).tolist()}


def brand(catalogue, *names):
    return ids(catalogue, catalogue.view().attributes.rows_with("brand", names))


def upsert(item_id, **features):
    return ItemChange(item_id, vector=VECTOR, fingerprint="f", features=features or None)


@pytest.mark.parametrize("rebuilds", [False, True])
def test_rows_are_those_of_the_newest_values(catalogue, rebuilds):
    def changed(*changes):
        change(catalogue, *changes)
        if rebuilds:
            catalogue.rebuild(rebuild.build_bundle)

    assert brand(catalogue, "acme") == {"a", "b"}
    changed(upsert("new", brand="acme", price=7), upsert("b", price=9, available_until=90))
    assert brand(catalogue, "acme") == {"a", "b", "new"}  # Of b as the release says.
    view = catalogue.view()
    assert ids(catalogue, view.attributes.rows_between("price", 2, 9)) == {"b", "new"}
    assert ids(catalogue, view.attributes.unavailable_rows(60)) == set()
    changed(upsert("new", brand=["bolt", "zeta"]), ItemChange("a", is_deleted=True))
    assert brand(catalogue, "acme") == {"b"}
    assert brand(catalogue, "zeta", "bolt") == {"new"}
    changed(ItemChange("b"), ItemChange("a"))  # As the release has them again.
    assert brand(catalogue, "acme") == {"a", "b"}
    view = catalogue.view()
    assert ids(catalogue, view.attributes.rows_between("price", 0, 9)) == {"a", "b"}
    assert ids(catalogue, view.attributes.unavailable_rows(60)) == {"b"}
    assert list(view.attributes.declared) == ["brand", "tags", "price", "available_until"]


def test_an_attribute_made_of_the_categories_follows_them(catalogue):
    change(catalogue, ItemChange("c", categories=("red", "hat")), ItemChange("a", title="A"))
    view = catalogue.view()
    assert ids(catalogue, view.attributes.rows_with("tags", ["red"])) == {"a", "c"}
    change(catalogue, ItemChange("a", categories=("blue",)))
    assert ids(catalogue, catalogue.view().attributes.rows_with("tags", ["red"])) == {"c"}


def test_values_said_to_an_earlier_release_are_no_hindrance(catalogue):
    change(catalogue, upsert("b", price="cheap", colour="red"))
    assert brand(catalogue, "apex") == {"b"}
    assert ids(catalogue, catalogue.view().attributes.rows_between("price", 0, 9)) == {"a"}


@pytest.mark.parametrize("rebuilds", [False, True])
def test_names_that_only_a_live_item_has_are_known(catalogue, rebuilds):
    def unknown(*names):
        return catalogue.view().attributes.names_of_nothing("brand", names)

    assert unknown("acme", "new", "apex", "Acme") == ["new", "Acme"]
    change(catalogue, upsert("n", brand=["new"]))
    if rebuilds:
        catalogue.rebuild(rebuild.build_bundle)
    assert unknown("acme", "new", "apex", "Acme") == ["Acme"]
