"""Plain values (what JSON holds) -> frozen dataclasses, checked.

Imports no TensorFlow.
"""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from recall.errors import InputError

# Fractions as people write them that JSON does not know: `.5`, `5.`, `+.5`.
_OTHER_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def require_setting(condition: bool, key: str, value: Any, wanted: str) -> None:
    """Raises `InputError` that names the key unless the condition holds."""
    if not condition:
        raise InputError(f"Config key `{key}` must be {wanted}, received {value!r}.")


def require_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises `InputError` unless the value is one of the choices."""
    require_setting(value in choices, key, value, "one of " + ", ".join(choices))


def parse_value(text: str) -> Any:
    """JSON text, or a fraction such as `.5` -> value; other text is a string."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return float(text) if _OTHER_FRACTION.fullmatch(text) else text


def parse_utc(text: str) -> float:
    """A date or time in ISO 8601 -> seconds since 1970; without a zone it is UTC.

    >>> parse_utc("1970-01-02"), parse_utc("1970-01-01T01:00:00+00:30")
    (86400.0, 1800.0)

    Raises:
        ValueError: It is none.
    """
    # Python 3.10 knows no "Z".
    time = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def require_time(key: str, text: str | None) -> float | None:
    """The time of a setting in ISO 8601, None where it is not set.

    Raises:
        InputError: It is no time.
    """
    if text is None:
        return None
    try:
        return parse_utc(text)
    except ValueError:
        wanted = "a date or time in ISO 8601, for example 2024-05-06 or 2024-05-06T12:00:00"
        require_setting(False, key, text, wanted)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Text of the error for a key that is not known."""
    return f"Unknown config key `{key}`. Known here: {', '.join(sorted(known))}."


def build_from_values(cls: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Builds a dataclass from plain values.

    Args:
        cls: A dataclass whose fields are scalars, dictionaries, dataclasses, or tuples of these.
        values: Field name -> value; absent fields keep their defaults.
        prefix: Where `values` lies, for error texts: `section.` or nothing.

    Raises:
        InputError: A key is unknown, one without a default is missing, or a value has the
            wrong type.
    """
    if not isinstance(values, Mapping):
        raise InputError(
            f"Config key `{prefix.rstrip('.') or 'config'}` must be an object, received {values!r}."
        )
    hints = {f.name: typing.get_type_hints(cls)[f.name] for f in dataclasses.fields(cls)}
    arguments = {}
    for key, value in values.items():
        if key not in hints:
            raise InputError(unknown_key(prefix + str(key), (prefix + name for name in hints)))
        if dataclasses.is_dataclass(hints[key]):
            arguments[key] = build_from_values(hints[key], value, f"{prefix}{key}.")
        else:
            arguments[key] = _convert(hints[key], value, prefix + key)
    for field in dataclasses.fields(cls):
        default = (field.default, field.default_factory)
        if field.name not in arguments and default == (dataclasses.MISSING, dataclasses.MISSING):
            raise InputError(f"Config key `{prefix}{field.name}` is missing.")
    return cls(**arguments)


def _convert(hint: Any, value: Any, key: str) -> Any:
    """Checks `value` against a scalar, optional, tuple or dict type."""
    if isinstance(hint, types.UnionType):
        inner = next(t for t in typing.get_args(hint) if t is not type(None))
        # `auto` is how people write it; null is how it is kept.
        return None if value in (None, "auto") else _convert(inner, value, key)
    if typing.get_origin(hint) is tuple:
        require_setting(isinstance(value, list | tuple), key, value, "a list")
        inner = typing.get_args(hint)[0]
        if dataclasses.is_dataclass(inner):
            return tuple(
                build_from_values(inner, item, f"{key}[{place}].")
                for place, item in enumerate(value)
            )
        return tuple(_convert(inner, item, key) for item in value)
    if typing.get_origin(hint) is dict:
        require_setting(isinstance(value, Mapping), key, value, "an object")
        kind = typing.get_args(hint)[1]
        return {str(name): _convert(kind, item, f"{key}.{name}") for name, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    correct = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    require_setting(correct, key, value, f"of type {hint.__name__}")
    require_setting(hint is not float or math.isfinite(value), key, value, "a finite number")
    return value
