"""TensorProto to numpy and back, safe against messages that lie.

A TensorProto states a shape and carries values in one of many fields; nothing
forces the two to agree. Everything is checked here before memory of the
stated size is taken. String tensors are `object` arrays of `bytes`.

Imports no TensorFlow. A message may be TensorFlow's own or ours: both have the same
fields and bytes (`predict_messages.proto`).
"""

import functools
import math
from collections.abc import Iterable

import numpy as np

from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol import tensor_messages
from serving.protocol.predict_messages_pb2 import TensorProto
from serving.protocol.tensor_messages import (
    BIT_PATTERNS,
    MAX_ELEMENTS,
    NUMBERS,
    NUMPY_NAMES,
    VALUE_FIELDS,
    dtype_name,
    parsing_error,
)


def dtype_of(array: np.ndarray) -> int:
    """The data type number of an array; `object` and text arrays are strings."""
    return types_pb2.DT_STRING if array.dtype.kind in "OSU" else _number_of(array.dtype)


# A request asks a dozen times.
@functools.cache
def _number_of(dtype: np.dtype) -> int:
    if dtype.name not in NUMBERS:
        raise TypeError(f"No tensor holds an array of {dtype}.")
    return NUMBERS[dtype.name]


@functools.cache
def numpy_dtype(dtype: int) -> np.dtype:
    """The type of the arrays that hold a data type number; strings are `object`."""
    if dtype == types_pb2.DT_STRING:
        return np.dtype(object)
    name = NUMPY_NAMES.get(dtype) or dtype_name(dtype)
    if name.startswith(("bfloat", "float8", "int4", "int2", "uint4", "uint2")):
        import ml_dtypes  # These are no types of numpy itself.

        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)


def to_numpy(
    proto: TensorProto, name: str = "tensor", *, max_elements: int = MAX_ELEMENTS
) -> np.ndarray:
    """Decodes one tensor of a request.

    As in TensorFlow, the last of too few values fills the rest and no value
    at all means zeros. Too many values are refused.

    Args:
        proto: The message.
        name: Name of the input, for the error text.
        max_elements: Largest number of elements accepted.

    Returns:
        An array of the stated shape; strings as `object` array of `bytes`.

    Raises:
        ServingError: INVALID_ARGUMENT, the message contradicts itself, has a
            type that is not served or is too large.
    """
    tensor_messages.check_dtype(proto.dtype, name)
    shape = tensor_messages.read_shape(proto.tensor_shape, name, max_elements)
    size = math.prod(shape)
    if proto.tensor_content:
        values = _from_content(proto, size, name)
    else:
        values = _from_field(proto, size, name)
    return values.reshape(shape)


def _from_content(proto: TensorProto, size: int, name: str) -> np.ndarray:
    """Values packed as bytes in `tensor_content`."""
    content = proto.tensor_content
    if proto.dtype == types_pb2.DT_STRING:
        return _strings_of(tensor_messages.unpack_strings(content, size, name))
    dtype = numpy_dtype(proto.dtype)
    tensor_messages.check_content(proto, size * dtype.itemsize, name)
    return np.frombuffer(content, dtype=dtype)


def _from_field(proto: TensorProto, size: int, name: str) -> np.ndarray:
    """Values in the repeated field of the data type."""
    tensor_messages.check_num_values(proto, size, name)
    values = getattr(proto, VALUE_FIELDS[proto.dtype])
    if proto.dtype == types_pb2.DT_STRING:
        array = _strings_of(values)
        default: object = b""
    else:
        array = _numbers_of(values, proto.dtype, name)
        default = 0
    if len(array) == size:
        return array
    filled = np.full(size, array[-1] if len(array) else default, dtype=array.dtype)
    filled[: len(array)] = array
    return filled


def _strings_of(values: Iterable[bytes]) -> np.ndarray:
    values = list(values)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _numbers_of(values: Iterable, dtype: int, name: str) -> np.ndarray:
    """Numbers of a repeated field in their own type, none of them cut."""
    wanted = numpy_dtype(dtype)
    if dtype in BIT_PATTERNS:
        return _checked_cast(values, np.dtype(np.uint16), dtype, name).view(wanted)
    if wanted.kind in "iu" and wanted.itemsize < 4:
        return _checked_cast(values, wanted, dtype, name)
    return np.array(values, dtype=wanted)


def _checked_cast(values: Iterable, wanted: np.dtype, dtype: int, name: str) -> np.ndarray:
    numbers = np.array(values, dtype=np.int64)
    limits = np.iinfo(wanted)
    if numbers.size and (numbers.min() < limits.min or numbers.max() > limits.max):
        raise parsing_error(name, f"a value does not fit into {dtype_name(dtype)}")
    return numbers.astype(wanted)


def to_proto(array: np.ndarray, *, packed: bool = False) -> TensorProto:
    """Encodes an array.

    Answers use the typed fields (`float_val` ...), as TensorFlow Serving does
    by default: clients read them directly.

    Args:
        array: Numbers, booleans, or text or bytes of any of numpy's kinds.
        packed: Whether numbers go into `tensor_content`, which is faster
            (measured: 3 us against 15 us for a small tensor).
    """
    proto = TensorProto()
    fill_proto(proto, np.asarray(array), packed=packed)
    return proto


def fill_proto(proto: TensorProto, array: np.ndarray, *, packed: bool = False) -> None:
    """As `to_proto`, into an empty message, for example one inside of another."""
    proto.dtype = dtype_of(array)
    add_dim = proto.tensor_shape.dim.add
    for size in array.shape:
        add_dim(size=size)
    if array.dtype.kind == "S":
        proto.string_val.extend(array.ravel().tolist())
    elif proto.dtype == types_pb2.DT_STRING:
        proto.string_val.extend(
            value.encode() if isinstance(value, str) else bytes(value)
            for value in array.ravel().tolist()
        )
    elif packed:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    elif proto.dtype in BIT_PATTERNS:
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).ravel().tolist())
    else:
        getattr(proto, VALUE_FIELDS[proto.dtype]).extend(array.ravel().tolist())


def pad_strings(rows: Iterable[Iterable[str]]) -> np.ndarray:
    """Lists of texts -> `[num_rows, longest]` object array of bytes, padded with b"".

    The result has at least one column, so that no tower sees an empty axis.

    >>> pad_strings([["a", "b"], []]).tolist()
    [[b'a', b'b'], [b'', b'']]
    """
    encoded = [[text.encode() for text in row] for row in rows]
    width = max((len(row) for row in encoded), default=0)
    padded = np.full((len(encoded), max(width, 1)), b"", dtype=object)
    for index, row in enumerate(encoded):
        padded[index, : len(row)] = row
    return padded
