"""Typed fields of JSON documents: each function reads one, or says what it must be.

Imports neither TensorFlow nor NumPy. All take the field's name, for the error, and its
decoded value; all raise a `ServingError`, INVALID_ARGUMENT.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from serving.protocol.json_document import show
from serving.protocol.status import invalid_argument

if TYPE_CHECKING:
    import numpy as np


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


def _expect(holds: bool, name: str, what: str, value: Any) -> None:
    """Refuses a value that is not what its field must be."""
    if not holds:
        raise invalid_argument(f"`{name}` must be {what}, received {show(value)}.")


def read_id(name: str, value: Any) -> str:
    """A raw id or another text among many. Numbers are refused: "007" and 7 are different ids."""
    _expect(isinstance(value, str), name, 'a string such as "12"', value)
    return value


def read_texts(name: str, values: Any) -> tuple[str, ...]:
    """A list of texts, each as `read_id`."""
    _expect(isinstance(values, list), name, "a list of strings", values)
    if set(map(type, values)) <= {str}:
        return tuple(values)
    return tuple(read_id(f"{name}[{position}]", value) for position, value in enumerate(values))


def read_restriction(name: str, values: Any) -> tuple[str, ...]:
    """A list that leaves everything else out; an empty one can only be a mistake."""
    texts = read_texts(name, values)
    if not texts:
        raise invalid_argument(f"`{name}` is empty and allows nothing. Leave the key out.")
    return texts


def read_text(name: str, value: Any) -> str:
    """A text."""
    _expect(isinstance(value, str), name, "a string", value)
    return value


def read_integer(name: str, value: Any) -> int:
    """A whole number; true is none, and 20.0 is 20, as in JSON Schema."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    is_integer = is_integer or (isinstance(value, float) and value.is_integer())
    _expect(is_integer, name, "an integer", value)
    return int(value)


def read_boolean(name: str, value: Any) -> bool:
    """True or false; 1 is neither."""
    _expect(isinstance(value, bool), name, "true or false", value)
    return value


def read_number(name: str, value: Any) -> float:
    """A number, also one that JSON writes without a point."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    _expect(is_number, name, "a number", value)
    try:
        return float(value)
    except OverflowError as error:
        raise invalid_argument(f"`{name}` is too large: {show(value)}.") from error


def read_positive(name: str, value: Any) -> float:
    """A number larger than 0."""
    number = read_number(name, value)
    _expect(number > 0, name, "larger than 0", value)
    return number


def read_numbers(name: str, values: Any) -> tuple[float, ...]:
    """A list of numbers."""
    _expect(isinstance(values, list), name, "a list of numbers", values)
    if set(map(type, values)) <= {float}:
        return tuple(values)
    return tuple(read_number(f"{name}[{i}]", value) for i, value in enumerate(values))


def read_values(name: str, values: Any) -> dict[str, Any]:
    """Names with a text, a number, or a list of either; null says nothing, in a list too."""
    wanted = "an object of texts, numbers, or lists of either"
    _expect(isinstance(values, dict), name, wanted, values)
    given = {key: value for key, value in values.items() if value is not None}
    for key, value in given.items():
        listed = value if isinstance(value, list) else [value]
        fits = all(one is None or isinstance(one, str | bool | int | float) for one in listed)
        _expect(fits, f"{name}.{key}", "a text, a number, or a list of either", value)
    return given


def read_vectors(name: str, values: Any) -> "np.ndarray":
    """A list of lists of numbers, all of one length."""
    import numpy as np  # Servers alone read vectors.

    is_filled = isinstance(values, list) and bool(values)
    _expect(is_filled, name, "a list of vectors, one per interest", values)
    rows = [read_numbers(f"{name}[{i}]", row) for i, row in enumerate(values)]
    if len({len(row) for row in rows}) > 1:
        raise invalid_argument(f"The vectors of `{name}` differ in length.")
    with np.errstate(over="ignore"):  # Infinity is refused by the service, with a reason.
        return np.array(rows, dtype=np.float32)
