"""JSON requests, decoded within limits.

Imports neither TensorFlow nor NumPy. What decoding costs, and how long it keeps other threads
waiting (Python's decoder is one step that holds the interpreter's lock), is a
matter of the number of values, so that is bounded before decoding.
"""

import json
import re
from typing import Any

from serving.protocol.call import current
from serving.protocol.status import ServingError, invalid_argument

MAX_DEPTH = 64
"""Deepest nesting of a request: numpy's largest number of dimensions, doubled.
Decoders without a limit can be crashed with deep nesting (CVE-2025-0649)."""

MAX_VALUES = 1 << 18
"""Commas of a request, and opening brackets: 512 histories of 500 items, or 512 users' vectors
of 4 times 128 numbers. Decoding as many takes at most 30 ms."""

_OBJECT_BYTES = 64
"""An empty list and its place in another; a short text takes as much, a number half."""

_SLICE_BYTES = 1 << 20

_SHOWN_CHARACTERS = 100

_SURROGATE_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(body: bytes) -> dict[str, Any]:
    """Decodes a request; NaN, Infinity and -Infinity are numbers.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no JSON object, is nested too
            deeply or has too many values; what `Call.check` raises, between
            the steps.
    """
    if not body.strip():
        raise invalid_argument("JSON Parse error: The document is empty")
    _check_number_of_values(body)
    try:
        document = json.loads(body.decode())
        current().check()
        check_escapes(document, body)
    except RecursionError as error:  # The decoder counts to a thousand, then stops.
        raise _too_deep() from error
    except ValueError as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    _check_depth(document, body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {show(document)} Is not object")
    current().check()
    return document


def check_escapes(document: Any, body: bytes) -> None:
    """Refuses half a surrogate pair in an escape: Python accepts it, UTF-8 cannot hold it.

    Args:
        document: What was decoded.
        body: Of this JSON.

    Raises:
        ValueError: There is one.
    """
    if _SURROGATE.search(_SURROGATE_PAIR.sub(b"", body)):
        json.dumps(document, ensure_ascii=False).encode()


def count_values(body: bytes) -> tuple[int, int]:
    """Commas and opening brackets: what stands before values, and in texts means nothing."""
    import numpy as np  # Servers alone count: six times as fast as `bytes.count`.

    commas = brackets = 0
    for start in range(0, len(body), _SLICE_BYTES):
        characters = np.frombuffer(body, np.uint8, min(_SLICE_BYTES, len(body) - start), start)
        commas += int(np.count_nonzero(characters == ord(",")))
        brackets += int(np.count_nonzero(characters == ord("[")))
        brackets += int(np.count_nonzero(characters == ord("{")))
        if max(commas, brackets) > MAX_VALUES:
            break
    return commas, brackets


def decoded_bytes(body: bytes) -> int:
    """About what the objects of a body take beside their text, at most `MAX_VALUES` of each."""
    return _OBJECT_BYTES * sum(min(count, MAX_VALUES) for count in count_values(body))


def _check_number_of_values(body: bytes) -> None:
    if len(body) > MAX_VALUES and max(count_values(body)) > MAX_VALUES:
        raise invalid_argument(
            f"JSON Parse error: more than {MAX_VALUES} values (commas and opening brackets "
            "are counted). Send fewer in one request."
        )


def _check_depth(document: Any, body: bytes) -> None:
    """Looks at one level after the other, without recursion."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            value
            for container in level
            if type(container) in (list, dict)
            for value in (container if type(container) is list else container.values())
        ]
        if not level:
            return
    if any(type(value) in (list, dict) for value in level):
        raise _too_deep()


def _too_deep() -> ServingError:
    return invalid_argument(f"JSON Parse error: nested deeper than {MAX_DEPTH} levels")


def show(value: Any) -> str:
    """A JSON value for an error text, cut short.

    >>> show({"a": [1.5, None]})
    '{"a": [1.5, null]}'
    """
    text = ""
    for part in json.JSONEncoder().iterencode(value):
        text += part
        if len(text) > _SHOWN_CHARACTERS:
            return text[:_SHOWN_CHARACTERS] + "..."
    return text


def in_one_line(value: Any) -> str:
    """A value of a program in an error text, as `show` has one of JSON.

    >>> in_one_line([1, None])
    '[1, None]'
    """
    return f"{' '.join(repr(value).split()):.200}"


def json_type(value: Any) -> str:
    """The name TF Serving gives the type of a JSON value."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    names = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")
