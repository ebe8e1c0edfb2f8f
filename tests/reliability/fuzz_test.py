"""Requests of any kind: refused as the client's fault, never a crash and never a 5xx."""

import contextlib
import http.client
import json
import random
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from serving.api import recall_tensors
from serving.api.recall_request import RecallRequest
from serving.grpc_door.api import GrpcCall, build_methods, status_of
from serving.protocol import tensors
from serving.protocol.call import Call
from serving.server import RecallServer
from tests.reliability.tally import scaled
from tests.serving.server_process import build_message

pytestmark = pytest.mark.reliability

STRUCTURED_REST = 15_000
STRUCTURED_GRPC = 15_000
MUTATED = 30_000
"""Of each door: valid requests with bytes changed, cut out or repeated."""
SOCKET = 5_000
"""Mutated requests of each door that go over a real connection to another process."""

MODELS = ["user_tower", "item_tower", "recall", "items", "nobody", ""]
REST_PATHS = [
    "/recall",
    "/items:upsert",
    "/items:delete",
    "/items",
    "/v1/models/user_tower:predict",
    "/v1/models/item_tower:predict",
    "/v1/models/recall:predict",
    "/v1/models/items:predict",
    "/v1/models/recall/versions/3:predict",
    "/v1/models/recall/labels/x:predict",
    "/v1/models/nobody:classify",
    "/v1/models/../x",
]
REST_KEYS = [
    *("instances", "inputs", "signature_name", "b64", "history", "k", "exclude", "allow"),
    *("deny", "categories", "user_vectors", "similar_to", "merge", "interest_weights", "exact"),
    *("ids", "items", "id", "vector", "title", "requests", "max_per_category"),
]
GRPC_KEYS = [
    *("history_item_ids", "k", "exclude_item_ids", "item_ids", "user_vectors", "x", "merge"),
    *("similar_to_item_ids", "allow_item_ids", "categories", "interest_weights", "examples"),
]
SIGNATURES = ["", "serving_default", "serving_tf_example", "user_vectors", "similar_items", "none"]
SIGNATURES += ["delete", "status"]

ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
}
"""What is the client's fault. `UNIMPLEMENTED` is 501 over REST: TF Serving's table."""


def _examples(full: int):
    return settings(
        max_examples=scaled(full, at_least=50),
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


_SIZES = st.sampled_from([-(1 << 62), -1, 0, 1, 2, 3, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1])
_TENSORS = st.builds(
    lambda dtype, sizes, content, strings, numbers, unknown: tensor_pb2.TensorProto(
        dtype=dtype,
        tensor_shape={"dim": [{"size": size} for size in sizes], "unknown_rank": unknown},
        tensor_content=content,
        string_val=strings,
        int_val=numbers,
    ),
    st.sampled_from([0, 1, 3, 7, 9, 10, 14, 19, 20, 22, 30, 101]),
    st.lists(_SIZES, max_size=4),
    st.binary(max_size=12),
    st.lists(st.sampled_from([b"", b"i3", b"\xff", b"\0", b"i7"]), max_size=3),
    st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=3),
    st.booleans(),
)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["i3", "i7", 5, {"b64": "aTM="}, {"b64": "?"}, "NaN", 1 << 70])
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(REST_KEYS) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_BODIES = st.binary(max_size=30) | st.dictionaries(
    st.sampled_from(REST_KEYS), _JSON, max_size=4
).map(lambda document: json.dumps(document).encode())


@pytest.fixture
def server(release_folder):
    """A server of this process, whose gRPC door is called without a socket."""
    with RecallServer(release_folder.path, grpc_port=0, http_port=0, poll_s=0) as server:
        yield server


