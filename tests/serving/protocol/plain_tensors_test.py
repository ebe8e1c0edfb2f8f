"""Tensors of plain values: as NumPy's arrays would be sent and read."""

import array

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

from recall.errors import InputError
from serving.protocol import plain_tensors, tensors
from serving.protocol.plain_tensors import PlainTensor
from serving.protocol.predict_messages_pb2 import TensorProto
from serving.protocol.status import ServingError

ARRAYS = [
    np.array([[1.5, -2.0], [np.inf, 0.1]], np.float32),
    np.array([1e300, 0.1]),
    np.array([0.5, -1.25], np.float16),
    np.array([0.5, -1.0], ml_dtypes.bfloat16),
    np.array([-128, 127], np.int8),
    np.array([-32768], np.int16),
    np.array([2**31 - 1], np.int32),
    np.array([[[-(2**63)]]], np.int64),
    np.array([255], np.uint8),
    np.array([65535], np.uint16),
    np.array([2**32 - 1], np.uint32),
    np.array([2**64 - 1], np.uint64),
    np.array([True, False]),
    np.array(7, np.int32),
    np.empty((0, 3), np.float32),
    np.empty((2, 0, 3), np.float32),
    np.array([[b"a", "\u00e4".encode()]], object),
]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("values", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_messages_are_those_of_arrays(values, is_packed):
    """`tensors` itself is compared with TensorFlow."""
    expected = tensors.to_proto(values)
    proto = TensorProto()
    plain_tensors.fill(proto, plain_tensors.build("x", values))
    assert proto.SerializeToString() == expected.SerializeToString()
    read = plain_tensors.read(tensors.to_proto(values, packed=is_packed))
    assert read.shape == values.shape
    assert read.to_lists() == values.tolist()


@pytest.mark.parametrize(
    ("value", "dtype", "shape", "values"),
    [
        ([[1, 2], [3, 4]], types_pb2.DT_INT64, (2, 2), [1, 2, 3, 4]),
        (([1, 2.5],), types_pb2.DT_FLOAT, (1, 2), [1.0, 2.5]),
        (["a", b"\xff"], types_pb2.DT_STRING, (2,), [b"a", b"\xff"]),
        ([True], types_pb2.DT_BOOL, (1,), [True]),
        ("\u00e4", types_pb2.DT_STRING, (), ["\u00e4".encode()]),
        ([[], []], types_pb2.DT_FLOAT, (2, 0), []),
        ([np.float32(0.5), 1], types_pb2.DT_FLOAT, (2,), [0.5, 1.0]),
        ([np.array([1, 2]), (3, 4)], types_pb2.DT_INT64, (2, 2), [1, 2, 3, 4]),
        (array.array("i", [5]), types_pb2.DT_INT32, (1,), [5]),
        (array.array("d", [0.5]), types_pb2.DT_DOUBLE, (1,), [0.5]),
        (array.array("H", [5]), types_pb2.DT_UINT16, (1,), [5]),
        (array.array("L", [5]), types_pb2.DT_UINT64, (1,), [5]),
        (memoryview(b"\1\2\3\4").cast("B", (2, 2)), types_pb2.DT_UINT8, (2, 2), [1, 2, 3, 4]),
        (np.array(["a"]), types_pb2.DT_STRING, (1,), [b"a"]),
    ],
)
def test_what_callers_give(value, dtype, shape, values):
    tensor = plain_tensors.build("x", value)
    assert tensor == (dtype, shape, values)
    assert [type(one) for one in tensor.values] == [type(one) for one in values]
    assert plain_tensors.build("x", tensor) is tensor


def test_the_type_wanted_wins():
    assert plain_tensors.build("x", [1, 2], types_pb2.DT_FLOAT).values == [1.0, 2.0]
    assert plain_tensors.build("x", np.array([2]), types_pb2.DT_INT32) == (
        types_pb2.DT_INT32,
        (1,),
        [2],
    )
    assert plain_tensors.build("x", [], types_pb2.DT_STRING) == (types_pb2.DT_STRING, (0,), [])


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        ([[1], [1, 2]], None, "The rows of `x` differ in length."),
        ([[1], 2], None, "The rows of `x` differ in length."),
        ([1, "a"], None, "`x` must be numbers, texts or booleans in lists of equal lengths."),
        ([None], None, "`x` must be numbers, texts or booleans in lists of equal lengths."),
        ({"a": 1}, None, "`x` must be numbers, texts or booleans in lists of equal lengths."),
        ([2**63], None, "`x` is too large, received 9223372036854775808."),
        (2**31, types_pb2.DT_INT32, "`x` is too large, received 2147483648."),
        (1.5, types_pb2.DT_INT32, "`x` must be numbers."),
        (True, types_pb2.DT_FLOAT, "`x` must be numbers."),
        ([1], types_pb2.DT_STRING, "`x` must be texts."),
        ("\ud800", None, "`x` has a text that is not valid Unicode."),
        (np.array([1j]), None, "`x` is an array of complex128, which no model takes."),
        (array.array("u", "a"), None, "`x` is an array of"),
    ],
)
def test_what_is_no_tensor(value, dtype, text):
    with pytest.raises(InputError) as caught:
        plain_tensors.build("x", value, dtype)
    assert str(caught.value).startswith(text)


def test_lists_of_texts_are_padded():
    assert plain_tensors.pad_texts("x", [["a"], ["b", "\u00e4"]]).to_lists() == [
        [b"a", b""],
        [b"b", "\u00e4".encode()],
    ]
    assert plain_tensors.pad_texts("x", [[], []]).to_lists() == [[b""], [b""]]


def test_lists_of_any_rank():
    assert PlainTensor(types_pb2.DT_INT32, (), [5]).to_lists() == 5
    numbers = PlainTensor(types_pb2.DT_INT32, (2, 1, 3), range(6))
    assert numbers.to_lists() == [[[0, 1, 2]], [[3, 4, 5]]]


@settings(max_examples=300, deadline=None)
@given(
    dtype=st.integers(0, 30),
    shape=st.lists(st.integers(-2, 5), max_size=3),
    content=st.binary(max_size=12),
    ints=st.lists(st.integers(0, 127), max_size=3),
    texts=st.lists(st.binary(max_size=3), max_size=3),
)
def test_any_message_is_read_or_refused_as_an_array_is(dtype, shape, content, ints, texts):
    proto = tensor_pb2.TensorProto(
        dtype=dtype, tensor_content=content, int_val=ints, half_val=ints, string_val=texts
    )
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    found = []
    for read in (tensors.to_numpy, lambda *of: plain_tensors.read(*of).to_lists()):
        try:
            found.append(np.array(read(proto, "x")).tolist())
        except ServingError as error:
            found.append((error.code, error.message))
    np.testing.assert_equal(found[1], found[0])  # Also NaN.
