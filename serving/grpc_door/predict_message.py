"""A Predict message before it is parsed: what it asks for, and what that would take.

Parsing and decoding multiply what was sent. An empty input takes 2 bytes in a
message and 300 in memory, an empty string 2 and 130, and a shape alone asks for
as much as it likes. So the message is walked over field by field, which takes
no memory, and nothing else happens before names, types, shapes and sizes are
found to be allowed. (Protobuf has no way to parse a part of a message.)
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from serving.doors.byte_budget import check_num_bytes
from serving.protocol import tensor_messages, tensors
from serving.protocol.status import invalid_argument

MAX_FIELDS = 1024
"""Inputs, outputs wanted and whatever else of a message: models have a few dozen."""

STRING_BYTES = 128
"""What a string takes beside its characters: 16 in the parsed message, 8 in the array, 41 as
Python's bytes, 49 as its text, 8 in a request (CPython 3.11), rounded."""

NUMBER_BYTES = 40
"""What a number of a typed field takes on its way into an array: a Python object, its place in
a list and 8 in the parsed message."""

_MAX_SHAPE_BYTES = 1024
"""Serialised shape: 32 dimensions take at most 400."""

_MAX_SPEC_BYTES = 4096

_MAX_BEFORE_SHAPE = 1 << 16
"""Values that may come before the shape: whoever writes a message writes the shape first."""

_SMALL_BYTES = 4096
"""Texts of at most so many bytes are not counted one by one before they are parsed: they take
270 KB at the worst, and the count is most of what a usual history costs here (35 us of 50 ids)."""

_NO_MESSAGE = "The message is no PredictRequest."
_UNREADABLE = (IndexError, DecodeError, UnicodeDecodeError)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types of https://protobuf.dev/programming-guides/encoding."""

_SPEC, _INPUTS = 1, 2
_KEY, _VALUE = 1, 2
_NUMBERS = {
    getattr(tensor_pb2.TensorProto, f"{name.upper()}_FIELD_NUMBER")
    for name in (
        *("half_val", "float_val", "double_val", "int_val", "int64_val"),
        *("bool_val", "uint32_val", "uint64_val"),
    )
}
_DTYPE = tensor_pb2.TensorProto.DTYPE_FIELD_NUMBER
_SHAPE = tensor_pb2.TensorProto.TENSOR_SHAPE_FIELD_NUMBER
_CONTENT = tensor_pb2.TensorProto.TENSOR_CONTENT_FIELD_NUMBER
_STRINGS = tensor_pb2.TensorProto.STRING_VAL_FIELD_NUMBER
_OTHERS = {_CONTENT, tensor_pb2.TensorProto.VERSION_NUMBER_FIELD_NUMBER}


class InputHeader(NamedTuple):
    """What a serialised tensor says of itself.

    Attributes:
        dtype: A number of `types_pb2.DataType`.
        shape: The stated sizes.
        num_bytes: Of the serialised tensor.
        num_typed: Most numbers its typed fields can hold.
    """

    dtype: int
    shape: tuple[int, ...]
    num_bytes: int
    num_typed: int

    @property
    def memory(self) -> int:
        """Bytes that the tensor takes, parsed and decoded."""
        return _memory(self.dtype, math.prod(self.shape), self.num_bytes, self.num_typed)


class PredictMessage:
    """A serialised `PredictRequest`.

    Attributes:
        model_spec: Parsed; None where there is none.
    """

    def __init__(self, content: bytes):
        """Finds model and inputs; what is inside of the inputs is not looked at.

        Raises:
            ServingError: INVALID_ARGUMENT, it is no such message, or has too many inputs.
        """
        self._content = content
        self._places: dict[str, tuple[int, int]] = {}
        self.model_spec: model_pb2.ModelSpec | None = None
        try:
            self._walk()
        except _UNREADABLE as error:
            raise invalid_argument(_NO_MESSAGE) from error

    @property
    def names(self) -> Iterable[str]:
        """Names of the inputs."""
        return self._places.keys()

    def read_header(self, name: str, max_bytes: int) -> InputHeader:
        """What an input says of itself.

        Args:
            name: One of `names`.
            max_bytes: More than that it may not take; it is not walked over to its end then.

        Raises:
            ServingError: INVALID_ARGUMENT, it contradicts itself, has a type that is not
                served or is too large.
        """
        try:
            return _read_tensor(self._content, *self._places[name], name, max_bytes)
        except _UNREADABLE as error:
            raise invalid_argument(_NO_MESSAGE) from error

    def parse(self) -> predict_pb2.PredictRequest:
        """The whole message; takes the memory that its inputs say.

        Raises:
            ServingError: INVALID_ARGUMENT, it cannot be parsed.
        """
        try:
            return predict_pb2.PredictRequest.FromString(self._content)
        except DecodeError as error:
            raise invalid_argument(_NO_MESSAGE) from error

    def _walk(self) -> None:
        """Over the fields of the request."""
        content = self._content
        for count, (number, kind, start, end) in enumerate(_fields(content, 0, len(content))):
            if count == MAX_FIELDS:
                raise invalid_argument(f"A request has at most {MAX_FIELDS} inputs and outputs.")
            if kind != _BYTES:
                continue  # Of another kind than declared: protobuf passes over it, too.
            if number == _INPUTS:
                name, place = _find_tensor(content, start, end)
                if name in self._places:
                    raise invalid_argument(f"The input {name} is sent twice.")
                self._places[name] = place
            elif number == _SPEC:
                if end - start > _MAX_SPEC_BYTES or self.model_spec is not None:
                    raise invalid_argument(
                        f"ModelSpec is sent once, with at most {_MAX_SPEC_BYTES} bytes."
                    )
                self.model_spec = model_pb2.ModelSpec.FromString(content[start:end])


