"""Features of clicks, users and requests at both doors: what a caller says is what is read."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest

from recall.errors import InputError
from serving.api.client import Client
from serving.api.recall_request import RecallRequest
from serving.models.saved_model import SavedModelServable
from serving.servables.towers import PredictUserVectors
from serving.server import RecallServer
from tests.serving.context_release import IDS, write_release

HISTORY = ["i1", "gone", "i3"]
CONTEXT = {"history_device": ["tv", "tv", None], "country": "NL", "place": "home"}
SAYS_LESS = {**CONTEXT, "history_device": [None, "tv", None]}


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    write_release(folder)
    return folder


@pytest.fixture(scope="module", name="server")
def _server(folder):
    with RecallServer(folder, grpc_port=0, http_port=0) as server:
        yield server


@pytest.fixture(scope="module", name="vectors")
def _vectors(folder):
    """A context -> the interests that the tower itself gives for it."""
    servable = SavedModelServable("user_tower", 1, folder / "user_tower" / "1")
    tower = PredictUserVectors(servable.predict_default, 1, servable)
    return lambda context: tower.compute([HISTORY], contexts=[context]).user_vectors[0]


@pytest.fixture(scope="module", name="best")
def _best(folder, vectors):
    """A context -> the scores of all items that are no click, best first, by numpy."""
    servable = SavedModelServable("item_tower", 1, folder / "item_tower" / "1")
    items = servable.predict("", {"item_ids": np.array([i.encode() for i in IDS], object)})

    def find(context):
        scores = (vectors(context) @ items["item_vectors"].T).max(axis=0)
        left = [at for at in np.argsort(-scores) if IDS[at] not in HISTORY]
        return {IDS[at]: scores[at] for at in left[:4]}

    return find


def post(server, path, document):
    request = urllib.request.Request(
        f"http://{server.http_address}{path}",
        json.dumps(document).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("context", [CONTEXT, SAYS_LESS, {}], ids=["all", "less", "nothing"])
def test_both_doors_answer_a_request_by_what_it_says_of_its_clicks(server, best, context):
    body = {"history": HISTORY, "k": 4, "context": context}
    by_http = post(server, "/recall", body)["items"]
    with Client(server.grpc_address) as client:
        request = RecallRequest(tuple(HISTORY), 4, context=context)
        by_grpc = client.ask(request).items
    expected = best(context)
    for found in (
        {item["item_id"]: item["score"] for item in by_http},
        {item.item_id: item.score for item in by_grpc},
    ):
        assert list(found) == list(expected)
        assert list(found.values()) == pytest.approx(list(expected.values()), rel=1e-4, abs=1e-5)


def test_what_is_said_of_a_click_changes_the_answer(vectors):
    """So that the tests above could fail: a value of a known click, not that of an unknown one."""
    assert np.abs(vectors(CONTEXT) - vectors(SAYS_LESS)).max() > 1e-3
    of_gone = {**CONTEXT, "history_device": ["tv", "phone", None]}
    np.testing.assert_allclose(vectors(of_gone), vectors(CONTEXT), rtol=1e-5, atol=1e-6)


COLUMNS = {
    "history_item_ids": [HISTORY],
    "history_device": [["tv", "tv", ""]],
    "country": ["NL"],
    "place": ["home"],
}


@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_the_signature_of_the_tower_takes_them_by_name_in_json(server, vectors, form):
    document = {"signature_name": "with_context", "inputs": COLUMNS}
    if form == "instances":
        rows = [{name: values[0] for name, values in COLUMNS.items()}]
        document = {"signature_name": "with_context", "instances": rows}
    answer = post(server, "/v1/models/user_tower:predict", document)
    found = answer["outputs"] if form == "inputs" else answer["predictions"]
    found = found["user_vectors"] if form == "inputs" else [found[0]["user_vectors"]]
    np.testing.assert_allclose(found[0], vectors(CONTEXT), rtol=1e-4, atol=1e-5)


def test_the_signature_of_the_tower_takes_them_by_name_over_grpc(server, vectors):
    with Client(server.grpc_address) as client:
        found = client.predict("user_tower", COLUMNS, signature_name="with_context")
        np.testing.assert_allclose(found["user_vectors"][0], vectors(CONTEXT), rtol=1e-4, atol=1e-5)
        assert found["num_unknown_values"] == [0]
        other = {**COLUMNS, "history_device": [["phone", "tv", ""]]}
        found = client.predict("user_tower", other, signature_name="with_context")
        assert found["num_unknown_values"] == [1]


def test_metadata_has_their_names_and_types(server):
    path = f"http://{server.http_address}/v1/models/user_tower/metadata"
    with urllib.request.urlopen(path, timeout=30) as answer:
        document = json.load(answer)
    inputs = document["metadata"]["signature_def"]["signature_def"]["with_context"]["inputs"]
    assert inputs["history_device"]["dtype"] == "DT_STRING"
    sizes = [dim["size"] for dim in inputs["history_device"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "-1"]
    assert inputs["age"]["dtype"] == "DT_FLOAT"
    with Client(server.grpc_address) as client:
        found = client.model_metadata("user_tower")
    assert {"history_device", "country", "place"} <= set(str(found).replace('"', "'").split("'"))


@pytest.mark.parametrize(
    ("context", "wanted"),
    [
        ({"history_device": ["tv"]}, "must be a list of as many values as the history has clicks"),
        ({"history_device": "tv"}, "must be a list of as many values as the history has clicks"),
        ({"history_device": [1.5, None, None]}, "`context.history_device` must be a text"),
        ({"device": ["tv", None, None]}, "'device', which this release does not take"),
    ],
)
def test_mistakes_are_one_line_at_both_doors(server, context, wanted):
    with pytest.raises(urllib.error.HTTPError) as info:
        post(server, "/recall", {"history": HISTORY, "context": context})
    assert info.value.code == 400
    text = json.load(info.value)["error"]
    assert wanted in text
    assert "\n" not in text
    with Client(server.grpc_address) as client, pytest.raises(InputError) as error:
        client.ask(RecallRequest(tuple(HISTORY), context=context))
    assert wanted in str(error.value)
