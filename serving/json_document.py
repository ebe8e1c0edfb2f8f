"""JSON requests, decoded within limits.

Imports no TensorFlow. Python's decoder would read any depth until its stack
is used up; here the depth is counted first, without recursion.
"""

import json
import re
from typing import Any

from serving.status import invalid_argument

MAX_DEPTH = 64
"""Deepest nesting of a request: numpy's largest number of dimensions, doubled.
Decoders without a limit can be crashed with deep nesting (CVE-2025-0649)."""

_SHOWN_CHARACTERS = 100
_STRINGS_AND_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse_json(body: bytes) -> dict[str, Any]:
    """Decodes a request; NaN, Infinity and -Infinity are numbers.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no JSON object, or is nested too
            deeply.
    """
    if not body.strip():
        raise invalid_argument("JSON Parse error: The document is empty")
    _check_depth(body)
    try:
        document = json.loads(body.decode())
        if b"\\u" in body:
            # Python accepts half a surrogate pair in an escape; UTF-8 cannot hold it.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {show(document)} Is not object")
    return document


def _check_depth(body: bytes) -> None:
    """Counts brackets outside of strings, without recursion."""
    depth = 0
    for match in _STRINGS_AND_BRACKETS.finditer(body):
        character = match.group()[:1]
        if character in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise invalid_argument(
                    f"JSON Parse error: nested deeper than {MAX_DEPTH} levels at offset: "
                    f"{match.start()}"
                )
        elif character in b"]}":
            depth -= 1


def show(value: Any) -> str:
    """A JSON value for an error text, cut short.

    >>> show({"a": [1.5, None]})
    '{"a": [1.5, null]}'
    """
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def json_type(value: Any) -> str:
    """The name TF Serving gives the type of a JSON value."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    names = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")
