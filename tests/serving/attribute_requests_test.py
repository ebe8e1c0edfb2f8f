"""Requests that filter on attributes and boost items, at both doors of a real server."""

import json
import time
import urllib.error

import numpy as np
import pytest

from pipelines import cli
from pipelines.clients import query
from recall import Client
from recall.errors import InputError
from serving.api import client as clients
from serving.api.item_changes import ItemUpsert
from serving.api.recall_request import RecallRequest
from serving.server import RecallServer
from tests.serving.feature_release import BRANDS, NUM_ITEMS, SHOPS, write_release
from tests.serving.http_calls import post

PRICES = [row + 1.0 for row in range(NUM_ITEMS)]
"""Of i0, i1, ...; brands and shops by turns."""


@pytest.fixture(scope="module", name="vectors")
def _vectors(tmp_path_factory):
    return []


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory, vectors):
    folder = tmp_path_factory.mktemp("attributes")
    tower = write_release(folder)
    vectors.extend(tower(np.arange(NUM_ITEMS) + 2).numpy())
    with RecallServer(folder, grpc_port=0, http_port=0) as server:
        yield server


@pytest.fixture(name="address", params=["grpc", "http"])
def _address(request, server):
    return server.grpc_address if request.param == "grpc" else f"http://{server.http_address}"


def test_answers_are_those_of_brute_force(address, vectors):
    where = {"brand": "acme", "price": {"min": 2, "max": 9}}
    boosts = [{"where": {"shop": ["east"]}, "multiply": 2, "add": 0.25}]
    user = np.array([vectors[3], -vectors[0]], np.float32)
    with Client(address) as client:
        found = client.ask(RecallRequest(user_vectors=user, k=20, where=where, boosts=boosts))
    scores = (user @ np.array(vectors).T).max(axis=0)
    expected = {}
    for row in range(NUM_ITEMS):
        if BRANDS[row % 2] == "acme" and 2 <= PRICES[row] <= 9:
            is_boosted = SHOPS[row % 3] == "east"
            expected[f"i{row}"] = scores[row] * 2 + 0.25 if is_boosted else scores[row]
    assert [i.item_id for i in found.items] == sorted(expected, key=expected.get, reverse=True)
    for item in found.items:
        assert item.score == pytest.approx(expected[item.item_id], abs=1e-5)


def test_new_visitors_get_popular_items_that_pass(address):
    with Client(address) as client:
        found = client.ask(RecallRequest(k=3, where={"shop": "south"}))
    assert found.is_fallback
    assert [item.item_id for item in found.items] == ["i2", "i5", "i8"]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"colour": "red"}, "It declares categories (categorical), brand (categorical), price "),
        ({"price": "cheap"}, "`where.price` must be a finite number, received 'cheap'"),
    ],
)
def test_what_does_not_fit_is_one_line_that_says_what_would(address, where, wanted):
    with Client(address) as client, pytest.raises(InputError) as info:
        client.ask(RecallRequest(history=("i0",), where=where))
    assert wanted in str(info.value)


MISTYPED = {"shop": ["nroth", "south"], "brand": "acme", "price": 10_000}
UNKNOWN = (("shop", "nroth"), ("brand", "Acme"))


def test_names_that_no_item_has_are_told_beside_the_answer(server, address):
    boosts = [{"where": {"brand": ["Acme", "acme"]}, "add": 1}]
    with Client(address) as client:
        found = client.ask(RecallRequest(("i0",), where=MISTYPED, boosts=boosts))
        assert found.unknown_values == UNKNOWN
        right = client.ask(RecallRequest(("i0",), where={"shop": "south"}))
        assert right.unknown_values == ()
    document = {"history": ["i0"], "where": MISTYPED, "boosts": boosts}
    told = [{"attribute": name, "value": value} for name, value in UNKNOWN]
    assert post(server, "/recall", document)["unknown_values"] == told
    both = {"requests": [document, {"history": ["i0"], "where": {"shop": "south"}}]}
    first, second = post(server, "/recall", both)["responses"]
    assert (first["unknown_values"], "unknown_values" in second) == (told, False)


