"""One contract, both sources: the SavedModel in process, and real gRPC."""

import contextlib
import socket
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from recall.errors import InputError
from serving.network.client_tls import ClientTls
from serving.network.tls import TlsFiles
from serving.protocol.status import Code, ServingError
from serving.protocol.tensors import fill_proto
from serving.release import manifest
from serving.retrieval.user_vectors import parse_user_vectors
from serving.servables import remote_model
from serving.servables.towers import SavedModelUserVectors, TfServingUserVectors


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


class _Tower(prediction_service_pb2_grpc.PredictionServiceServicer):
    """A real gRPC server of one vector that first answers as it is told."""

    def __init__(self, *, errors=(), delay_s=0.0, credentials=None, port=0):
        self.errors = list(errors)
        self.delay_s = delay_s
        self.times_left_s, self.peers = [], set()
        self.released = threading.Event()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)]
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self.address = f"127.0.0.1:{self.port}"

    def Predict(self, request, context):
        self.times_left_s.append(context.time_remaining())
        self.peers.add(context.peer())
        self.released.wait(self.delay_s)
        if self.errors:
            context.abort(self.errors.pop(0), "not now")
        response = predict_pb2.PredictResponse()
        response.model_spec.version.value = 7
        for name, array in _outputs().items():
            fill_proto(response.outputs[name], array)
        return response

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self._server.stop(0).wait()


@pytest.fixture
def connect():
    """Makes sources that are closed at the end."""
    sources = []

    def make(address, **arguments):
        sources.append(TfServingUserVectors(address, **arguments))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def test_deadline_is_passed_on(connect):
    with _Tower(delay_s=10) as tower:
        with pytest.raises(ServingError) as caught:
            connect(tower.address).compute([("a",)], timeout_s=0.3)
        assert caught.value.code == Code.DEADLINE_EXCEEDED
        (time_left_s,) = tower.times_left_s
        assert 0 < time_left_s < 0.4


def test_without_a_deadline_there_is_one_all_the_same(connect):
    with _Tower() as tower:
        connect(tower.address).compute([("a",)])
        assert 4 < tower.times_left_s[0] < 5.1


def test_unavailable_is_tried_again_in_the_time_left(connect, monkeypatch):
    # Long pauses: gRPC rounds the deadlines it sends.
    monkeypatch.setattr(remote_model, "_PAUSES_S", (0.4, 0.4))
    with _Tower(errors=[grpc.StatusCode.UNAVAILABLE] * 2) as tower:
        vectors = connect(tower.address).compute([("a",)], timeout_s=5.0)
        assert (vectors.fingerprint, vectors.model_version) == ("f", 7)
        first, second, third = tower.times_left_s
        assert 5.1 > first > second > third > 0
        assert third < 5.0 - 2 * 0.2 + 0.1
        assert len(tower.peers) == 1  # All on one connection.


def test_tries_are_bounded(connect):
    with _Tower(errors=[grpc.StatusCode.UNAVAILABLE] * 9) as tower:
        with pytest.raises(ServingError, match="not now") as caught:
            connect(tower.address).compute([("a",)], timeout_s=30.0)
        assert caught.value.code == Code.UNAVAILABLE
        assert len(tower.times_left_s) == 4


def test_no_pause_longer_than_the_time_left(connect):
    with _Tower(errors=[grpc.StatusCode.UNAVAILABLE] * 9) as tower:
        source = connect(tower.address)
        start_s = time.monotonic()
        with pytest.raises(ServingError) as caught:
            source.compute([("a",)], timeout_s=0.02)
        assert time.monotonic() - start_s < 0.3
        assert caught.value.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)
        assert len(tower.times_left_s) <= 1


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL"])
def test_other_errors_are_not_tried_again(connect, code):
    with _Tower(errors=[grpc.StatusCode[code]]) as tower:
        with pytest.raises(ServingError, match="not now") as caught:
            connect(tower.address).compute([("a",)], timeout_s=5.0)
        assert caught.value.code == Code[code]
        assert len(tower.times_left_s) == 1


def test_server_that_restarts_is_found_again(connect):
    with _Tower() as tower:
        source = connect(tower.address)
        source.compute([("a",)])
    with pytest.raises(ServingError) as caught:
        source.compute([("a",)], timeout_s=0.5)
    assert caught.value.code == Code.UNAVAILABLE
    with _Tower(port=tower.port):
        # A request may come while gRPC still waits to connect again, at most 1 s.
        deadline_s, versions = time.monotonic() + 10.0, []
        while not versions and time.monotonic() < deadline_s:
            with contextlib.suppress(ServingError):
                versions.append(source.compute([("a",)], timeout_s=1.0).model_version)
        assert versions == [7]


def test_tls(connect, certificates):
    server = TlsFiles(certificates / "server.pem", certificates / "server.key").open()
    with _Tower(credentials=server.grpc_credentials()) as tower:
        trusted = ClientTls(certificates / "ca.pem")
        assert connect(tower.address, tls=trusted).compute([("a",)]).model_version == 7
        stranger = ClientTls(certificates / "other_ca.pem", flag_prefix="tf_serving_")
        with pytest.raises(ServingError, match="--tf_serving_tls_server_ca") as caught:
            connect(tower.address, tls=stranger).compute([("a",)], timeout_s=1.0)
        assert caught.value.code == Code.UNAVAILABLE
        assert len(tower.times_left_s) == 1


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
    assert parse_user_vectors(_outputs(), 1, 2).fingerprint == "f"
    with pytest.raises(ServingError, match="no output `num_known`"):
        parse_user_vectors(_outputs(num_known=None), 1, 2)
    with pytest.raises(ServingError, match="shapes"):
        parse_user_vectors(_outputs(num_known=np.array(1)), 1, 2)
    with pytest.raises(ServingError, match="shapes"):
        parse_user_vectors(_outputs(), 2, 2)
    with pytest.raises(ServingError, match="shapes"):
        parse_user_vectors(_outputs(user_vectors=np.zeros((1, 4), np.float32)), 1, 2)
