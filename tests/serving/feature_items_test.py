"""Items with features at the doors of a server: upserted, found, described and counted."""

import urllib.error

import pytest

from pipelines.clients import change_items
from recall import Client
from recall.errors import InputError
from serving.api.item_changes import ItemUpsert
from serving.api.recall_request import RecallRequest
from serving.server import RecallServer
from tests.serving.feature_release import CONFIG, write_release
from tests.serving.http_calls import get, metrics, post


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    write_release(folder)
    with RecallServer(folder, grpc_port=0, http_port=0) as server:
        yield server


LIKE_I4 = {"brand": "acme", "price": 5.0, "image": [0.4, 1.0]}
"""What the release says of i4, with its categories and its title."""


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_a_new_item_is_served_at_once_with_the_vector_of_the_item_tower(server, door):
    new = f"new-{door}"
    address = server.grpc_address if door == "grpc" else f"http://{server.http_address}"
    inputs = {name: [value] for name, value in LIKE_I4.items()}
    inputs |= {"categories": [["green"]], "title_words": ["hat number 4"]}
    with Client(address) as client:
        client.upsert_items([ItemUpsert(new, ("green",), "hat number 4", features=LIKE_I4)])
        embedded = client.predict("item_tower", inputs, signature_name="embed_new_items")
        request = RecallRequest(
            user_vectors=embedded["item_vectors"] * 2,
            fingerprint=embedded["fingerprint"][0].decode(),
            k=3,
        )
        found = client.ask(request)
    scores = {item.item_id: item.score for item in found.items}
    assert scores[new] == pytest.approx(1.0, abs=1e-4)


def test_mistakes_are_told_at_the_door(server):
    with Client(server.grpc_address) as client, pytest.raises(InputError, match="'colour'"):
        client.upsert_items([ItemUpsert("x", features={"colour": "red"})])
    with pytest.raises(urllib.error.HTTPError) as info:
        post(server, "/items:upsert", {"items": [{"id": "x", "features": {"price": {}}}]})
    assert info.value.code == 400
    assert "`items[0].features.price` must be" in info.value.read().decode()


def test_metadata_and_metrics_tell_of_features(server):
    metadata = get(server, "/v1/models/item_tower/metadata")
    signature = metadata["metadata"]["signature_def"]["signature_def"]["embed_new_items"]
    assert sorted(signature["inputs"]) == [
        "brand",
        "categories",
        "image",
        "item_ids",
        "price",
        "title_words",
    ]
    assert signature["inputs"]["price"]["dtype"] == "DT_FLOAT"
    brands = 'recall_feature_values_total{feature="brand",owner="item",state="unknown"}'
    live = 'recall_live_feature_values{state="unknown"}'
    before = metrics(server)
    post(server, "/items:upsert", {"items": [{"id": "y", "features": {"price": 1, "brand": "no"}}]})
    page = metrics(server)
    assert (page[brands] - before[brands], page[live] - before[live]) == (1, 1)
    with Client(server.grpc_address) as client:
        of_tower = {"brand": ["never heard of", "acme"]}
        client.predict("item_tower", of_tower, signature_name="embed_new_items")
    page = metrics(server)
    # Whoever asks the tower itself is counted, and no item.
    assert (page[brands] - before[brands], page[live] - before[live]) == (2, 1)
    warning = 'recall_unknown_feature_warning{feature="%s",owner="item"}'
    assert page[warning % "brand"] == 0
    many = [{"id": f"z{n}", "features": {"brand": "?", "price": 1}} for n in range(200)]
    post(server, "/items:upsert", {"items": many})
    page = metrics(server)
    assert page[brands] - before[brands] == 202
    assert (page[warning % "brand"], page[warning % "price"]) == (1, 0)


def test_items_of_a_file_are_sent_with_their_features(server, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text(
        "item_id,category,title,brand,price,image\n"
        "f1,green,hat number 4,acme,5,0.4 1\nf2,blue,,,,\n"
    )
    columns = CONFIG.features.of("item")
    text = change_items.change_items(server.grpc_address, str(path), [], features=columns)
    assert text.startswith("2 items upserted")
    with Client(server.grpc_address) as client:
        found = client.similar_items(["f1"], k=40)
        upsert = ItemUpsert("f3", ("green",), "hat number 4", features=LIKE_I4)
        client.upsert_items([upsert])
        again = client.similar_items(["f3"], k=40)
    without = [item for item in found.items if item.item_id != "f3"]
    others = {item.item_id: item.score for item in again.items if item.item_id != "f1"}
    assert {i.item_id for i in without} & set(others)
    for item in without:
        if item.item_id in others:
            assert item.score == pytest.approx(others[item.item_id], abs=1e-4)
