"""What a message says before it is parsed, against protobuf and numpy."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.grpc_door.predict_message import MAX_FIELDS, STRING_BYTES, PredictMessage
from serving.protocol import tensors
from serving.protocol.status import Code, ServingError
from tests.serving.grpc_requests import build_request

MAX_BYTES = 64 << 20


def header_of(proto: tensor_pb2.TensorProto, max_bytes: int = MAX_BYTES):
    request = build_request(inputs={})
    request.inputs["x"].ParseFromString(proto.SerializeToString())
    return PredictMessage(request.SerializeToString()).read_header("x", max_bytes)


ARRAYS = [
    np.zeros((2, 3), np.float32),
    np.array([[b"a", b""]], object),
    np.arange(300, dtype=np.int64),
    np.array(True),
    np.array([1, -1], np.int8),
    np.ones((2, 0, 4), np.float64),
    np.ones(3, np.float16),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
@pytest.mark.parametrize("packed", [False, True])
def test_types_and_shapes_are_those_of_the_array(array, packed):
    packed = packed and array.dtype != object
    header = header_of(tensors.to_proto(array, packed=packed))
    assert header.shape == array.shape
    assert header.dtype == tensors.dtype_of(array)
    if array.dtype != object:
        assert header.memory >= array.nbytes


def test_the_memory_of_strings_is_what_python_takes():
    """A string of bytes has 33 bytes and its characters, its text 49 (`sys.getsizeof`)."""
    header = header_of(tensors.to_proto(np.array([b"abc"] * 10, object)))
    assert header.memory >= 10 * (8 + (33 + 3) + (49 + 3))
    assert header.memory >= 10 * STRING_BYTES


def test_a_shape_alone_counts():
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT)
    proto.tensor_shape.dim.add(size=1 << 20)
    assert header_of(proto).memory >= 4 << 20


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 255))
def test_whatever_it_takes_protobuf_takes_too(noise, at, byte):
    """Bytes of a real message, one of them changed, or noise: never another error."""
    request = build_request("recall", {"a": ARRAYS[1], "b": ARRAYS[2][:5]}, ["x"], version=3)
    content, codes = bytearray(request.SerializeToString()), {Code.INVALID_ARGUMENT}
    content[at % len(content)] = byte
    for candidate in (bytes(content), noise):
        try:
            message, headers = _read(candidate)
            parsed = message.parse()
        except ServingError as error:
            codes.add(error.code)
            continue
        assert parsed.model_spec == (message.model_spec or parsed.model_spec)
        assert set(headers) == set(parsed.inputs)
        for name, header in headers.items():
            sizes = [dim.size for dim in parsed.inputs[name].tensor_shape.dim]
            assert (header.dtype, list(header.shape)) == (parsed.inputs[name].dtype, sizes)
    assert codes == {Code.INVALID_ARGUMENT}


def _read(content: bytes):
    """A message and the headers of all its inputs."""
    message = PredictMessage(content)
    return message, {name: message.read_header(name, MAX_BYTES) for name in message.names}


def _refusal(content: bytes) -> str:
    with pytest.raises(ServingError) as caught:
        _read(content)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_what_would_grow_while_it_is_parsed_is_refused():
    empty_input = b"\x12\x00"
    assert "sent twice" in _refusal(2 * empty_input)
    assert f"at most {MAX_FIELDS}" in _refusal(b"\x1a\x00" * (MAX_FIELDS + 1))
    spec = b"\x0a\x00"
    assert "ModelSpec is sent once" in _refusal(2 * spec)

    def tensor(content: bytes) -> bytes:
        value = b"\x12" + _varint(len(content)) + content
        entry = b"\x0a\x01x" + value
        return b"\x12" + _varint(len(entry)) + entry

    dimensions = b"\x12\x00" * 1000
    shape = b"\x12" + _varint(len(dimensions)) + dimensions
    assert "too long" in _refusal(tensor(shape))
    assert "sent twice" in _refusal(tensor(b"\x12\x00" * 2))
    for field in (14, 15):  # A resource, a variant: messages inside of messages.
        assert f"the field {field} is not supported" in _refusal(
            tensor(bytes([field << 3 | 2]) + b"\x00")
        )
    strings = b"\x42\x00" * 70_000
    assert "more than the 1 values" in _refusal(tensor(b"\x08\x07\x12\x00" + strings))
    assert "more than the 65536 values" in _refusal(tensor(b"\x08\x07" + strings))
    assert "The message is no PredictRequest." in _refusal(b"\x12\x05\x0a")


def test_fields_of_another_kind_than_declared_say_nothing():
    """Protobuf takes them for unknown ones: what is checked would not be what is parsed."""
    entry = b"\x0a\x01x\x12\x03\x08\x81\x00"  # An input `x`, in the eight bytes of a fixed64.
    message, headers = _read(b"\x11" + entry)
    assert (headers, set(message.parse().inputs)) == ({}, set())
    message, _ = _read(b"\x09" + b"\x0a\x06recall")  # A model's name in a fixed64.
    assert message.model_spec is None
    assert not message.parse().HasField("model_spec")
    for field in (b"\x0d\x07\x00\x00\x00", b"\x10\x01"):  # dtype as fixed32, shape as varint
        value = b"\x12" + _varint(len(field)) + field
        entry = b"\x0a\x01x" + value
        number = field[0] >> 3
        assert f"the field {number} is not" in _refusal(b"\x12" + _varint(len(entry)) + entry)


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def test_a_tensor_that_may_not_be_so_large_is_not_walked_over():
    """As large as a message may be: 16 million strings without a character."""
    request = predict_pb2.PredictRequest()
    proto = request.inputs["x"]
    proto.dtype = types_pb2.DT_STRING
    proto.tensor_shape.dim.add(size=1 << 24)
    message = PredictMessage(request.SerializeToString())
    with pytest.raises(ServingError, match="takes 21474836") as caught:
        message.read_header("x", MAX_BYTES)
    assert f"at most {MAX_BYTES} are allowed" in caught.value.message
