"""TF Serving's contract, asked of this server, and of a real one where there is one.

Set TF_SERVING_ADDRESS=HOST:PORT (gRPC), and TF_SERVING_REST=HOST:PORT for its REST
port, to ask a TensorFlow Serving that serves a release's user tower under the name
`user_tower`; docs/tensorflow_serving.md has the command. Texts are compared only where they
are the same in all versions of TF Serving that clients meet.
"""

import http.client
import json
import os
from typing import NamedTuple

import grpc
import numpy as np
import pyarrow as pa
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from recall.config import RecallConfig
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.item_tower import ItemTower
from recall.models.dssrec import DSSRec
from recall.towers import UserTower
from recall.vocabulary import ItemVocabulary
from serving.index.bundle import write_bundle
from serving.index.exact_index import ExactIndex
from serving.protocol.tensors import pad_strings, to_numpy
from serving.release import manifest
from serving.release.export import export_towers
from serving.server import RecallServer
from tests.serving import feature_release
from tests.serving.grpc_requests import build_request, error_of, set_spec

OUTPUTS = {"user_vectors", "interest_weights", "num_known", "num_unknown", "fingerprint"}
NO_VERSION = 1 << 40
CONFIG = RecallConfig().override(
    ["model.dim=8", "model.num_interests=2", "model.num_blocks=1", "model.feed_forward_dim=8"]
)


VOCABULARY = ItemVocabulary([f"i{n}" for n in range(20)], counts=range(20, 0, -1))
OF_CONTEXT = [
    {"name": "country", "owner": "user", "kind": "categorical", "min_count": 1},
    {"name": "age", "owner": "user", "kind": "numeric"},
    {"name": "device", "owner": "event", "kind": "categorical"},
    {"name": "when", "owner": "event", "kind": "timestamp"},
    {"name": "place", "owner": "request", "kind": "categorical"},
]
CONTEXT_TYPES = {
    "history_item_ids": types_pb2.DT_STRING,
    "country": types_pb2.DT_STRING,
    "age": types_pb2.DT_FLOAT,
    "history_device": types_pb2.DT_STRING,
    "place": types_pb2.DT_STRING,
    "history_timestamps": types_pb2.DT_INT64,
    "request_timestamp": types_pb2.DT_INT64,
}
"""Inputs of the signature `with_context` of a release with these features."""


def _write_plain_release(folder):
    item_tower = ItemTower(CONFIG.model, VOCABULARY)
    _write_release(folder, UserTower(CONFIG.model, item_tower), item_tower, VOCABULARY, CONFIG)


def _write_release_with_context(folder):
    """Its model knows features of users, of clicks and of requests."""
    config = CONFIG.override([f"features.columns={json.dumps(OF_CONTEXT)}"])
    values = pa.table({"country": [["NL"], ["DE"]], "age": pa.array([20.0, 40.0])})
    users = ItemFeatures.fit(config.features.of("user"), values, np.ones(2))
    names = (("phone", "tv"), (), ("home", "shop"))
    columns = [FittedColumn(c, n) for c, n in zip(config.features.of_log, names, strict=True)]
    vocabulary = VOCABULARY.with_users(users).with_log_columns(columns)
    model = DSSRec(config, vocabulary)
    model(np.array([[2]]))
    for weight in model.user_tower.weights:  # So that values are seen in vectors.
        weight.assign(np.random.default_rng(1).normal(size=weight.shape) * 0.5)
    kept = vocabulary.without_examples()
    _write_release(folder, model.user_tower, model.item_tower, kept, config)


def _write_release(folder, user_tower, item_tower, vocabulary, config):
    """A release of version 1."""
    export_dir, index_dir = folder / "export", folder / "index" / "1"
    export_dir.mkdir()
    values = export_towers(user_tower, item_tower, vocabulary, config, export_dir)
    sealed = {"fingerprint": values["fingerprint"]}
    for part in ("user_tower", "item_tower"):
        (folder / part).mkdir()
        (export_dir / part).rename(folder / part / "1")
        manifest.seal(folder / part / "1", sealed)
    vectors = np.tile(np.eye(8, dtype=np.float32), (3, 1))[:20]
    index_dir.mkdir(parents=True)
    measured = {"similarity": "cosine", "recall@100": 1.0}
    write_bundle(index_dir, vocabulary, vectors, ExactIndex(vectors), sealed | measured)


class Addresses(NamedTuple):
    """Where a server is; `rest` is None where it was not given."""

    grpc: str
    rest: str | None


WRITERS = {
    "recall": _write_plain_release,
    "recall_with_features": feature_release.write_release,
    "recall_with_context": _write_release_with_context,
}


