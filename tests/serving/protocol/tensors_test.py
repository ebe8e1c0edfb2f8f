import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.protocol.status import Code, ServingError
from serving.protocol.tensor_messages import MAX_ELEMENTS, MAX_FILLED_ELEMENTS
from serving.protocol.tensors import pad_strings, to_numpy, to_proto

_NUMBERS = [
    np.array([[1.5, -2.0], [np.inf, 0.25]], np.float32),
    np.array([1e300], np.float64),
    np.array([0.5, -1.0], np.float16),
    np.array([0.5, -1.0], ml_dtypes.bfloat16),
    np.array([-128, 127], np.int8),
    np.array([-32768], np.int16),
    np.array([2**31 - 1], np.int32),
    np.array([-(2**63)], np.int64),
    np.array([255], np.uint8),
    np.array([65535], np.uint16),
    np.array([2**32 - 1], np.uint32),
    np.array([2**64 - 1], np.uint64),
    np.array([True, False]),
    np.array(7, np.int32),
    np.empty((0, 3), np.float32),
]


def _proto(dtype, shape, **fields):
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _refused(proto, **arguments):
    with pytest.raises(ServingError) as caught:
        to_numpy(proto, "x", **arguments)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert caught.value.message.startswith("tensor parsing error: x")
    return caught.value.message


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("array", _NUMBERS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_numbers_as_tensorflow_reads_and_writes_them(array, packed):
    proto = to_proto(array, packed=packed)
    of_tensorflow = tensor_pb2.TensorProto.FromString(proto.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(of_tensorflow), array)
    np.testing.assert_array_equal(to_numpy(proto), array)
    decoded = to_numpy(tf.make_tensor_proto(array))
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize("array", [np.array([["a", "ä"]]), np.array([["a", "ä"]], object)])
def test_text(array):
    proto = to_proto(array)
    assert list(proto.string_val) == [b"a", "ä".encode()]
    assert to_numpy(proto).tolist() == [[b"a", "ä".encode()]]


def test_answers_use_the_typed_fields():
    assert list(to_proto(np.array([0.5], np.float32)).float_val) == [0.5]
    assert not to_proto(np.array([0.5], np.float32)).tensor_content
    assert to_proto(np.array([0.5], np.float32), packed=True).tensor_content == b"\0\0\0\x3f"


def test_packed_strings():
    # Lengths 1 and 200 (varint c8 01), then the bytes.
    content = b"\x01\xc8\x01" + b"a" + b"b" * 200
    proto = _proto(types_pb2.DT_STRING, [2], tensor_content=content)
    assert to_numpy(proto).tolist() == [b"a", b"b" * 200]


@pytest.mark.parametrize("content", [b"\x01", b"\x05ab", b"\x01abc", b"\xff" * 20, b"\x80"])
def test_damaged_packed_strings(content):
    _refused(_proto(types_pb2.DT_STRING, [1], tensor_content=content))


def test_too_few_values_repeat_the_last_as_in_tensorflow():
    proto = _proto(types_pb2.DT_INT64, [2, 2], int64_val=[3, 4])
    assert to_numpy(proto).tolist() == [[3, 4], [4, 4]]
    assert to_numpy(_proto(types_pb2.DT_FLOAT, [2])).tolist() == [0.0, 0.0]
    assert to_numpy(_proto(types_pb2.DT_STRING, [1])).tolist() == [b""]


@pytest.mark.parametrize(
    "shape", [[1 << 40], [1 << 20, 1 << 20], [0, 1 << 40], [2**62, 2**62], [MAX_ELEMENTS + 1]]
)
def test_huge_shapes(shape):
    _refused(_proto(types_pb2.DT_FLOAT, shape, float_val=[1.0]))
    _refused(_proto(types_pb2.DT_STRING, shape))


def test_largest_shape_is_accepted_and_one_more_is_not():
    assert to_numpy(_proto(types_pb2.DT_INT8, [4]), max_elements=4).shape == (4,)
    _refused(_proto(types_pb2.DT_INT8, [5]), max_elements=4)


@pytest.mark.parametrize("shape", [[-1], [2, -3], [1] * 33])
def test_impossible_shapes(shape):
    _refused(_proto(types_pb2.DT_FLOAT, shape))


def test_unknown_rank():
    proto = _proto(types_pb2.DT_FLOAT, [])
    proto.tensor_shape.unknown_rank = True
    _refused(proto)


@pytest.mark.parametrize("content", [b"\0", b"\0" * 12])
def test_content_of_wrong_length(content):
    assert "needs 8 bytes" in _refused(_proto(types_pb2.DT_FLOAT, [2], tensor_content=content))


def test_too_many_values():
    assert "`float_val` has 3 values" in _refused(
        _proto(types_pb2.DT_FLOAT, [2], float_val=[1, 2, 3])
    )


def test_values_that_do_not_fit():
    _refused(_proto(types_pb2.DT_UINT8, [1], int_val=[256]))
    _refused(_proto(types_pb2.DT_INT8, [1], int_val=[-129]))
    _refused(_proto(types_pb2.DT_HALF, [1], half_val=[1 << 20]))
    _refused(_proto(types_pb2.DT_BOOL, [1], tensor_content=b"\x02"))


@pytest.mark.parametrize(
    "dtype",
    [
        types_pb2.DT_INVALID,
        types_pb2.DT_RESOURCE,
        types_pb2.DT_VARIANT,
        types_pb2.DT_COMPLEX64,
        types_pb2.DT_QINT8,
        types_pb2.DT_FLOAT_REF,
        9999,
    ],
)
def test_types_that_are_not_served(dtype):
    _refused(_proto(dtype, [1]))


@settings(max_examples=300, deadline=None)
@given(
    dtype=st.integers(0, 30),
    shape=st.lists(st.integers(-2, 5), max_size=3),
    content=st.binary(max_size=12),
    ints=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    texts=st.lists(st.binary(max_size=3), max_size=3),
)
def test_any_message_is_decoded_or_refused(dtype, shape, content, ints, texts):
    proto = _proto(
        dtype, shape, tensor_content=content, int_val=ints, half_val=ints, string_val=texts
    )
    try:
        array = to_numpy(proto)
    except ServingError as error:
        assert error.code == Code.INVALID_ARGUMENT  # noqa: PT017
    else:
        assert list(array.shape) == shape


def test_pad_strings():
    assert pad_strings([["a"], ["b", "ä"]]).tolist() == [[b"a", b""], [b"b", "ä".encode()]]
    assert pad_strings([[], []]).shape == (2, 1)
    assert pad_strings([]).shape == (0, 1)


def test_a_small_message_cannot_take_much_memory():
    assert to_numpy(_proto(types_pb2.DT_INT8, [MAX_FILLED_ELEMENTS])).sum() == 0
    _refused(_proto(types_pb2.DT_STRING, [MAX_FILLED_ELEMENTS + 1]))
