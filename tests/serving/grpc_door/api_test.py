"""TF Serving's contract over real gRPC, with the texts its clients match on."""

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.protocol.tensors import pad_strings, to_numpy
from tests.serving.grpc_requests import build_request, error_of, set_spec


@pytest.fixture(scope="module")
def channel(recall_server):
    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


INVALID = grpc.StatusCode.INVALID_ARGUMENT


# Predict


def test_user_tower(prediction, catalogue):
    response = prediction.Predict(build_request(), timeout=30)
    vectors = to_numpy(response.outputs["user_vectors"])
    np.testing.assert_allclose(vectors[0], catalogue.user_vectors(["i3"]), rtol=1e-6)
    assert sorted(response.outputs) == [
        "fingerprint",
        "interest_weights",
        "num_known",
        "num_unknown",
        "user_vectors",
    ]
    assert list(response.outputs["user_vectors"].float_val)  # as TF Serving fills it
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (
        "user_tower",
        3,
        "serving_default",
    )


def test_item_tower(prediction, catalogue):
    request = build_request("item_tower", {"item_ids": np.array(["i3", "zebra"])})
    response = prediction.Predict(request, timeout=30)
    vectors = to_numpy(response.outputs["item_vectors"])
    np.testing.assert_array_equal(vectors[0], catalogue.item_vectors[3])
    assert to_numpy(response.outputs["is_known"]).tolist() == [True, False]


def test_other_signature_and_output_filter(prediction, catalogue):
    import tensorflow as tf

    ids = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"i3", b"i7"]))
    example = tf.train.Example(features=tf.train.Features(feature={"history_item_ids": ids}))
    request = build_request(
        inputs={"examples": np.array([example.SerializeToString()], object)},
        signature="serving_tf_example",
        output_filter=["user_vectors"],
    )
    response = prediction.Predict(request, timeout=30)
    assert list(response.outputs) == ["user_vectors"]
    np.testing.assert_allclose(
        to_numpy(response.outputs["user_vectors"])[0],
        catalogue.user_vectors(["i3", "i7"]),
        rtol=1e-6,
    )
    assert response.model_spec.signature_name == "serving_tf_example"


@pytest.mark.parametrize("spec", [{"version": 3}, {"label": "stable"}])
def test_version_and_label_give_the_effective_version(prediction, spec):
    response = prediction.Predict(build_request(**spec), timeout=30)
    assert response.model_spec.version.value == 3
    assert response.model_spec.WhichOneof("version_choice") == "version"


def test_model_spec_errors(prediction):
    predict = prediction.Predict
    assert error_of(predict, predict_pb2.PredictRequest()) == (INVALID, "Missing ModelSpec")
    assert error_of(predict, build_request("")) == (INVALID, "ModelSpec has no name specified.")
    assert error_of(predict, build_request("nobody")) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Latest(nobody)",
    )
    assert error_of(predict, build_request(version=4)) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Specific(user_tower, 4)",
    )
    assert error_of(predict, build_request(label="canary")) == (
        INVALID,
        "Unrecognized servable version label: canary",
    )
    assert error_of(predict, build_request(signature="nope")) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        'Serving signature key "nope" not found.',
    )


def test_input_errors(prediction):
    predict = prediction.Predict
    assert error_of(predict, build_request(inputs={})) == (
        INVALID,
        "input size does not match signature: 0!=1 len({}) != len({history_item_ids}). "
        "Sent extra: {}. Missing but required: {history_item_ids}.",
    )
    assert error_of(predict, build_request(inputs={"history": np.array([["a"]])})) == (
        INVALID,
        "input size does not match signature: 1!=1 len({history}) != len({history_item_ids}). "
        "Sent extra: {history}. Missing but required: {history_item_ids}.",
    )
    code, details = error_of(predict, build_request(inputs={"history_item_ids": np.array([[1]])}))
    assert code == INVALID
    assert "Expects arg[0] to be string but int64 is provided" in details
    code, details = error_of(predict, build_request(inputs={"history_item_ids": np.array(["a"])}))
    assert code == INVALID
    code, details = error_of(predict, build_request(output_filter=["nope"]))
    assert code == INVALID
    assert details.startswith("output tensor alias not found in signature: nope")
    assert error_of(predict, build_request(output_filter=["num_known", "num_known"])) == (
        INVALID,
        "duplicate output tensor alias: num_known",
    )


