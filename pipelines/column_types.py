"""Columns of any sensible Arrow type as ids (text) and as seconds (float64).

Imports no TensorFlow and opens no file.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recall.errors import InputError

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def to_text(array: pa.Array, file: str, column: str) -> pa.Array:
    """Ids of any text or whole-number type as strings.

    Raises:
        InputError: The type is another, for example a float, whose text would
            not be the id ("12.0").
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    if kind == pa.string():
        return array
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or _is_text(kind):
        try:
            return array.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise InputError(f"{file}: column {column!r} is not UTF-8 text. Convert it.") from error
    raise InputError(
        f"{file}: column {column!r} has the type {kind}; text or whole numbers are wanted. "
        "Convert it."
    )


def to_seconds(array: pa.Array, file: str, column: str) -> pa.Array:
    """Numbers, texts of numbers and Arrow times as float64 seconds; NaN where there is none.

    Raises:
        InputError: The type is another, for example bool.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    if pa.types.is_date(kind):
        array, kind = array.cast(pa.timestamp("ms")), pa.timestamp("ms")
    if pa.types.is_timestamp(kind):
        seconds = pc.divide(_to_float(array.cast(pa.int64())), float(_UNITS_PER_SECOND[kind.unit]))
    elif _is_text(kind):
        seconds = _parse_numbers(array.cast(pa.string()))
    elif pa.types.is_null(kind) or pa.types.is_decimal(kind) or _is_number(kind):
        seconds = _to_float(array)
    else:
        raise InputError(
            f"{file}: column {column!r} has the type {kind}; a number of seconds or a time is "
            "wanted. Convert it."
        )
    return seconds.fill_null(np.nan)


def _is_text(kind: pa.DataType) -> bool:
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


def _parse_numbers(array: pa.Array) -> pa.Array:
    """Texts as float64, null where a text is no number."""
    try:
        return array.cast(pa.float64())
    except pa.ArrowInvalid:
        numbers = pc.if_else(pc.match_substring_regex(array, _NUMBER), array, None)
        return pc.utf8_trim_whitespace(numbers).cast(pa.float64())


def has_text(array: pa.Array) -> np.ndarray:
    """`[n]` bool, False where a text is missing, empty or white space."""
    if array.null_count == 0 and pc.all(pc.match_substring_regex(array, r"^\S")).as_py():
        return np.ones(len(array), bool)
    return to_mask(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(array)), 0))


def to_mask(array: pa.Array) -> np.ndarray:
    """`[n]` bool of a boolean array, False where it is null."""
    return array.fill_null(False).to_numpy(zero_copy_only=False)
