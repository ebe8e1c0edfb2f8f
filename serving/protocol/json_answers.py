"""Answers as JSON text, made piece by piece.

Imports no TensorFlow. Python's encoder holds the interpreter's lock until it is
done; between pieces other threads run, those of the health checks too.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_PIECE_VALUES = 1000
"""Elements of a list that are encoded in one step where they are plain values."""


def encode_json(document: Mapping[str, Any]) -> bytes:
    """JSON text of an object; NaN and infinities as the tokens TF Serving writes."""
    if not any(isinstance(value, list) and len(value) > 1 for value in document.values()):
        return _encode(document).encode()
    return "".join(_object_pieces(document)).encode()


def _object_pieces(document: Mapping[str, Any]) -> Iterator[str]:
    opening = "{"
    for key, value in document.items():
        yield f"{opening}{_encode(key)}: "
        opening = ", "
        if isinstance(value, list) and value:
            yield from _list_pieces(value)
        else:
            yield _encode(value)
    yield "}"


def _list_pieces(values: list[Any]) -> Iterator[str]:
    """The text of a list: large elements one by one, small ones together."""
    step = 1 if isinstance(values[0], list | dict) and _is_large(values[0]) else _PIECE_VALUES
    opening = "["
    for start in range(0, len(values), step):
        yield opening + _encode(values[start : start + step])[1:-1]
        opening = ", "
    yield "]"


def _is_large(value: list | dict) -> bool:
    """Whether something is in it beside a few plain values."""
    inner = value if isinstance(value, list) else value.values()
    return len(value) > 10 or any(isinstance(one, list | dict) for one in inner)


def _encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
