"""The example of TensorFlow Serving's documents: x / 2 + 2, with the shape [-1, 1]."""

import json

import pytest
import tensorflow as tf

from serving.models.model_server import ModelServer
from serving.models.saved_model import SavedModelServable
from tests.serving.http_peer import Door


class HalfPlusTwo(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def run(self, x):
        return {"y": x / 2 + 2}


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half_plus_two")
    module = HalfPlusTwo()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.run})
    models = ModelServer()
    models.announce("half_plus_two", 123)
    models.load("half_plus_two", 123, lambda: SavedModelServable("half_plus_two", 123, folder))
    made = Door(models=models)
    yield made
    made.stop()


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
def test_its_answers(door, body, answer):
    status, _, text = door.ask(
        "POST", "/v1/models/half_plus_two:predict", json.dumps(body).encode()
    )
    assert (status, json.loads(text)) == (200, answer)


@pytest.mark.parametrize(
    "body", [{"instances": [[1.0, 2.0]]}, {"inputs": 1.0}, {"instances": ["1"]}]
)
def test_what_fits_no_shape(door, body):
    path = "/v1/models/half_plus_two:predict"
    assert door.ask("POST", path, json.dumps(body).encode())[0] == 400


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_verbs_for_examples(door, verb):
    path, body = f"/v1/models/half_plus_two:{verb}", b'{"examples": [{"x": 1.0}]}'
    status, _, text = door.ask("POST", path, body)
    assert status == 501
    assert f"tensorflow/serving/{verb}" in json.loads(text)["error"]
