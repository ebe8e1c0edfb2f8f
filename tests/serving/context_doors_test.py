"""Features of clicks, users and requests at both doors: what a caller says is what is read."""

import json
import re
import urllib.error

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from recall.errors import InputError
from serving.api.client import Client
from serving.api.recall_request import RecallRequest
from serving.models.saved_model import SavedModelServable
from serving.protocol.tensors import pad_strings
from serving.servables.towers import PredictUserVectors
from serving.server import RecallServer
from tests.serving.context_release import IDS, write_release
from tests.serving.grpc_requests import build_request, error_of
from tests.serving.http_calls import get, metrics, post

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
    document = get(server, "/v1/models/user_tower/metadata")
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


class Counts:
    """How many values a server has counted since the last look: (owner, feature) -> both kinds."""

    def __init__(self, server):
        self._server = server
        self._before = metrics(server)

    def look(self):
        page, found = metrics(self._server), {}
        for series, value in page.items():
            if series.startswith("recall_feature_values_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', series))
                new = int(value - self._before[series])
                place = ("known", "unknown").index(labels["state"])
                found.setdefault((labels["owner"], labels["feature"]), [0, 0])[place] = new
        self._before = page
        return {name: tuple(values) for name, values in found.items() if any(values)}


OF_ALL_OWNERS = {
    "history_device": ["fridge", "oven", "tv"],
    "country": "XX",
    "tags": ["x", "mauve"],
    "age": 40.5,
    "place": "moon",
}
COUNTED = {
    ("user", "country"): (0, 1),
    ("user", "tags"): (1, 1),
    ("user", "age"): (1, 0),
    ("event", "device"): (1, 1),  # The oven is of no known click.
    ("request", "place"): (0, 1),
}


def test_values_of_every_owner_are_counted_at_every_door(server):
    counts = Counts(server)
    post(server, "/recall", {"history": HISTORY, "context": OF_ALL_OWNERS})
    assert counts.look() == COUNTED
    columns = {name: [value] for name, value in OF_ALL_OWNERS.items()}
    columns["history_item_ids"] = [HISTORY]
    with Client(server.grpc_address) as client:
        client.ask(RecallRequest(tuple(HISTORY), context=OF_ALL_OWNERS))
        assert counts.look() == COUNTED
        client.predict("user_tower", columns, signature_name="with_context")
        assert counts.look() == COUNTED
        client.ask(RecallRequest(tuple(HISTORY)))
        assert counts.look() == {}
    document = {"signature_name": "with_context", "inputs": columns}
    post(server, "/v1/models/user_tower:predict", document)
    assert counts.look() == COUNTED
    two = {"requests": [{"history": HISTORY, "context": OF_ALL_OWNERS}] * 2}
    post(server, "/recall", two)
    assert counts.look() == {name: (2 * known, 2 * not_) for name, (known, not_) in COUNTED.items()}


def test_values_are_shown_before_there_are_any_and_never_by_their_names(folder):
    with RecallServer(folder, grpc_port=0, http_port=0) as server:
        names = {s for s in metrics(server) if s.startswith("recall_feature_values_total{")}
        # Five features of users, clicks and requests: both kinds of each, and none of items.
        assert len(names) == 2 * 6
        for number in range(130):
            context = {"place": f"place-{number}", "country": "NL"}
            post(server, "/recall", {"history": ["i1"], "context": context})
        page = metrics(server)
    assert {s for s in page if s.startswith("recall_feature_values_total{")} == names
    high = 'recall_unknown_feature_warning{feature="%s",owner="%s"}'
    assert page[high % ("place", "request")] == 1
    assert page[high % ("country", "user")] == 0
    assert page['recall_unknown_feature_share{feature="place",owner="request"}'] == 1


def test_a_filter_of_outputs_hides_no_value_from_the_counts(server):
    counts = Counts(server)
    request = build_request(
        inputs={"history_item_ids": pad_strings([["i1"]]), "place": np.array([b"moon"], object)},
        signature="with_context",
        output_filter=["num_known"],
    )
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=30)
        assert list(answer.outputs) == ["num_known"]
        assert counts.look() == {("request", "place"): (0, 1)}
        request.output_filter[:] = ["nothing"]
        code, text = error_of(stub.Predict, request)
    assert (code, "nothing" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert counts.look() == {}