@pytest.fixture(scope="module", params=[*WRITERS, "tf_serving"])
def addresses(request, tmp_path_factory):
    if request.param == "tf_serving":
        if not (address := os.environ.get("TF_SERVING_ADDRESS")):
            pytest.skip("TF_SERVING_ADDRESS names no TensorFlow Serving")
        yield Addresses(address, os.environ.get("TF_SERVING_REST"))
        return
    folder = tmp_path_factory.mktemp("contract")
    WRITERS[request.param](folder)
    with RecallServer(folder, grpc_port=0, http_port=0) as server:
        yield Addresses(server.grpc_address, server.http_address)


@pytest.fixture(scope="module")
def channel(addresses):
    with grpc.insecure_channel(addresses.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


@pytest.fixture(scope="module")
def rest(addresses):
    """(status, decoded answer) of a REST request."""
    if addresses.rest is None:
        pytest.skip("TF_SERVING_REST names no REST port of a TensorFlow Serving")
    connection = http.client.HTTPConnection(addresses.rest, timeout=30)

    def ask(method, path, document=None):
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    yield ask
    connection.close()


INVALID = grpc.StatusCode.INVALID_ARGUMENT


def test_predict_answers_every_output_and_says_which_version(prediction):
    histories = {"history_item_ids": pad_strings([["i3"], ["i4", "i5"]])}
    response = prediction.Predict(build_request(inputs=histories), timeout=30)
    assert set(response.outputs) == OUTPUTS
    assert response.model_spec.name == "user_tower"
    assert response.model_spec.signature_name == "serving_default"
    version = response.model_spec.version.value
    assert version > 0
    by_version = prediction.Predict(build_request(inputs=histories, version=version), timeout=30)
    np.testing.assert_allclose(
        to_numpy(by_version.outputs["user_vectors"]),
        to_numpy(response.outputs["user_vectors"]),
        rtol=1e-5,
    )


def test_output_filter(prediction):
    response = prediction.Predict(build_request(output_filter=["num_known"]), timeout=30)
    assert set(response.outputs) == {"num_known"}
    code, details = error_of(prediction.Predict, build_request(output_filter=["nope"]))
    assert code == INVALID
    assert "output tensor alias not found in signature: nope" in details
    code, details = error_of(prediction.Predict, build_request(output_filter=["num_known"] * 2))
    assert code == INVALID
    assert "duplicate output tensor alias: num_known" in details


def test_models_and_versions_that_are_not_there(prediction):
    predict = prediction.Predict
    assert error_of(predict, predict_pb2.PredictRequest())[0] == INVALID
    unnamed = error_of(predict, build_request(name=""))
    assert unnamed == (INVALID, "ModelSpec has no name specified.")
    for spec in ({"name": "nobody"}, {"version": NO_VERSION}):
        code, details = error_of(predict, build_request(**spec))
        assert code == grpc.StatusCode.NOT_FOUND
        assert "Servable not found for request" in details
    code, details = error_of(predict, build_request(label="nobody"))
    assert code == INVALID
    assert "Unrecognized servable version label: nobody" in details
    code, details = error_of(predict, build_request(signature="nope"))
    assert code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND)
    assert "nope" in details


def test_inputs_that_do_not_fit(prediction):
    histories = pad_strings([["i3"]])
    for inputs in ({}, {"x": histories}, {"history_item_ids": histories, "x": histories}):
        code, details = error_of(prediction.Predict, build_request(inputs=inputs))
        assert code == INVALID
        assert "input size does not match signature" in details
    numbers = build_request(inputs={"history_item_ids": np.ones((1, 1))})
    assert error_of(prediction.Predict, numbers)[0] == INVALID


def test_tensors_that_lie(prediction):
    request = build_request()
    request.inputs["history_item_ids"].tensor_shape.dim[0].size = 1 << 40
    assert error_of(prediction.Predict, request)[0] == INVALID
    request = build_request()
    request.inputs["history_item_ids"].tensor_shape.dim[0].size = -5
    assert error_of(prediction.Predict, request)[0] == INVALID


