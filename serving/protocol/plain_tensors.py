"""Tensors as Python's own values, and messages of them: what a client has without NumPy.

Imports neither TensorFlow nor NumPy; `tensors` is for servers. Floats keep their value:
Python's have more digits than float32.
"""

import array
import base64
import itertools
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from recall.errors import InputError
from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol import tensor_messages
from serving.protocol.predict_messages_pb2 import TensorProto
from serving.protocol.tensor_messages import BIT_PATTERNS, VALUE_FIELDS

_LETTERS = {
    types_pb2.DT_FLOAT: "f",
    types_pb2.DT_DOUBLE: "d",
    types_pb2.DT_HALF: "e",
    types_pb2.DT_BFLOAT16: "H",
    types_pb2.DT_INT8: "b",
    types_pb2.DT_INT16: "h",
    types_pb2.DT_INT32: "i",
    types_pb2.DT_INT64: "q",
    types_pb2.DT_UINT8: "B",
    types_pb2.DT_UINT16: "H",
    types_pb2.DT_UINT32: "I",
    types_pb2.DT_UINT64: "Q",
    types_pb2.DT_BOOL: "?",
}
"""Data type number -> letter of `struct` for one value."""

_OF_LETTER = {letter: dtype for dtype, letter in _LETTERS.items() if letter != "e"}
"""Data type numbers of an `array.array` or a memoryview."""

_FLOATS = (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, *BIT_PATTERNS)

_INTEGERS = {
    types_pb2.DT_INT32: range(-(1 << 31), 1 << 31),
    types_pb2.DT_INT64: range(-(1 << 63), 1 << 63),
}
"""What the types can hold that integers of lists are sent as."""

_BASE64_KEY = "b64"

_PLAIN_TYPES = {list, tuple, str, bytes, bool, int, float}


class ArrayLike(Protocol):
    """An array of NumPy, or of a package whose arrays NumPy can read."""

    def __array__(self) -> Any:
        """The array of NumPy."""


class PlainTensor(NamedTuple):
    """A tensor of plain values.

    Attributes:
        dtype: A number of `types_pb2.DataType`.
        shape: Its sizes; () is one value.
        values: Row by row; texts as bytes.
    """

    dtype: int
    shape: tuple[int, ...]
    values: Sequence[Any]

    def to_lists(self) -> Any:
        """Nested lists, or the value of a tensor that is one.

        >>> PlainTensor(types_pb2.DT_INT32, (2, 2), [1, 2, 3, 4]).to_lists()
        [[1, 2], [3, 4]]
        """
        if not self.shape:
            return self.values[0]
        values = list(self.values)
        for axis in range(len(self.shape) - 1, 0, -1):
            size, count = self.shape[axis], math.prod(self.shape[:axis])
            values = [values[row * size : (row + 1) * size] for row in range(count)]
        return values


def build(name: str, value: Any, dtype: int | None = None) -> PlainTensor:
    """A tensor of what a caller gives.

    Args:
        name: Of the argument, for errors.
        value: A number, a text, a boolean, nested lists of these, or an array of NumPy or another
            package, an `array.array` or a memoryview, which keep their own type. A
            tensor stays as it is.
        dtype: The type wanted; None is the array's, float32 for floats of lists and int64 for
            their integers.

    Raises:
        InputError: It is nothing of the kind, or does not fit the type.

    >>> build("x", [["a", "b"]])
    PlainTensor(dtype=7, shape=(1, 2), values=[b'a', b'b'])
    """
    if isinstance(value, PlainTensor):
        return value
    of_array = _of_array(name, value)
    shape, values = _flatten(name, value) if of_array is None else of_array[1:]
    if dtype is None:
        dtype = _infer(name, values) if of_array is None else of_array.dtype
    return PlainTensor(dtype, shape, _convert(name, values, dtype))


def pad_texts(name: str, rows: Iterable[Sequence[str]]) -> PlainTensor:
    """Lists of texts -> `[num_rows, longest]`, padded with b"".

    The result has at least one column, so that no tower sees an empty axis.

    >>> pad_texts("ids", [["a", "b"], []]).to_lists()
    [[b'a', b'b'], [b'', b'']]
    """
    encoded = [_encode_texts(name, row) for row in rows]
    width = max([1, *map(len, encoded)])
    padded = [text for row in encoded for text in (*row, *(width - len(row)) * (b"",))]
    return PlainTensor(types_pb2.DT_STRING, (len(encoded), width), padded)


