"""Upserted items with features: what is accepted, and that their vectors are the tower's."""

import numpy as np
import pytest

from recall.errors import InputError
from serving.api.item_changes import ItemUpsert
from serving.index.bundle import open_bundle
from serving.live.catalogue import LiveCatalogue
from serving.live.items import LiveItems
from serving.models.saved_model import SavedModelServable
from serving.monitoring.metrics import Metrics
from serving.release import manifest as manifests
from serving.servables.feature_values import ITEM_OWNERS, FeatureValues
from serving.servables.item_embedding import item_embedder
from tests.serving.feature_release import write_release

FEATURES = {"brand": "apex", "price": 5, "image": [0.4, 1.0]}


@pytest.fixture(scope="module", name="release")
def _release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    item_tower = write_release(folder)
    servable = SavedModelServable("item_tower", 1, folder / "item_tower" / "1")
    embed = item_embedder(servable, manifests.read(folder / "item_tower" / "1"))
    return folder, item_tower, embed


@pytest.fixture(name="live")
def _live(release, tmp_path):
    folder, _, embed = release
    catalogue = LiveCatalogue(open_bundle(folder / "index" / "1"), version=1, embed=embed)
    items = LiveItems(tmp_path)
    items.attach(catalogue)
    yield items, catalogue
    items.close()


def vector_of(catalogue, item_id):
    view = catalogue.view()
    (row,) = view.rows_of([item_id.encode()])
    return view.vectors(np.array([row]))[0]


def test_an_upserted_item_has_the_vector_of_the_item_tower(live, release):
    items, catalogue = live
    _, item_tower, _ = release
    # As i4: blue? its row says (green,), apex has odd rows, so another mixture than any item.
    items.upsert([ItemUpsert("new", ("green",), "hat number 4", features=FEATURES)])
    encoded = item_tower.encoder(
        {
            "categories": np.array([[b"green"]], object),
            "brand": np.array([b"apex"], object),
            "price": np.array([5], np.float32),
            "image": np.array([[0.4, 1]], np.float32),
            "title_words": np.array([b"hat number 4"], object),
        }
    ).encoded
    expected = item_tower.call_features(encoded)[0]
    np.testing.assert_allclose(vector_of(catalogue, "new"), expected, rtol=1e-4, atol=1e-5)


def test_a_clicked_item_keeps_its_id_and_what_is_not_said(live, release):
    items, catalogue = live
    _, item_tower, _ = release
    before = vector_of(catalogue, "i2")
    items.upsert([ItemUpsert("i2", features={"price": 9})])
    price = item_tower.encoder.columns[2]
    known = item_tower.encoded_of(np.array([4]))
    numbers = known.numbers.numpy()
    numbers[0, 0] = (9 - price.mean) / price.stddev
    expected = item_tower.call_features(known._replace(numbers=numbers), np.array([4]))[0]

    np.testing.assert_allclose(vector_of(catalogue, "i2"), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(vector_of(catalogue, "i2") - before).max() > 1e-3
    # An upsert that says nothing brings the trained one back.
    items.upsert([ItemUpsert("i2")])
    np.testing.assert_array_equal(vector_of(catalogue, "i2"), before)


def test_items_of_one_call_do_not_share_what_they_leave_out(live):
    items, catalogue = live
    items.upsert([ItemUpsert("i3", features={"price": 2})])
    alone = vector_of(catalogue, "i3")
    items.upsert(
        [ItemUpsert("i3", features={"price": 2}), ItemUpsert("x", features={"brand": "acme"})]
    )
    np.testing.assert_allclose(vector_of(catalogue, "i3"), alone, rtol=1e-5, atol=1e-6)


def test_changes_survive_a_restart_with_their_features(live, release, tmp_path):
    items, catalogue = live
    folder, _, embed = release
    items.upsert([ItemUpsert("kept", features=FEATURES)])
    items.close()
    again = LiveCatalogue(open_bundle(folder / "index" / "1"), version=1, embed=embed)
    reopened = LiveItems(tmp_path)
    try:
        reopened.attach(again)
        np.testing.assert_array_equal(vector_of(again, "kept"), vector_of(catalogue, "kept"))
    finally:
        reopened.close()


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ({"colour": "red"}, "'colour', which the release does not declare. It declares categories"),
        ({"price": "dear"}, "'price' of item 'x' must be a finite number, received 'dear'"),
        ({"price": float("nan")}, "must be a finite number"),
        ({"image": [1.0]}, "'image' of item 'x' must be a list of 2 finite numbers"),
        ({"brand": ["a", "b"]}, "'brand' of item 'x' must be a text"),
        ({"title_words": 3}, "'title_words' of item 'x' must be a text"),
        ({"categories": [1.5]}, "'categories' of item 'x' must be a list of texts"),
        ({"brand": "nobody's"}, "the model knows none of its values"),
    ],
)
def test_what_does_not_fit_is_one_line(live, features, text):
    items, _ = live
    with pytest.raises(InputError) as info:
        items.upsert([ItemUpsert("x", features=features)])
    assert text in str(info.value)
    assert "\n" not in str(info.value)


def test_unknown_values_are_counted(live):
    items, catalogue = live
    upserts = [ItemUpsert(f"n{n}", features={"brand": "nobody's", "price": n}) for n in range(60)]
    items.upsert(upserts)
    items.upsert(upserts[:3])
    status = catalogue.status()
    assert (status["num_feature_values"], status["num_unknown_values"]) == (126, 63)


def given_values(metrics):
    """State -> values of brands that the metrics have counted."""
    lines = metrics.page().decode().splitlines()
    start = 'recall_feature_values_total{feature="brand",owner="item",state='
    return {
        line.removeprefix(start).split('"')[1]: float(line.split()[-1])
        for line in lines
        if line.startswith(start)
    }


def test_values_are_counted_once_however_often_they_are_placed(release, tmp_path):
    """By two versions, by another process, and again at the next start."""
    folder, _, _ = release
    item_tower_dir = folder / "item_tower" / "1"
    servable, metrics = SavedModelServable("item_tower", 1, item_tower_dir), Metrics()

    def catalogue(version):
        facts = manifests.read(item_tower_dir)
        values = FeatureValues(ITEM_OWNERS, facts, version, metrics)
        embed = item_embedder(servable, facts, values)
        return LiveCatalogue(open_bundle(folder / "index" / "1"), version=version, embed=embed)

    first, second = catalogue(1), catalogue(2)
    items, other = LiveItems(tmp_path), LiveItems(tmp_path)
    try:
        items.attach(first)
        items.attach(second)
        other.attach(catalogue(3))
        upserts = [ItemUpsert(f"n{n}", features={"brand": "acme", "price": n}) for n in range(5)]
        upserts.append(ItemUpsert("x", features={"brand": "nobody's", "price": 1}))
        items.upsert(upserts)
        # The other process has to catch up before it writes.
        other.upsert([ItemUpsert("y", features={"brand": "acme"})])
    finally:
        items.close()
        other.close()
    assert given_values(metrics) == {"known": 6, "unknown": 1}
    assert first.status()["num_unknown_values"] == second.status()["num_unknown_values"] == 1

    again, reopened = catalogue(4), LiveItems(tmp_path)
    try:
        reopened.attach(again)
    finally:
        reopened.close()
    assert given_values(metrics) == {"known": 6, "unknown": 1}
    # Of what it serves it says how much it does not know.
    assert again.status()["num_unknown_values"] == 1
