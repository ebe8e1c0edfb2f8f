"""The client against a running server, and against addresses where none answers."""

import contextlib
import dataclasses
import socket
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.release import manifest

ONE = RecallRequest(("i3",))


@pytest.fixture(params=["grpc", "http"])
def address(request, recall_server):
    """Either door of the same server."""
    if request.param == "grpc":
        return recall_server.grpc_address
    return f"http://{recall_server.http_address}"


@contextlib.contextmanager
def listener(answer: bytes):
    """The address of a server that gives the same bytes to every client."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_query(address, catalogue):
    request = RecallRequest(("i3", "zebra", "i7"), k=6, exclude=("i0",))
    response = client.query(address, request)
    expected = catalogue.expected(["i3", "i7"], 6, removed=["i3", "i7", "i0"])
    assert [(item.item_id, item.interest) for item in response.items] == expected
    best = (catalogue.user_vectors(["i3", "i7"]) @ catalogue.item_vectors.T).max(axis=0)
    rows = [catalogue.row_of(item) for item, _ in expected]
    np.testing.assert_allclose([item.score for item in response.items], best[rows], rtol=1e-5)
    assert tuple(response.facts().values()) == (False, 2, 1, 3, 3, False, 1.0)


def test_a_proxy_of_the_environment_is_not_asked(address, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # Nobody listens there.
    assert len(client.query(address, RecallRequest(("i7",), k=4)).items) == 4


def test_seen_items_and_fallback(address):
    seen = client.query(address, RecallRequest(("i3",), k=1, include_seen=True))
    assert [item.item_id for item in seen.items] == ["i3"]
    fallback = client.query(address, RecallRequest(k=2))
    assert fallback.is_fallback
    assert [(i.item_id, i.score, i.interest) for i in fallback.items] == [
        ("i0", 0.0, -1),
        ("i1", 0.0, -1),
    ]


def _vectors(rows):
    return np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)


@pytest.mark.parametrize(
    "fields",
    [
        {"similar_to": ("i3", "zebra", "i9"), "k": 5},
        {"user_vectors": _vectors(3), "k": 5},
        {"history": ("i3", "i9"), "categories": ("by1", "by2"), "k": 4},
        {"history": ("i3", "i9"), "exclude_categories": ("by1", "by2"), "k": 4},
        {"history": ("i3", "i9"), "allow": ("i1", "i3", "i5"), "deny": ("i5",)},
        {"history": ("i3", "i9"), "max_per_category": 2, "k": 30},
        {"history": ("i3", "i9"), "interest_weights": (0.25, 3.0), "k": 6},
        {"history": ("i3", "i9"), "interest_weights": (1.0, 2.0), "merge": "quota", "k": 6},
        {"history": ("i3", "i9"), "merge": "diversity", "diversity_weight": 9.0, "k": 12},
        {"history": ("i3",), "leaves_to_search": 3, "reorder": 40, "exact": True, "k": 3},
        {"similar_to": ("zebra",), "categories": ("by3",), "k": 3},
        {"similar_to": ("i3", "i9"), "with_metadata": True, "with_interests": True, "k": 4},
        {"history": ("i3",), "with_interests": True, "k": 3},
        {"history": ("i3", "i9"), "categories": ("by1", "By2"), "k": 4},
        {"similar_to": ("i3",), "categories": ("By2",), "exclude_categories": ("x", "by1")},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_every_field_goes_through_both_doors(address, recall_server, fields):
    """The answer is that of the service itself, which other tests compare with brute force."""
    request = RecallRequest(**fields)
    service = recall_server.model_server.find("recall").service
    (expected,) = service.recall([request])
    response = client.query(address, request)
    assert [(i.item_id, i.interest) for i in response.items] == [
        (i.item_id, i.interest) for i in expected.items
    ]
    np.testing.assert_allclose(response.scores, expected.scores, rtol=1e-5)
    assert response.facts() == expected.facts()
    assert response.metadata == expected.metadata
    assert response.interest_weights == expected.interest_weights
    named = (*request.categories, *request.exclude_categories)
    assert response.unknown_categories == tuple(name for name in named if name[:2] != "by")
    if "history" in fields and "exact" not in fields:  # The field was not just left out.
        plain = service.recall([RecallRequest(history=("i3", "i9"), k=request.k)])[0]
        assert [i.item_id for i in plain.items] != [i.item_id for i in expected.items]


def test_fingerprint_of_ready_vectors(address, release_dir):
    right = manifest.read(release_dir / "index" / "3")["fingerprint"]
    request = RecallRequest(user_vectors=_vectors(2), fingerprint=right, k=2)
    assert len(client.query(address, request).items) == 2
    with pytest.raises(InputError, match=f"embedding space other, version 3 .* {right}"):
        client.query(address, dataclasses.replace(request, fingerprint="other"))


def test_refused_request(address):
    with pytest.raises(InputError, match=r"refused the request: `k` must be in \[1, 1000\]"):
        client.query(address, RecallRequest(("i3",), k=0))


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_nobody_listens(scheme):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError, match=f"No recall server answers at {address}") as caught:
            client.query(address, ONE)
    assert "\n" not in str(caught.value)


def test_no_machine_has_the_name():
    name = f"{'a' * 64}.invalid:9"  # Longer than DNS allows: no server of names is asked.
    with pytest.raises(InputError, match=f"No recall server answers at {name}"):
        client.query(name, ONE)


def test_one_door_is_not_the_other(recall_server):
    with pytest.raises(InputError, match=r"give its gRPC port|did not answer"):
        client.query(recall_server.http_address, ONE, timeout_s=5.0)
    with pytest.raises(InputError, match="give its HTTP port"):
        client.query(f"http://{recall_server.grpc_address}", ONE, timeout_s=5.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x00\x06\x04not http",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{",
    ],
)
def test_somebody_else_listens(answer):
    with listener(answer) as address, pytest.raises(InputError, match="No recall server answers"):
        client.query(f"http://{address}", ONE, timeout_s=5)


def test_a_refusal_without_a_reason_in_json():
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with listener(answer) as address, pytest.raises(InputError, match=r"refused .*404 Not Found"):
        client.query(f"http://{address}", ONE, timeout_s=5)


def test_no_answer_in_time_over_grpc():
    released = threading.Event()

    class Slow(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            released.wait(10)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Slow(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(InputError, match=r"did not answer within 0\.2 s"):
            client.query(f"127.0.0.1:{port}", ONE, timeout_s=0.2)
    finally:
        released.set()
        server.stop(0).wait()


def test_no_answer_in_time_over_http():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(InputError, match=r"did not answer within 0\.2 s"):
            client.query(f"http://127.0.0.1:{silent.getsockname()[1]}", ONE, timeout_s=0.2)
        assert time.monotonic() - start < 5