def test_metadata(prediction):
    request = set_spec(
        get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    )
    response = prediction.GetModelMetadata(request, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert signature.inputs["history_item_ids"].dtype == types_pb2.DT_STRING
    assert set(signature.outputs) == OUTPUTS
    request.metadata_field[0] = "weights"
    code, details = error_of(prediction.GetModelMetadata, request)
    assert code == INVALID
    assert "weights is not supported" in details


def test_status(models):
    request = get_model_status_pb2.GetModelStatusRequest
    response = models.GetModelStatus(set_spec(request()), timeout=30)
    states = {s.version: (s.state, s.status.error_code) for s in response.model_version_status}
    assert (30, 0) in states.values()
    assert error_of(models.GetModelStatus, set_spec(request(), "nobody"))[0] == (
        grpc.StatusCode.NOT_FOUND
    )
    assert error_of(models.GetModelStatus, set_spec(request(), version=NO_VERSION))[0] == (
        grpc.StatusCode.NOT_FOUND
    )


@pytest.mark.parametrize("addresses", ["recall_with_context"], indirect=True)
class TestContext:
    """The signature of a release that knows more of a request than its history."""

    def predict(self, prediction, **inputs):
        inputs = {"history_item_ids": pad_strings([["i3", "i4"]])} | inputs
        request = build_request(inputs=inputs, signature="with_context")
        response = prediction.Predict(request, timeout=30)
        return to_numpy(response.outputs["user_vectors"])

    def test_metadata_have_names_and_types(self, prediction):
        request = set_spec(
            get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        )
        response = prediction.GetModelMetadata(request, timeout=30)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert response.metadata["signature_def"].Unpack(signatures)
        signature = signatures.signature_def["with_context"]
        assert {name: one.dtype for name, one in signature.inputs.items()} == CONTEXT_TYPES
        assert set(signature.outputs) >= OUTPUTS
        assert set(signatures.signature_def["serving_default"].inputs) == {"history_item_ids"}

    def test_every_input_may_be_left_out_and_says_something(self, prediction):
        alone = self.predict(prediction)
        plain = prediction.Predict(
            build_request(inputs={"history_item_ids": pad_strings([["i3", "i4"]])}), timeout=30
        )
        np.testing.assert_allclose(alone, to_numpy(plain.outputs["user_vectors"]), rtol=1e-5)
        given = {
            "country": np.array([b"NL"], object),
            "age": np.array([33], np.float32),
            "history_device": pad_strings([["tv", "phone"]]),
            "place": np.array([b"home"], object),
            "history_timestamps": np.array([[1704412800, 1704416400]]),
        }
        for name, value in given.items():
            assert np.abs(self.predict(prediction, **{name: value}) - alone).max() > 1e-3
        unheard = self.predict(prediction, place=np.array([b""], object))
        np.testing.assert_allclose(unheard, alone, rtol=1e-5)

    def test_inputs_that_do_not_fit(self, prediction):
        histories = pad_strings([["i3"], ["i4"]])
        for inputs in (
            {"country": np.array([1, 2])},
            {"age": np.array([1.0], np.float32)},
            {"nobody": np.array([b"x", b"x"], object)},
        ):
            request = build_request(
                inputs={"history_item_ids": histories, **inputs}, signature="with_context"
            )
            code, details = error_of(prediction.Predict, request)
            assert code == INVALID
            assert next(iter(inputs)) in details

    def test_rest_in_row_and_column_form(self, rest):
        path = "/v1/models/user_tower:predict"
        inputs = {"history_item_ids": [["i3"], ["i4"]], "country": ["NL", "DE"]}
        asked = {"signature_name": "with_context"}
        status, columns = rest("POST", path, {**asked, "inputs": inputs})
        assert status == 200
        instances = [{name: values[row] for name, values in inputs.items()} for row in range(2)]
        status, rows = rest("POST", path, {**asked, "instances": instances})
        assert status == 200
        for row, vectors in enumerate(columns["outputs"]["user_vectors"]):
            np.testing.assert_allclose(rows["predictions"][row]["user_vectors"], vectors, rtol=1e-4)


def test_rest_in_row_and_column_form(rest):
    path = "/v1/models/user_tower:predict"
    status, rows = rest("POST", path, {"instances": [["i3", ""], ["i4", "i5"]]})
    assert status == 200
    inputs = {"history_item_ids": [["i3", ""], ["i4", "i5"]]}
    status, columns = rest("POST", path, {"inputs": inputs})
    assert status == 200
    assert set(columns["outputs"]) == OUTPUTS
    assert [row["num_known"] for row in rows["predictions"]] == columns["outputs"]["num_known"]
    for bad in ({"instances": [["i3"]], "inputs": inputs}, {}, {"instances": "i3"}):
        status, answer = rest("POST", path, bad)
        assert status == 400
        assert list(answer) == ["error"]


def test_rest_status_and_metadata(rest):
    status, answer = rest("GET", "/v1/models/user_tower")
    assert status == 200
    assert "AVAILABLE" in {version["state"] for version in answer["model_version_status"]}
    status, answer = rest("GET", "/v1/models/user_tower/metadata")
    assert status == 200
    assert "serving_default" in answer["metadata"]["signature_def"]["signature_def"]
    for path in ("/v1/models/nobody", f"/v1/models/user_tower/versions/{NO_VERSION}"):
        assert rest("GET", path)[0] == 404
    assert rest("POST", "/v1/models/nobody:predict", {"instances": [["i3"]]})[0] == 404