def _find_tensor(content: bytes, start: int, end: int) -> tuple[str, tuple[int, int]]:
    """Name and place of the tensor of an entry of the map of inputs."""
    key, place = b"", (end, end)
    for count, (number, kind, first, last) in enumerate(_fields(content, start, end)):
        if count > 1 or number not in (_KEY, _VALUE) or kind != _BYTES:
            raise invalid_argument("An input has one name and one tensor.")
        if number == _KEY:
            key = content[first:last]
        else:
            place = first, last
    return key.decode(), place


def _read_tensor(content: bytes, start: int, end: int, name: str, max_bytes: int) -> InputHeader:
    """What a tensor says, without its values."""
    dtype = num_typed = num_values = 0
    shape, most = None, _MAX_BEFORE_SHAPE
    for number, kind, first, last in _fields(content, start, end):
        if number == _STRINGS or (number in _NUMBERS and kind != _BYTES):
            if dtype == types_pb2.DT_STRING and shape is not None and end - start <= _SMALL_BYTES:
                break
            num_values += 1
            num_typed += number != _STRINGS
            if num_values > most:
                raise tensor_messages.parsing_error(
                    name, f"more than the {most} values of its shape"
                )
        elif number in _NUMBERS:
            num_typed += last - first
        elif number == _DTYPE and kind == _VARINT:
            dtype = _read_varint(content, first)[0]
        elif number == _SHAPE and kind == _BYTES:
            if shape is not None or last - first > _MAX_SHAPE_BYTES:
                raise tensor_messages.parsing_error(name, "the shape is sent twice, or is too long")
            proto = tensor_shape_pb2.TensorShapeProto.FromString(content[first:last])
            shape = tensor_messages.read_shape(proto, name)
            size = most = math.prod(shape)
            check_num_bytes(_memory(dtype, size, end - start, 0), max_bytes)
            most = min(most, max_bytes // NUMBER_BYTES)
        elif number not in _OTHERS:
            raise tensor_messages.parsing_error(name, f"the field {number} is not supported")
    tensor_messages.check_dtype(dtype, name)
    header = InputHeader(dtype, () if shape is None else shape, end - start, num_typed)
    check_num_bytes(header.memory, max_bytes)
    return header


def _memory(dtype: int, size: int, num_bytes: int, num_typed: int) -> int:
    """Bytes of a tensor of so many elements, parsed and decoded."""
    if dtype == types_pb2.DT_STRING:
        return 3 * num_bytes + STRING_BYTES * size
    itemsize = tensors.numpy_dtype(dtype).itemsize if tensor_messages.is_served(dtype) else 1
    return num_bytes + itemsize * size + NUMBER_BYTES * min(num_typed, size)


def _fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, start and end of every field of a message.

    Raises:
        IndexError: The bytes are no message.
    """
    while start < end:
        tag, start = _read_varint(content, start)
        kind, first = tag & 7, start
        if kind == _BYTES:
            length, first = _read_varint(content, start)
            start = first + length
        elif kind == _VARINT:
            start = _read_varint(content, start)[1]
        elif kind == _FIXED32:
            start += 4
        elif kind == _FIXED64:
            start += 8
        else:
            raise IndexError("a group, which none of these messages has")
        if start > end or not tag >> 3:
            raise IndexError("a field ends after its message")
        yield tag >> 3, kind, first, start


def _read_varint(content: bytes, start: int) -> tuple[int, int]:
    """A variable-length number, and where it ends."""
    byte = content[start]
    if byte < 0x80:
        return byte, start + 1
    number, shift = byte & 0x7F, 7
    while shift < 70:
        start += 1
        byte = content[start]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, start + 1
        shift += 7
    raise IndexError("a number of more than ten bytes")
