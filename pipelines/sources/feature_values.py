"""Columns of a file as the values of declared features.

Imports no TensorFlow and opens no file.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns import time_texts
from pipelines.sources.columns.column_types import (
    is_text,
    is_time,
    times_to_seconds,
    to_mask,
    to_numbers,
    to_text,
)
from recall.errors import InputError
from recall.feature_columns.attributes import ItemAttribute
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import raw_type

_NUMBER_SEPARATORS = r"[|,;\s]+"
"""Between the numbers of a vector in a text file."""


DeclaredColumn = FeatureColumn | ItemAttribute
"""What a column of a file may be declared as."""


def read_feature(
    column: DeclaredColumn, array: pa.Array, rows: np.ndarray, file: str, separator: str = "|"
) -> pa.Array:
    """The values of some rows.

    Args:
        column: The feature, or the attribute.
        array: Its column of the file.
        rows: `[n]` int64, 0-based data row numbers in the file, for errors.
        file: For errors.
        separator: What stands between several values in one text.

    Returns:
        `[n]` of `raw_type`; null, or an empty list, where a value is missing.

    Raises:
        InputError: A value is of another kind.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    read = {
        "categorical": _names,
        "numeric": _numbers,
        "vector": _vectors,
        "text": _texts,
        "time": _times,
    }
    return read[column.kind](column, array, rows, file, separator).cast(raw_type(column))


def _names(
    column: DeclaredColumn, array: pa.Array, rows: np.ndarray, file: str, separator: str
) -> pa.Array:
    del rows
    if _is_list(array.type):
        return _clean(pc.list_parent_indices(array), _to_names(array, column, file), len(array))
    texts = _to_names(array, column, file).fill_null("")
    if not column.has_several_values:
        return _clean(np.arange(len(texts)), texts, len(texts))
    lists = pc.split_pattern(texts, separator)
    return _clean(pc.list_parent_indices(lists), lists.flatten(), len(lists))


def _to_names(array: pa.Array, column: DeclaredColumn, file: str) -> pa.Array:
    """Texts of names, those of lists one after the other."""
    values = pc.list_flatten(array) if _is_list(array.type) else array
    if pa.types.is_boolean(values.type):
        return values.cast(pa.string())
    return to_text(values, file, column.source)


def _clean(owners: Sequence[int] | pa.Array, names: pa.Array, num_rows: int) -> pa.Array:
    """Names by row as lists, without empty ones and white space around them."""
    names = pc.utf8_trim_whitespace(names.fill_null(""))
    kept = np.flatnonzero(to_mask(pc.not_equal(names, "")))
    sizes = np.bincount(np.asarray(owners)[kept], minlength=num_rows)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names.take(pa.array(kept)))


def _numbers(
    column: DeclaredColumn, array: pa.Array, rows: np.ndarray, file: str, separator: str
) -> pa.Array:
    del separator
    if is_time(array.type):
        numbers = times_to_seconds(array)
    elif pa.types.is_boolean(array.type):
        numbers = array.cast(pa.float64())
    elif is_text(array.type):
        numbers = _parse(column, array, rows, file)
    elif _is_list(array.type):
        raise InputError(
            f"{file}: column {column.source!r} of the numeric feature {column.name!r} has lists. "
            "Declare it as vector."
        )
    else:
        numbers = to_numbers(array, file, column.source)
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _times(
    column: DeclaredColumn, array: pa.Array, rows: np.ndarray, file: str, separator: str
) -> pa.Array:
    """Seconds since 1970: of times, of ISO 8601 texts, or numbers as they are."""
    if not is_text(array.type):
        return _numbers(column, array, rows, file, separator)
    texts = pc.utf8_trim_whitespace(to_text(array, file, column.source))
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    seconds = pc.coalesce(time_texts.parse_numbers(texts), time_texts.parse_iso(texts))
    wrong = np.flatnonzero(to_mask(pc.and_(texts.is_valid(), pc.invert(seconds.is_valid()))))
    if not len(wrong):
        return seconds
    raise InputError(
        f"Data row {rows[wrong[0]] + 1} of {file}: column {column.source!r} of the attribute "
        f"{column.name!r} holds {texts[wrong[0]].as_py()!r:.80}, which is no time. Write seconds "
        "since 1970, or ISO 8601 such as 2024-05-06T12:00:00Z, or leave it empty."
    )


def _parse(column: DeclaredColumn, array: pa.Array, rows: np.ndarray, file: str) -> pa.Array:
    """Texts as numbers; null where empty."""
    texts = pc.utf8_trim_whitespace(to_text(array, file, column.source))
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        at = next(i for i, text in enumerate(texts.to_pylist()) if not _is_number(text))
    raise InputError(
        f"Data row {rows[at] + 1} of {file}: column {column.source!r} of the {column.kind} feature "
        f"{column.name!r} holds {texts[at].as_py()!r:.80}, which is no number. Correct it, leave "
        "it empty, or declare the feature as categorical."
    )


def _is_number(text: str | None) -> bool:
    try:
        pa.scalar(text, pa.string()).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _vectors(
    column: DeclaredColumn, array: pa.Array, rows: np.ndarray, file: str, separator: str
) -> pa.Array:
    del separator
    if not _is_list(array.type):
        texts = pc.utf8_trim(to_text(array, file, column.source).fill_null(""), " []()|,;\t")
        lists = pc.split_pattern_regex(texts, _NUMBER_SEPARATORS)
        owners = pc.list_parent_indices(lists).to_numpy()
        flat = lists.flatten()
        numbers = _parse(column, flat, rows[owners], file)
        kept = np.flatnonzero(to_mask(numbers.is_valid()))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(owners[kept], minlength=len(lists)))])
        array = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), numbers.take(kept))
    array = array.cast(pa.list_(pa.float32()))
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero((lengths != 0) & (lengths != column.dim))
    if len(wrong):
        raise InputError(
            f"Data row {rows[wrong[0]] + 1} of {file}: column {column.source!r} has "
            f"{lengths[wrong[0]]} numbers, the vector feature {column.name!r} is declared with "
            f"dim={column.dim}. Correct one of the two."
        )
    flat = array.flatten()
    if not to_mask(pc.is_finite(flat)).all():
        owners = np.repeat(np.arange(len(lengths)), lengths)
        at = owners[int(np.argmin(to_mask(pc.is_finite(flat))))]
        raise InputError(
            f"Data row {rows[at] + 1} of {file}: column {column.source!r} has a number that is not "
            "finite. Leave the whole vector empty where there is none."
        )
    return array


def _texts(
    column: DeclaredColumn, array: pa.Array, rows: np.ndarray, file: str, separator: str
) -> pa.Array:
    del rows, separator
    return to_text(array, file, column.source).fill_null("")


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
