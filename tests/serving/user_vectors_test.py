"""One contract, both sources: the SavedModel in process, and real gRPC."""

import socket
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from recall.errors import InputError
from serving import manifest
from serving.status import Code, ServingError
from serving.user_vectors import SavedModelUserVectors, TfServingUserVectors, parse_outputs


@pytest.fixture(scope="module", params=["saved_model", "tf_serving"])
def source(request, release_dir, recall_server):
    if request.param == "saved_model":
        yield SavedModelUserVectors(release_dir / "user_tower" / "3", version=3)
    else:
        remote = TfServingUserVectors(recall_server.grpc_address, "user_tower")
        yield remote
        remote.close()


def test_vectors_and_counts(source, catalogue, release_dir):
    histories = [("i3", "zebra", "i7"), (), ("i1",), ("yak",), tuple(catalogue.item_ids)]
    vectors = source.compute(histories)
    assert vectors.user_vectors.shape == (5, 2, 4)
    assert vectors.interest_weights.tolist() == [[0.5, 0.5]] * 5
    for row in (0, 2, 4):
        np.testing.assert_allclose(
            vectors.user_vectors[row], catalogue.user_vectors(histories[row]), rtol=1e-6
        )
    assert vectors.num_known.tolist() == [2, 0, 1, 0, 40]
    assert vectors.num_unknown.tolist() == [1, 0, 0, 1, 0]
    assert vectors.model_version == 3
    sealed = manifest.read(release_dir / "user_tower" / "3")
    assert vectors.fingerprint == sealed["fingerprint"]


def test_one_empty_history(source):
    vectors = source.compute([()])
    assert vectors.num_known.tolist() == [0]
    assert vectors.user_vectors.shape == (1, 2, 4)


def test_many_threads(source, catalogue):
    histories = [(f"i{row}",) for row in range(30)]
    with futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda history: source.compute([history]), histories))
    for history, answer in zip(histories, answers, strict=True):
        np.testing.assert_allclose(
            answer.user_vectors[0], catalogue.user_vectors(history), rtol=1e-6
        )


def test_folder_without_a_user_tower(tmp_path):
    with pytest.raises(InputError, match="holds no SavedModel"):
        SavedModelUserVectors(tmp_path)


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        source = TfServingUserVectors(address)
        with pytest.raises(ServingError, match=address) as caught:
            source.compute([("a",)], timeout_s=5.0)
        source.close()
    assert caught.value.code == Code.UNAVAILABLE


def test_unknown_model(recall_server):
    source = TfServingUserVectors(recall_server.grpc_address, "nobody")
    with pytest.raises(ServingError, match=r"Latest\(nobody\)") as caught:
        source.compute([("a",)])
    source.close()
    assert caught.value.code == Code.NOT_FOUND


class _SlowServer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers when it is told to; remembers how long the client would wait."""

    def __init__(self):
        self.time_left_s = None
        self.released = threading.Event()

    def Predict(self, request, context):
        self.time_left_s = context.time_remaining()
        self.released.wait(10)
        return predict_pb2.PredictResponse()


def test_deadline_is_passed_on():
    slow = _SlowServer()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(slow, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    source = TfServingUserVectors(f"127.0.0.1:{port}")
    try:
        with pytest.raises(ServingError) as caught:
            source.compute([("a",)], timeout_s=0.3)
        assert caught.value.code == Code.DEADLINE_EXCEEDED
        assert 0 < slow.time_left_s <= 0.3
    finally:
        slow.released.set()
        source.close()
        server.stop(0).wait()


def _outputs(**changes):
    outputs = {
        "user_vectors": np.zeros((1, 2, 4), np.float32),
        "interest_weights": np.zeros((1, 2), np.float32),
        "num_known": np.array([1]),
        "num_unknown": np.array([0]),
        "fingerprint": np.array([b"f"], object),
    }
    return {name: value for name, value in {**outputs, **changes}.items() if value is not None}


def test_outputs_that_are_not_a_user_tower():
    assert parse_outputs(_outputs(), 1, 2).fingerprint == "f"
    with pytest.raises(ServingError, match="no output `num_known`"):
        parse_outputs(_outputs(num_known=None), 1, 2)
    with pytest.raises(ServingError, match="shapes"):
        parse_outputs(_outputs(num_known=np.array(1)), 1, 2)
    with pytest.raises(ServingError, match="shapes"):
        parse_outputs(_outputs(), 2, 2)
    with pytest.raises(ServingError, match="shapes"):
        parse_outputs(_outputs(user_vectors=np.zeros((1, 4), np.float32)), 1, 2)
