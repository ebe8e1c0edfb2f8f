"""Arrays of JSON's nested lists, and numbers for JSON, without a step of Python per value.

Imports no TensorFlow.
"""

import itertools
from typing import Any

import numpy as np

_PIECE = 1 << 13
"""Numbers turned into text in one step, which other threads wait for."""


def from_lists(value: Any, shape: tuple[int, ...], dtype: type) -> np.ndarray | None:
    """The array of nested lists, where all is as it must be.

    Args:
        value: Decoded JSON, at least one list.
        shape: Of the array.
        dtype: Of the array; `object` for strings.

    Returns:
        None where lists differ in length, a value has another type or would
        lose something: whoever looks at them one by one can say which.
    """
    if not shape:
        return None
    leaves = [value]
    for length in shape:
        if set(map(type, leaves)) != {list} or set(map(len, leaves)) != {length}:
            return None
        leaves = list(itertools.chain.from_iterable(leaves))
    array = _from_leaves(leaves, set(map(type, leaves)), np.dtype(dtype))
    return None if array is None else array.reshape(shape)


def _from_leaves(leaves: list[Any], types: set[type], dtype: np.dtype) -> np.ndarray | None:
    """`[n]` values of one type, None where one does not fit."""
    if dtype.kind == "O" and types == {str}:
        array = np.empty(len(leaves), dtype=object)
        array[:] = [text.encode() for text in leaves]
        return array
    if dtype.kind == "b" and types == {bool}:
        return np.array(leaves, dtype)
    if dtype.kind in "iu" and types == {int}:
        limits = np.iinfo(dtype)
        fits = limits.min <= min(leaves) and max(leaves) <= limits.max
        return np.array(leaves, dtype) if fits else None
    if dtype.kind == "f" and types == {float}:
        array = np.array(leaves, np.float64)
        largest = float(np.finfo(dtype).max)
        fits = bool(np.all(~np.isfinite(array) | (np.abs(array) <= largest)))
        return array.astype(dtype) if fits else None
    return None


def is_lossless(value: int | float, dtype: np.dtype) -> bool:
    """Whether a number is in the range of a float type, integers exactly."""
    if isinstance(value, int):
        return abs(value) < 2 ** (np.finfo(dtype).nmant + 1)
    return not np.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)


def shortest_floats(array: np.ndarray) -> np.ndarray:
    """float64 of the shortest text that gives the same float32: 0.2, not 0.20000000298."""
    flat = array.reshape(-1)
    pieces = [
        flat[start : start + _PIECE].astype(np.str_).astype(np.float64)
        for start in range(0, len(flat), _PIECE)
    ]
    return (np.concatenate(pieces) if pieces else flat.astype(np.float64)).reshape(array.shape)
