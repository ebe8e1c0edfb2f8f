"""The example of TensorFlow Serving's documents: x / 2 + 2, with the shape [-1, 1]."""

import json

import pytest
import tensorflow as tf

from serving.doors.backend import Backend
from serving.http_door.api import HttpApi
from serving.models.model_server import ModelServer
from serving.models.saved_model import SavedModelServable


class HalfPlusTwo(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def run(self, x):
        return {"y": x / 2 + 2}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half_plus_two")
    module = HalfPlusTwo()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.run})
    models = ModelServer()
    models.announce("half_plus_two", 123)
    models.load("half_plus_two", 123, lambda: SavedModelServable("half_plus_two", 123, folder))
    return HttpApi(Backend(models))


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.5, 3.0, 4.5]}),
        ({"instances": [[1.0], [2.0]]}, {"predictions": [[2.5], [3.0]]}),
        ({"instances": [{"x": 1.0}, {"x": 5.0}]}, {"predictions": [2.5, 4.5]}),
        ({"inputs": [1.0, 2.0]}, {"outputs": [2.5, 3.0]}),
        ({"inputs": {"x": [[1.0]]}}, {"outputs": [[2.5]]}),
    ],
)
def test_its_answers(api, body, answer):
    response = api("POST", "/v1/models/half_plus_two:predict", json.dumps(body).encode())
    assert (response.status, json.loads(response.body)) == (200, answer)


@pytest.mark.parametrize(
    "body", [{"instances": [[1.0, 2.0]]}, {"inputs": 1.0}, {"instances": ["1"]}]
)
def test_what_fits_no_shape(api, body):
    response = api("POST", "/v1/models/half_plus_two:predict", json.dumps(body).encode())
    assert response.status == 400


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_verbs_for_examples(api, verb):
    response = api("POST", f"/v1/models/half_plus_two:{verb}", b'{"examples": [{"x": 1.0}]}')
    assert response.status == 501
    assert f"tensorflow/serving/{verb}" in json.loads(response.body)["error"]