def test_tensors_that_lie(prediction):
    request = build_request()
    request.inputs["history_item_ids"].tensor_shape.dim[0].size = 1 << 40
    code, details = error_of(prediction.Predict, request)
    assert code == INVALID
    assert details.startswith("tensor parsing error: history_item_ids")
    request.inputs["history_item_ids"].dtype = types_pb2.DT_RESOURCE
    assert error_of(prediction.Predict, request)[0] == INVALID


def test_methods_that_are_not_offered(prediction):
    for method, request in (
        (prediction.Classify, classification_pb2.ClassificationRequest()),
        (prediction.Regress, regression_pb2.RegressionRequest()),
        (prediction.MultiInference, inference_pb2.MultiInferenceRequest()),
    ):
        assert error_of(method, request)[0] == grpc.StatusCode.UNIMPLEMENTED


# The model `recall`


def _recalled(response, row=0):
    ids = to_numpy(response.outputs["item_ids"])[row]
    interests = to_numpy(response.outputs["interests"])[row]
    return [(i.decode(), k) for i, k in zip(ids, interests.tolist(), strict=True) if i]


def test_recall_with_defaults(prediction, catalogue):
    history = ["i3", "i7"]
    request = build_request("recall", {"history_item_ids": pad_strings([history])})
    response = prediction.Predict(request, timeout=30)
    expected = catalogue.expected(history, 20, removed=history)
    assert _recalled(response) == expected
    scores = to_numpy(response.outputs["scores"])[0]
    rows = [catalogue.row_of(item) for item, _ in expected]
    best = (catalogue.user_vectors(history) @ catalogue.item_vectors.T).max(axis=0)
    np.testing.assert_allclose(scores, best[rows], rtol=1e-5)
    assert to_numpy(response.outputs["index_version"]).tolist() == [3]
    assert to_numpy(response.outputs["model_version"]).tolist() == [3]
    assert to_numpy(response.outputs["num_known"]).tolist() == [2]


def test_recall_batch_with_every_input(prediction, catalogue):
    histories = [["i3", "i7", "zebra"], ["i1"], []]
    request = build_request(
        "recall",
        {
            "history_item_ids": pad_strings(histories),
            "k": np.array([5, 2, 3], np.int32),
            "exclude_item_ids": pad_strings([["i0", "i5"]]),
            "include_seen": np.array(True),
        },
    )
    response = prediction.Predict(request, timeout=30)
    assert to_numpy(response.outputs["item_ids"]).shape == (3, 5)
    removed = ["i0", "i5"]
    assert _recalled(response, 0) == catalogue.expected(histories[0], 5, removed)
    assert _recalled(response, 1) == catalogue.expected(histories[1], 2, removed)
    assert _recalled(response, 2) == [("i1", -1), ("i2", -1), ("i3", -1)]
    assert to_numpy(response.outputs["is_fallback"]).tolist() == [False, False, True]
    assert to_numpy(response.outputs["num_unknown"]).tolist() == [1, 0, 0]
    assert to_numpy(response.outputs["interests"])[1, 2:].tolist() == [-1] * 3
    assert to_numpy(response.outputs["scores"])[1, 2:].tolist() == [0.0] * 3


@pytest.mark.parametrize("k", [np.array(7, np.int32), np.array([7], np.int32)])
def test_k_as_scalar_or_list(prediction, k):
    inputs = {"history_item_ids": pad_strings([["i3"], ["i4"]]), "k": k}
    response = prediction.Predict(build_request("recall", inputs), timeout=30)
    assert to_numpy(response.outputs["item_ids"]).shape == (2, 7)