def fill(proto: TensorProto, tensor: PlainTensor) -> None:
    """Writes a tensor into an empty message."""
    proto.dtype = tensor.dtype
    add_dim = proto.tensor_shape.dim.add
    for size in tensor.shape:
        add_dim(size=size)
    values = tensor.values
    if tensor.dtype in BIT_PATTERNS:
        values = _to_patterns(values, tensor.dtype)
    getattr(proto, VALUE_FIELDS[tensor.dtype]).extend(values)


def read(proto: TensorProto, name: str = "tensor") -> PlainTensor:
    """Reads a tensor of an answer; the rules are those of `tensors.to_numpy`.

    Raises:
        ServingError: INVALID_ARGUMENT, the message contradicts itself, or has a type that is
            not served.
    """
    tensor_messages.check_dtype(proto.dtype, name)
    shape = tensor_messages.read_shape(proto.tensor_shape, name)
    size = math.prod(shape)
    if proto.tensor_content:
        return PlainTensor(proto.dtype, shape, _read_content(proto, size, name))
    tensor_messages.check_num_values(proto, size, name)
    values = list(getattr(proto, VALUE_FIELDS[proto.dtype]))
    if proto.dtype in BIT_PATTERNS:
        values = _of_patterns(values, proto.dtype)
    if len(values) < size:
        values += (size - len(values)) * [values[-1] if values else _nothing(proto.dtype)]
    return PlainTensor(proto.dtype, shape, values)


def as_float32(numbers: Sequence[float]) -> list[float]:
    """Numbers of float32, also where they came as JSON's shortest text for them.

    >>> as_float32([0.5, 0.1])
    [0.5, 0.10000000149011612]
    """
    return array.array("f", numbers).tolist()