def _rest_outcome(server, path: str, body: bytes) -> int:
    connection = http.client.HTTPConnection(server.http_address, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status


def _is_clients_fault(status: int) -> bool:
    return status < 500 or status == 501


def _grpc_outcome(server, content: bytes) -> grpc.StatusCode:
    """The code of a Predict call with a message of these bytes."""
    predict = next(m for m in build_methods(server._backend) if m.name == "Predict")
    try:
        predict.answer(content, GrpcCall(Call(30.0)))
    except Exception as error:
        return grpc.StatusCode[status_of(error).code.name]
    return grpc.StatusCode.OK


def _answers_still(server) -> bool:
    """Whether a good request is answered at both doors."""
    body = b'{"history": ["i3"], "k": 2}'
    content = _valid_messages()[0].SerializeToString()
    return (
        _rest_outcome(server, "/recall", body) == 200
        and _grpc_outcome(server, content) == grpc.StatusCode.OK
    )


def test_structured_bodies(server, tally):
    tally.start(14, "REST bodies made from the API's own keys", 0)

    @_examples(STRUCTURED_REST)
    @given(st.sampled_from(REST_PATHS), _BODIES)
    def ask(path, body):
        tally.wanted += 1
        status = _rest_outcome(server, path, body)
        tally.count(_is_clients_fault(status), (status, path, body))

    ask()
    assert _answers_still(server)


def test_structured_tensors(server, tally):
    tally.start(14, "tensors that lie about type, shape and content", 0)

    @_examples(STRUCTURED_GRPC)
    @given(
        st.sampled_from(MODELS),
        st.sampled_from(SIGNATURES),
        st.dictionaries(st.sampled_from(GRPC_KEYS), _TENSORS, max_size=3),
    )
    def ask(name, signature, inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, signature
        for key, tensor in inputs.items():
            request.inputs[key].CopyFrom(tensor)
        tally.wanted += 1
        code = _grpc_outcome(server, request.SerializeToString())
        tally.count(code in ALLOWED, (code, request))

    ask()
    assert _answers_still(server)


def _valid_messages() -> list[predict_pb2.PredictRequest]:
    """One good request of every kind."""
    messages = [
        build_message("recall", *recall_tensors.build_recall_inputs(request))
        for request in (
            RecallRequest(("i3", "i7"), k=5, exclude=("i1",)),
            RecallRequest(similar_to=("i3",), k=5),
            RecallRequest(("i2",), k=5, categories=("by1",), merge="quota"),
        )
    ]
    history = {"history_item_ids": tensors.pad_strings([["i3"], ["i5", "i6"]])}
    return [*messages, build_message("user_tower", "", history)]


def _valid_bodies() -> list[tuple[str, bytes]]:
    documents = [
        ("/recall", {"history": ["i3", "i7"], "k": 5, "exclude": ["i1"]}),
        ("/recall", {"similar_to": ["i3"], "k": 5, "categories": ["by1"], "merge": "quota"}),
        ("/v1/models/user_tower:predict", {"instances": [["i3"], ["i5"]]}),
        ("/v1/models/user_tower:predict", {"inputs": {"history_item_ids": [["i3", "i4"]]}}),
        ("/items:upsert", {"items": [{"id": "new", "vector": [1, 2, 3, 4], "title": "New"}]}),
    ]
    return [(path, json.dumps(document).encode()) for path, document in documents]


def _mutate(content: bytes, choose: random.Random) -> bytes:
    """Changes, removes or repeats a few bytes."""
    mutated = bytearray(content)
    for _ in range(choose.randint(1, 4)):
        place = choose.randrange(len(mutated) + 1)
        length = choose.randint(1, 8)
        kind = choose.randrange(4)
        if kind == 0 and place < len(mutated):
            mutated[place] = choose.randrange(256)
        elif kind == 1:
            del mutated[place : place + length]
        elif kind == 2:
            mutated[place:place] = mutated[place : place + length]
        else:
            mutated[place:place] = choose.choice(
                [b"\0", b"[" * 9, b"1e999", b"\xff\xff", b'"', b"-"]
            )
    return bytes(mutated)


def _mutated_bodies(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    choose, valid = random.Random(seed), _valid_bodies()
    for _ in range(count):
        path, body = choose.choice(valid)
        yield path, _mutate(body, choose)


def _mutate_tensor(request: predict_pb2.PredictRequest, choose: random.Random) -> None:
    """Changes one thing about an input; the whole remains a message."""
    tensor = request.inputs[choose.choice(list(request.inputs))]
    kind = choose.randrange(6)
    if kind == 0:
        tensor.dtype = choose.randrange(31)
    elif kind == 1:
        tensor.tensor_content = _mutate(tensor.tensor_content, choose)
    elif kind == 2:
        tensor.string_val.extend([_mutate(value, choose) for value in tensor.string_val])
    elif kind == 3:
        tensor.tensor_shape.dim.add(size=choose.choice([-1, 0, 1, 1 << 40, (1 << 63) - 1]))
    elif kind == 4:
        del tensor.tensor_shape.dim[:]
    else:
        request.inputs[choose.choice(GRPC_KEYS)].CopyFrom(tensor)


def _mutated_messages(count: int, seed: int) -> Iterator[bytes]:
    """One in ten has bytes changed, which nearly always leaves no message."""
    choose, valid = random.Random(seed), _valid_messages()
    for number in range(count):
        request = predict_pb2.PredictRequest()
        request.CopyFrom(choose.choice(valid))
        for _ in range(choose.randint(1, 3)):
            _mutate_tensor(request, choose)
        content = request.SerializeToString()
        yield content if number % 10 else _mutate(content, choose)


def test_mutated_bodies(server, tally):
    count = scaled(MUTATED)
    tally.start(14, "REST bodies with bytes changed", count)
    for path, body in _mutated_bodies(count, 1):
        status = _rest_outcome(server, path, body)
        tally.count(_is_clients_fault(status), (status, path, body))
    assert _answers_still(server)


def test_mutated_messages(server, tally):
    count = scaled(MUTATED)
    tally.start(14, "Predict messages with tensors or bytes changed", count)
    for content in _mutated_messages(count, 2):
        code = _grpc_outcome(server, content)
        tally.count(code in ALLOWED, (code, content))
    assert _answers_still(server)


def test_mutated_requests_over_sockets(release_folder, start_server, tally):
    count = scaled(SOCKET)
    server = start_server(release_folder.path, options={"poll_s": 0})
    tally.start(14, "the same over connections to another process", 2 * count)
    for path, body in _mutated_bodies(count, 3):
        status, document = server.post(path, body)
        tally.count(_is_clients_fault(status) and isinstance(document, dict), (status, path, body))
    with grpc.insecure_channel(server.grpc_address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        for content in _mutated_messages(count, 4):
            error = predict.future(content, timeout=30).exception()
            code = grpc.StatusCode.OK if error is None else error.code()
            tally.count(code in ALLOWED, (code, content))
    assert server.is_running
    with server.open_client() as client:
        assert len(client.recall(RecallRequest(("i3",), k=5)).items) == 5
        assert client.states() == {3: (get_model_status_pb2.ModelVersionStatus.AVAILABLE, "")}


def test_deep_json(release_folder, start_server, tally):
    """CVE-2025-0649: a decoder that calls itself overflows the stack."""
    server = start_server(release_folder.path, options={"poll_s": 0})
    depths = [10**2, 10**3, 10**4, 10**5, 5 * 10**5]
    nests = [
        lambda depth: b"[" * depth + b"]" * depth,
        lambda depth: b"[" * depth,
        lambda depth: b'{"a":' * depth + b"1" + b"}" * depth,
    ]
    paths = ["/recall", "/items:upsert", "/v1/models/user_tower:predict"]
    tally.start(14, "JSON 10^2 to 5 * 10^5 deep", len(depths) * len(nests) * len(paths))
    for depth in depths:
        for nest in nests:
            for path in paths:
                status, _ = server.post(path, b'{"instances": ' + nest(depth) + b"}")
                tally.count(status == 400, (status, depth, path))
    assert server.is_running