def test_recall_of_an_empty_batch(prediction):
    inputs = {"history_item_ids": np.empty((0, 0), object)}
    response = prediction.Predict(build_request("recall", inputs), timeout=30)
    assert to_numpy(response.outputs["item_ids"]).shape == (0, 0)


def test_recall_input_errors(prediction):
    history = {"history_item_ids": pad_strings([["i3"], ["i4"]])}
    for inputs, text in (
        ({"k": np.array(0, np.int32)}, "`k` must be in [1, 1000], received 0"),
        ({"k": np.array(1001, np.int32)}, "received 1001"),
        ({"k": np.array([1, 2, 3], np.int32)}, "one for each of the 2 rows"),
        ({"k": np.array(5, np.int64)}, "to be int32 but int64 is provided"),
        ({"exclude_item_ids": pad_strings([["a"]] * 3)}, "exclude_item_ids has 3 rows"),
        ({"history_item_ids": np.array([[b"\xff"]], object)}, "not valid UTF-8"),
        ({"history_item_ids": pad_strings([["i3"]] * 513)}, "must be at most 512, received 513"),
        ({"history_item_ids": pad_strings([["i3"] * 10_001])}, "at most 10000, received 10001"),
    ):
        code, details = error_of(prediction.Predict, build_request("recall", {**history, **inputs}))
        assert code == INVALID
        assert text in details
    code, details = error_of(prediction.Predict, build_request("recall", {}))
    assert "Missing but required: {history_item_ids}." in details


def test_ready_vectors_one_row_of_filters_for_all(prediction, catalogue):
    vectors = np.random.default_rng(2).normal(size=(2, 3, 4)).astype(np.float32)
    inputs = {
        "user_vectors": vectors,
        "k": np.array([3, 4], np.int32),
        "categories": pad_strings([["by1", "by3"]]),
        "interest_weights": np.array([[1, 1, 0], [0, 1, 1]], np.float32),
    }
    request = build_request("recall", inputs)
    request.model_spec.signature_name = "user_vectors"
    response = prediction.Predict(request, timeout=30)
    scores = vectors @ catalogue.item_vectors.T
    scores[0, 2] = scores[1, 0] = -np.inf
    scores[:, :, ::2] = -np.inf  # Items of "by0" and "by2".
    for row, k in enumerate((3, 4)):
        order = np.argsort(-scores[row].max(axis=0))[:k]
        expected = [(f"i{item}", int(scores[row, :, item].argmax())) for item in order]
        assert _recalled(response, row) == expected
    assert response.model_spec.signature_name == "user_vectors"
    assert to_numpy(response.outputs["coverage"]).tolist() == [1.0, 1.0]
    assert to_numpy(response.outputs["degraded"]).tolist() == [False, False]


def test_similar_items_per_row_choices(prediction, catalogue):
    inputs = {
        "similar_to_item_ids": pad_strings([["i3"], ["i5", "i6"]]),
        "k": np.array(6, np.int32),
        "merge": np.array(["max_score", "quota"], object),
        "max_per_category": np.array([1, 0], np.int32),
    }
    request = build_request("recall", inputs)
    request.model_spec.signature_name = "similar_items"
    response = prediction.Predict(request, timeout=30)
    assert sorted(int(item[1:]) % 4 for item, _ in _recalled(response, 0)) == [0, 1, 2, 3]
    assert [interest for _, interest in _recalled(response, 1)].count(0) == 3
    first = np.argsort(-(catalogue.item_vectors @ catalogue.item_vectors[3]))[1]
    assert _recalled(response, 0)[0] == (f"i{first}", 0)


