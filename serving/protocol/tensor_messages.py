"""What a TensorProto states of itself, for `tensors` (NumPy) and `plain_tensors` (lists).

Imports neither TensorFlow nor NumPy. A message may be TensorFlow's own or ours: both have
the same fields and bytes (`predict_messages.proto`).
"""

import math

from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol.predict_messages_pb2 import TensorProto, TensorShapeProto
from serving.protocol.status import ServingError, invalid_argument

DEFAULT_SIGNATURE = "serving_default"
"""The signature of Predict that is meant where none is named."""

MAX_ELEMENTS = 1 << 24
"""Largest tensor of a request: 64 MiB of float32, far above any real batch."""

MAX_FILLED_ELEMENTS = 1 << 20
"""Largest tensor that is filled up from fewer values: a message of a few bytes must not
make us take 128 MiB."""

VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}
"""The types a client can send, and the field that holds their values."""

BIT_PATTERNS = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)
"""Types whose field holds 16-bit patterns, not numbers."""

NUMPY_NAMES = {
    types_pb2.DT_FLOAT: "float32",
    types_pb2.DT_DOUBLE: "float64",
    types_pb2.DT_HALF: "float16",
}
"""What NumPy calls otherwise than TensorFlow."""

NUMBERS = {name: number for number, name in NUMPY_NAMES.items()} | {
    name.removeprefix("DT_").lower(): number for name, number in types_pb2.DataType.items()
}
"""NumPy's name of a type, or TensorFlow's -> data type number."""


def dtype_name(dtype: int) -> str:
    """TensorFlow's name of a data type number, for error texts.

    >>> dtype_name(types_pb2.DT_STRING)
    'string'
    """
    try:
        return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()
    except ValueError:
        return f"type {dtype}"


def parsing_error(name: str, reason: str) -> ServingError:
    """The error of a tensor that cannot be decoded."""
    return invalid_argument(f"tensor parsing error: {name}: {reason}.")


def is_served(dtype: int) -> bool:
    """Whether a client can send tensors of this type."""
    return dtype in VALUE_FIELDS


def check_dtype(dtype: int, name: str) -> None:
    """Refuses types that are not served.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if not is_served(dtype):
        raise parsing_error(name, f"the data type {dtype_name(dtype)} is not supported")


def read_shape(
    proto: TensorShapeProto, name: str, max_elements: int = MAX_ELEMENTS
) -> tuple[int, ...]:
    """The stated shape of a tensor, checked for sign and size.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if proto.unknown_rank:
        raise parsing_error(name, "the shape has an unknown rank")
    shape = tuple(dim.size for dim in proto.dim)
    if any(size < 0 for size in shape):
        raise parsing_error(name, f"the shape {list(shape)} has a negative dimension")
    # numpy arrays have at most 64 dimensions. A zero hides large neighbours.
    if len(shape) > 32 or math.prod(max(size, 1) for size in shape) > max_elements:
        raise parsing_error(
            name,
            f"the shape {list(shape[:8])} has more than 32 dimensions or {max_elements} elements",
        )
    return shape


def check_content(proto: TensorProto, num_bytes: int, name: str) -> None:
    """Refuses `tensor_content` of another length than the shape needs, or that is no booleans.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    content = proto.tensor_content
    if len(content) != num_bytes:
        raise parsing_error(
            name, f"`tensor_content` has {len(content)} bytes, the shape needs {num_bytes} bytes"
        )
    if proto.dtype == types_pb2.DT_BOOL and any(byte > 1 for byte in set(content)):
        raise parsing_error(name, "`tensor_content` holds bytes that are neither true nor false")


def check_num_values(proto: TensorProto, size: int, name: str) -> None:
    """Refuses a repeated field with more values than the shape holds, or far too few.

    As in TensorFlow, the last of too few values fills the rest and no value at all means zeros.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    field = VALUE_FIELDS[proto.dtype]
    number = len(getattr(proto, field))
    if number > size:
        raise parsing_error(name, f"`{field}` has {number} values, the shape holds {size}")
    if number < size and size > MAX_FILLED_ELEMENTS:
        raise parsing_error(
            name,
            f"`{field}` has {number} values, the shape holds {size}; only tensors of at most "
            f"{MAX_FILLED_ELEMENTS} elements are filled up",
        )


def unpack_strings(content: bytes, size: int, name: str) -> list[bytes]:
    """Strings as TensorFlow packs them: all lengths as varints, then all bytes.

    Raises:
        ServingError: INVALID_ARGUMENT, the bytes are no such strings.
    """
    lengths, position = [], 0
    for _ in range(size):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 28:
                raise parsing_error(name, "`tensor_content` is no list of strings")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise parsing_error(name, "`tensor_content` is no list of strings")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings
