"""Columns of any sensible Arrow type as ids (text), numbers and seconds (float64).

Imports no TensorFlow and opens no file.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.time_units import UNITS_PER_SECOND
from recall.errors import InputError

_SPACE, _NON_ASCII = ord(" "), 0x80
_UUID_BYTES = 16
_UUID_DASHES = (8, 12, 16, 20)
_HEX = np.array([tuple(b"%02x" % byte) for byte in range(256)], np.uint8)


def to_text(array: pa.Array, file: str, column: str) -> pa.Array:
    """Ids of any text, whole-number or UUID type as strings.

    Whole numbers may be decimals without digits after the point, as engines
    keep those of 128 bits. 16 bytes are a UUID, in its usual form.

    Raises:
        InputError: The type is another, for example a float, whose text would
            not be the id ("12.0").
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    if isinstance(array, pa.ExtensionArray):
        array, kind = array.storage, array.storage.type
    if kind == pa.string():
        return array
    if pa.types.is_decimal(kind) and kind.scale <= 0:
        return array.cast(pa.decimal256(76, 0)).cast(pa.string())
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == _UUID_BYTES:
        return _uuids_to_text(array)
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or is_text(kind):
        try:
            return array.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise InputError(f"{file}: column {column!r} is not UTF-8 text. Convert it.") from error
    raise InputError(
        f"{file}: column {column!r} has the type {kind}; text or whole numbers are wanted. "
        "Convert it."
    )


def _uuids_to_text(array: pa.FixedSizeBinaryArray) -> pa.Array:
    """UUIDs in the form of RFC 9562, 8-4-4-4-12 hexadecimal digits."""
    data = np.frombuffer(b"".join(array.fill_null(bytes(_UUID_BYTES)).to_pylist()), np.uint8)
    digits = _HEX[data].reshape(len(array), 2 * _UUID_BYTES)
    text = np.insert(digits, _UUID_DASHES, ord("-"), axis=1).view("S36").ravel()
    texts = pa.array(text, pa.binary()).cast(pa.string())
    return pc.if_else(array.is_valid(), texts, None)


def to_numbers(array: pa.Array, file: str, column: str) -> pa.Array:
    """Numbers of any type as float64, null where there is none.

    Raises:
        InputError: The type is another, for example bool.
    """
    kind = array.type
    if pa.types.is_null(kind) or pa.types.is_decimal(kind) or _is_number(kind):
        return _to_float(array)
    raise InputError(
        f"{file}: column {column!r} has the type {kind}; a number of seconds or a time is "
        "wanted. Convert it."
    )


def is_time(kind: pa.DataType) -> bool:
    """Whether values of a type are days or moments."""
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def times_to_seconds(array: pa.Array) -> pa.Array:
    """Days and moments as float64 seconds since 1970, null where there is none."""
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("ms"))
    per_second = float(UNITS_PER_SECOND[array.type.unit])
    return pc.divide(_to_float(array.cast(pa.int64())), per_second)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are texts, or bytes of one."""
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _to_float(array: pa.Array) -> pa.Array:
    return array.cast(pa.float64(), safe=False)


class TextEdges(NamedTuple):
    """What the bytes of texts tell before a pattern, which costs more, looks at them.

    Attributes:
        data: All bytes of the texts, uint8.
        first: `[n]` uint8, first byte of each text, 0 where it is empty.
        last: `[n]` uint8, last byte.
        lengths: `[n]` bytes.
    """

    data: np.ndarray
    first: np.ndarray
    last: np.ndarray
    lengths: np.ndarray

    @property
    def may_be_blank(self) -> np.ndarray:
        """`[n]` bool, whether white space, or nothing in ASCII, stands at one of the ends."""
        first, last = self.first, self.last
        ends = (first <= _SPACE) | (first >= _NON_ASCII) | (last <= _SPACE) | (last >= _NON_ASCII)
        return ends


def text_edges(array: pa.StringArray) -> TextEdges:
    """The first and last bytes of texts; a missing text has none."""
    _, offsets, data = array.buffers()
    size = len(array)
    if size == 0 or data is None or data.size == 0:
        empty = np.zeros(size, np.uint8)
        return TextEdges(empty[:0], empty, empty, np.zeros(size, np.int64))
    bounds = np.frombuffer(offsets, np.int32)[array.offset : array.offset + size + 1]
    data = np.frombuffer(data, np.uint8)
    lengths = np.diff(bounds).astype(np.int64)
    if array.null_count:
        lengths[array.is_null().to_numpy(zero_copy_only=False)] = 0
    is_empty = lengths == 0
    first = np.where(is_empty, 0, data[np.minimum(bounds[:-1], len(data) - 1)])
    last = np.where(is_empty, 0, data[np.maximum(bounds[1:] - 1, 0)])
    used = data[bounds[0] : bounds[-1]]
    return TextEdges(used, first.astype(np.uint8), last.astype(np.uint8), lengths)


def has_text(array: pa.Array) -> np.ndarray:
    """`[n]` bool, False where a text is missing, empty or white space."""
    if array.null_count == 0:
        first = text_edges(array).first
        if np.all((first > _SPACE) & (first < _NON_ASCII)):
            return np.ones(len(array), bool)
    return to_mask(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(array)), 0))


def to_mask(array: pa.Array) -> np.ndarray:
    """`[n]` bool of a boolean array, False where it is null."""
    return array.fill_null(False).to_numpy(zero_copy_only=False)