def test_errors_of_the_other_signatures(prediction):
    vectors = {"user_vectors": np.ones((1, 2, 4), np.float32)}
    for signature, inputs, text in (
        ("user_vectors", {}, "Missing but required: {user_vectors}."),
        ("similar_items", {}, "Missing but required: {similar_to_item_ids}."),
        ("user_vectors", {"user_vectors": np.ones((1, 2, 3), np.float32)}, "must have 4 columns"),
        ("user_vectors", {"user_vectors": np.ones((1, 4), np.float32)}, "asks for [-1, -1, -1]"),
        ("user_vectors", {"user_vectors": np.ones((1, 65, 4), np.float32)}, "must be at most 64"),
        ("user_vectors", {"user_vectors": np.ones((1, 0, 4), np.float32)}, "[num_interests, dim]"),
        ("user_vectors", {**vectors, "include_seen": np.array(True)}, "Sent extra: {include_seen}"),
        ("user_vectors", {**vectors, "merge": np.array("best", object)}, "`merge` must be one of"),
        ("user_vectors", {**vectors, "merge": np.array(b"\xff", object)}, "not valid UTF-8"),
        (
            "user_vectors",
            {**vectors, "max_per_category": np.array(-1, np.int32)},
            "`max_per_category` must be in [1, 1000], received -1",
        ),
        (
            "similar_items",
            {"similar_to_item_ids": pad_strings([["i1"] * 65])},
            "length of `similar_to` must be at most 64, received 65",
        ),
    ):
        request = build_request("recall", inputs)
        request.model_spec.signature_name = signature
        code, details = error_of(prediction.Predict, request)
        assert (code, text in details) == (INVALID, True), details


# Metadata and status


def _metadata(prediction, name, fields=("signature_def",), **spec):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    return prediction.GetModelMetadata(set_spec(request, name, **spec), timeout=30)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("user_tower", ["history_item_ids"]),
        ("item_tower", ["item_ids"]),
        (
            "recall",
            [
                "allow_item_ids",
                "boosts",
                "categories",
                "context",
                "deny_item_ids",
                "diversity_weight",
                "exact",
                "exclude_categories",
                "exclude_item_ids",
                "history_item_ids",
                "include_seen",
                "interest_weights",
                "k",
                "leaves_to_search",
                "max_per_category",
                "merge",
                "reorder",
                "where",
                "with_interests",
                "with_metadata",
            ],
        ),
    ],
)
def test_metadata(prediction, name, inputs):
    response = _metadata(prediction, name)
    assert (response.model_spec.name, response.model_spec.version.value) == (name, 3)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert sorted(signatures.signature_def["serving_default"].inputs) == inputs


def test_metadata_errors(prediction):
    def error(request):
        return error_of(prediction.GetModelMetadata, request)

    request = get_model_metadata_pb2.GetModelMetadataRequest
    assert error(request()) == (INVALID, "Missing ModelSpec")
    assert error(set_spec(request(), "recall")) == (
        INVALID,
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    assert error(set_spec(request(metadata_field=["weights"]), "recall")) == (
        INVALID,
        "Metadata field weights is not supported",
    )
    assert error(set_spec(request(metadata_field=["signature_def"]), "nobody"))[0] == (
        grpc.StatusCode.NOT_FOUND
    )


def test_status(models):
    request = get_model_status_pb2.GetModelStatusRequest
    for spec in ({}, {"version": 3}, {"label": "stable"}):
        response = models.GetModelStatus(set_spec(request(), "user_tower", **spec), timeout=30)
        (status,) = response.model_version_status
        assert (status.version, status.state, status.status.error_code) == (3, 30, 0)
    assert error_of(models.GetModelStatus, request()) == (INVALID, "Missing ModelSpec")
    assert error_of(models.GetModelStatus, set_spec(request(), "nobody")) == (
        grpc.StatusCode.NOT_FOUND,
        "Could not find any versions of model nobody",
    )
    assert error_of(models.GetModelStatus, set_spec(request(), "recall", version=9)) == (
        grpc.StatusCode.NOT_FOUND,
        "Could not find version 9 of model recall",
    )