def to_json(value: Any) -> Any:
    """Nested lists as TF Serving's JSON has them: texts for bytes, or base64 of what is no text.

    >>> to_json([[b"a", 0.5], [bytes([255]), True]])
    [['a', 0.5], [{'b64': '/w=='}, True]]
    """
    if isinstance(value, list):
        return [to_json(element) for element in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {_BASE64_KEY: base64.b64encode(value).decode()}


def of_json(value: Any) -> Any:
    """The way back; every text is bytes.

    >>> of_json([["a", 0.5], [{"b64": "/w=="}, True]])
    [[b'a', 0.5], [b'\\xff', True]]
    """
    if isinstance(value, list):
        return [of_json(element) for element in value]
    if isinstance(value, Mapping):
        return base64.b64decode(value[_BASE64_KEY])
    return value.encode() if isinstance(value, str) else value


def _nothing(dtype: int) -> Any:
    """The value of a tensor that has none."""
    if dtype == types_pb2.DT_STRING:
        return b""
    return struct.unpack(_LETTERS[dtype], bytes(struct.calcsize(_LETTERS[dtype])))[0]


def _read_content(proto: TensorProto, size: int, name: str) -> list[Any]:
    """Values packed as bytes in `tensor_content`."""
    if proto.dtype == types_pb2.DT_STRING:
        return tensor_messages.unpack_strings(proto.tensor_content, size, name)
    letters = f"<{size}{_LETTERS[proto.dtype]}"
    tensor_messages.check_content(proto, struct.calcsize(letters), name)
    values = list(struct.unpack(letters, proto.tensor_content))
    return _of_bfloats(values) if proto.dtype == types_pb2.DT_BFLOAT16 else values


def _to_patterns(values: Sequence[float], dtype: int) -> list[int]:
    """The 16 bits of numbers that are exact in a type of 16 bits."""
    if dtype == types_pb2.DT_HALF:
        return list(struct.unpack(f"<{len(values)}H", struct.pack(f"<{len(values)}e", *values)))
    # A bfloat16 is the upper half of a float32.
    packed = struct.pack(f"<{len(values)}f", *values)
    return list(struct.unpack(f"<{2 * len(values)}H", packed))[1::2]


def _of_patterns(patterns: Sequence[int], dtype: int) -> list[float]:
    if dtype == types_pb2.DT_BFLOAT16:
        return _of_bfloats(patterns)
    packed = struct.pack(f"<{len(patterns)}H", *patterns)
    return list(struct.unpack(f"<{len(patterns)}e", packed))


def _of_bfloats(patterns: Sequence[int]) -> list[float]:
    halves = (half for pattern in patterns for half in (0, pattern))
    packed = struct.pack(f"<{2 * len(patterns)}H", *halves)
    return list(struct.unpack(f"<{len(patterns)}f", packed))


def _of_array(name: str, value: Any) -> PlainTensor | None:
    """What an array holds, texts as they are in it, or a number of NumPy; None for what is none."""
    if hasattr(value, "__array__"):  # NumPy's own, or one that NumPy can take.
        of_numpy = value.__array__()
        is_text = of_numpy.dtype.kind in "OSU"
        kind = "string" if is_text else of_numpy.dtype.name
        dtype = _served(name, kind, tensor_messages.NUMBERS.get(kind))
        return PlainTensor(dtype, of_numpy.shape, of_numpy.ravel().tolist())
    if isinstance(value, array.array | memoryview):
        view = memoryview(value)
        letter = view.format
        if letter in "lL":  # Of another size on other machines.
            letter = chr(ord(letter) + ord("q" if view.itemsize == 8 else "i") - ord("l"))
        dtype = _served(name, view.format, _OF_LETTER.get(letter))
        return PlainTensor(dtype, view.shape, _flatten(name, view.tolist())[1])
    return None


def _served(name: str, kind: str, dtype: int | None) -> int:
    if dtype not in VALUE_FIELDS:
        raise InputError(f"`{name}` is an array of {kind}, which no model takes.")
    return dtype


def _flatten(name: str, value: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and values of nested lists."""
    shape, level = [], [value]
    while True:
        kinds = set(map(type, level))
        if not kinds <= _PLAIN_TYPES:
            tensors = [_of_array(name, one) for one in level]
            level = [
                one if tensor is None else tensor.to_lists()
                for one, tensor in zip(level, tensors, strict=True)
            ]
            kinds = {list if isinstance(one, list | tuple) else type(one) for one in level}
        if not kinds & {list, tuple}:
            return tuple(shape), level
        sizes = set(map(len, level)) if kinds <= {list, tuple} else set()
        if len(sizes) != 1:
            raise InputError(f"The rows of `{name}` differ in length.")
        shape.append(sizes.pop())
        level = list(itertools.chain.from_iterable(level))


def _infer(name: str, values: Sequence[Any]) -> int:
    """The type for plain values; integers among floats are floats."""
    kinds = set(map(type, values))
    if kinds and kinds <= {str, bytes}:
        return types_pb2.DT_STRING
    if kinds == {bool}:
        return types_pb2.DT_BOOL
    if kinds == {int}:
        return types_pb2.DT_INT64
    if kinds <= {int, float}:
        return types_pb2.DT_FLOAT
    raise InputError(f"`{name}` must be numbers, texts or booleans in lists of equal lengths.")


def _convert(name: str, values: list[Any], dtype: int) -> list[Any]:
    """Values as the field of a type takes them."""
    if dtype == types_pb2.DT_STRING:
        return _encode_texts(name, values)
    kinds = set(map(type, values))
    if dtype in _FLOATS and kinds <= {int, float}:
        return values if kinds <= {float} else list(map(float, values))
    if dtype in _INTEGERS and kinds <= {int}:
        for value in values:
            if value not in _INTEGERS[dtype]:
                raise InputError(f"`{name}` is too large, received {value}.")
        return values
    if dtype in _FLOATS or dtype in _INTEGERS:
        raise InputError(f"`{name}` must be numbers.")
    return values


def _encode_texts(name: str, texts: Sequence[str | bytes]) -> list[bytes]:
    try:
        if set(map(type, texts)) <= {str}:
            return list(map(str.encode, texts))
        return [text if isinstance(text, bytes) else text.encode() for text in texts]
    except AttributeError as error:
        raise InputError(f"`{name}` must be texts.") from error
    except UnicodeEncodeError as error:
        raise InputError(f"`{name}` has a text that is not valid Unicode.") from error