def test_predict_has_them_as_pairs(server):
    where = json.dumps({"shop": "nroth"})
    document = {"inputs": {"history_item_ids": [["i0"], ["i1"]], "where": [where, ""]}}
    outputs = post(server, "/v1/models/recall:predict", document)["outputs"]
    assert outputs["unknown_values"] == [[["shop", "nroth"]], [["", ""]]]


def test_recall_query_says_so_in_one_line_on_stderr(server, capsys):
    words = [
        "query",
        f"--server={server.grpc_address}",
        "--history=i0",
        '--where={"shop": "nroth"}',
    ]
    assert cli.main(words) == 0
    output, errors = capsys.readouterr()
    assert "no item passes the filters" in output
    (line,) = errors.splitlines()
    assert "No item has the shop 'nroth': it counts for nothing." in line


def test_recall_query_takes_json(server):
    request = query.build_request(
        {"history": ["i0"], "k": 4, "where": '{"shop": "north", "price": {"max": 8}}'}
    )
    answer = clients.query(server.grpc_address, request)
    assert {item.item_id for item in answer.items} == {"i1", "i4", "i7"}
    with pytest.raises(InputError, match=r"^--where is not valid JSON"):
        query.build_request({"history": [], "where": "{"})


def test_json_of_another_form_is_refused_with_the_place(server):
    for document, wanted in (
        ({"where": {"price": {"above": 3}}}, "`where.price` must be a value"),
        ({"boosts": [{"where": {}, "multiply": 0}]}, "`boosts[0].multiply` must be in [0.01, 100]"),
    ):
        with pytest.raises(urllib.error.HTTPError) as info:
            post(server, "/recall", {"history": ["i0"], **document})
        assert info.value.code == 400
        assert wanted in json.load(info.value)["error"]


def test_live_items_take_part_at_once(server, address):
    """New values of a known item, of a new one, and until when one may be in an answer."""

    def in_shop(shop):
        found = client.ask(RecallRequest(("i0",), 40, where={"shop": shop}))
        return {item.item_id for item in found.items}

    soon = time.time() + 600
    with Client(address) as client:
        before = client.predict("recall", {"history_item_ids": [["i0"]]})
        client.upsert_items(
            [
                ItemUpsert("fresh", features={"brand": "apex", "shop": ["west", "east"]}),
                ItemUpsert("i4", features={"shop": "west"}),
                ItemUpsert("i7", features={"shop": "west", "available_until": "2020-01-01"}),
                ItemUpsert("i10", features={"shop": "west", "available_until": soon}),
            ]
        )
        assert in_shop("west") == {"fresh", "i4", "i10"}
        assert in_shop("north") == {"i1"}
        assert "fresh" in in_shop("east")
        # A value that no model looks at changes no vector.
        vectors = client.predict(
            "recall", {"item_ids": ["i4", "i10"]}, signature_name="item_vectors"
        )
        tower = client.predict("item_tower", {"item_ids": ["i4", "i10"]})
        assert np.allclose(vectors["item_vectors"], tower["item_vectors"], atol=1e-6)
        with pytest.raises(InputError, match="'size', which the release does not declare"):
            client.upsert_items([ItemUpsert("x", features={"size": 3})])
        with pytest.raises(InputError, match=r"'available_until' .* must be a time"):
            client.upsert_items([ItemUpsert("i3", features={"available_until": "soon"})])
        client.delete_items(["fresh"])
        client.upsert_items([ItemUpsert(name) for name in ("i4", "i7", "i10")])
        assert in_shop("west") == set()
        assert in_shop("north") == {"i1", "i4", "i7", "i10"}
    assert before["item_ids"]
