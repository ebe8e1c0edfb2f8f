"""Typed fields of JSON documents: each function reads one, or says what it must be.

Imports no TensorFlow. All take the field's name, for the error, and its
decoded value; all raise a `ServingError`, INVALID_ARGUMENT.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from serving.json_document import show
from serving.status import invalid_argument


def check_object(name: str, value: Any, keys: Iterable[str]) -> None:
    """Refuses what is no object, or has keys beside these.

    Args:
        name: What it is, for example `A request`; starts a sentence.
        value: Decoded.
        keys: All there may be.
    """
    if not isinstance(value, Mapping):
        raise invalid_argument(f"{name} must be an object, received {show(value)}.")
    unknown = sorted(set(value) - set(keys))
    if unknown:
        raise invalid_argument(
            f"Unknown key `{unknown[0]}`. {name} has the keys {', '.join(keys)}."
        )


def read_id(name: str, value: Any) -> str:
    """A raw id or another text among many. Numbers are refused: "007" and 7 are different ids."""
    if not isinstance(value, str):
        raise invalid_argument(f'`{name}` must be a string such as "12", received {show(value)}.')
    return value


def read_texts(name: str, values: Any) -> tuple[str, ...]:
    """A list of texts, each as `read_id`."""
    if not isinstance(values, list):
        raise invalid_argument(f"`{name}` must be a list of strings, received {show(values)}.")
    return tuple(read_id(f"{name}[{position}]", value) for position, value in enumerate(values))


def read_restriction(name: str, values: Any) -> tuple[str, ...]:
    """A list that leaves everything else out; an empty one can only be a mistake."""
    texts = read_texts(name, values)
    if not texts:
        raise invalid_argument(f"`{name}` is empty and allows nothing. Leave the key out.")
    return texts


def read_text(name: str, value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise invalid_argument(f"`{name}` must be a string, received {show(value)}.")
    return value


def read_integer(name: str, value: Any) -> int:
    """A whole number; true is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_argument(f"`{name}` must be an integer, received {show(value)}.")
    return value


def read_boolean(name: str, value: Any) -> bool:
    """True or false; 1 is neither."""
    if not isinstance(value, bool):
        raise invalid_argument(f"`{name}` must be true or false, received {show(value)}.")
    return value


def read_number(name: str, value: Any) -> float:
    """A number, also one that JSON writes without a point."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid_argument(f"`{name}` must be a number, received {show(value)}.")
    try:
        return float(value)
    except OverflowError as error:
        raise invalid_argument(f"`{name}` is too large: {show(value)}.") from error


def read_positive(name: str, value: Any) -> float:
    """A number larger than 0."""
    number = read_number(name, value)
    if not number > 0:
        raise invalid_argument(f"`{name}` must be larger than 0, received {show(value)}.")
    return number


def read_numbers(name: str, values: Any) -> tuple[float, ...]:
    """A list of numbers."""
    if not isinstance(values, list):
        raise invalid_argument(f"`{name}` must be a list of numbers, received {show(values)}.")
    return tuple(read_number(f"{name}[{i}]", value) for i, value in enumerate(values))


def read_vectors(name: str, values: Any) -> np.ndarray:
    """A list of lists of numbers, all of one length."""
    if not isinstance(values, list) or not values:
        raise invalid_argument(
            f"`{name}` must be a list of vectors, one per interest, received {show(values)}."
        )
    rows = [read_numbers(f"{name}[{i}]", row) for i, row in enumerate(values)]
    if len({len(row) for row in rows}) > 1:
        raise invalid_argument(f"The vectors of `{name}` differ in length.")
    with np.errstate(over="ignore"):  # Infinity is refused by the service, with a reason.
        return np.array(rows, dtype=np.float32)
