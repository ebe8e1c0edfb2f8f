"""`where` and `boosts` of a request: what items must be, and which scores change by it.

Imports neither TensorFlow nor NumPy. What a condition looks like is said here; whether the
release has such an attribute, and of which kind, the service knows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from recall.errors import InputError
from serving.protocol.json_document import in_one_line

Value = str | float | int | bool
"""One value of an attribute, as JSON has it."""

_RANGE_KEYS = ("min", "max")
_BOOST_KEYS = ("where", "multiply", "add")

_CONDITION = (
    'a value (equal), a list of values (any of them), or a range such as {"min": 5, "max": 20}'
)


class ItemCondition(NamedTuple):
    """What one attribute of an item must be.

    Attributes:
        attribute: Its name.
        any_of: Values, one of which the item must have; None for a range.
        least: Lower end of a range, which belongs to it; None for no end.
        most: Upper end, as `least`.
    """

    attribute: str
    any_of: tuple[Value, ...] | None = None
    least: Value | None = None
    most: Value | None = None


class UnknownValue(NamedTuple):
    """What a condition asks for and no item has.

    Attributes:
        attribute: Its name.
        value: A name; how it is written counts, upper and lower case too.
    """

    attribute: str
    value: str


class Boost(NamedTuple):
    """How the scores of some items change: times `multiply`, plus `add`.

    Attributes:
        where: Conditions, all of which such an item fulfils.
        multiply: Larger than 0.
        add: Any finite number.
    """

    where: tuple[ItemCondition, ...]
    multiply: float = 1.0
    add: float = 0.0


def read_where(name: str, value: Any) -> dict[str, Any]:
    """Conditions as a request holds them: plain values, of the form that JSON has.

    Args:
        name: Of the field, for errors.
        value: Of a caller.

    Raises:
        InputError: It is of another form.

    >>> read_where("where", {"brand": ("acme", "apex"), "price": {"max": 20}, "size": None})
    {'brand': ['acme', 'apex'], 'price': {'max': 20}}
    """
    if not isinstance(value, Mapping):
        raise InputError(
            f"`{name}` must be an object of attributes, each with {_CONDITION}, received "
            f"{in_one_line(value)}."
        )
    return {
        str(attribute): _read_condition(f"{name}.{attribute}", condition)
        for attribute, condition in value.items()
        if condition is not None
    }


def read_boosts(name: str, value: Any) -> tuple[dict[str, Any], ...]:
    """Boosts as a request holds them; arguments and errors are those of `read_where`.

    >>> read_boosts("boosts", [{"where": {"brand": "acme"}, "add": 0.1}])
    ({'where': {'brand': 'acme'}, 'add': 0.1},)
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InputError(f"`{name}` must be a list of objects, received {in_one_line(value)}.")
    return tuple(_read_boost(f"{name}[{place}]", boost) for place, boost in enumerate(value))


def conditions_of(where: Mapping[str, Any] | None) -> tuple[ItemCondition, ...]:
    """What `read_where` has read, one condition for each attribute."""
    found = []
    for attribute, condition in (where or {}).items():
        if isinstance(condition, Mapping):
            found.append(ItemCondition(attribute, None, *map(condition.get, _RANGE_KEYS)))
        else:
            listed = condition if isinstance(condition, list) else [condition]
            found.append(ItemCondition(attribute, tuple(listed)))
    return tuple(found)


def boosts_of(boosts: Sequence[Mapping[str, Any]]) -> tuple[Boost, ...]:
    """What `read_boosts` has read."""
    return tuple(
        Boost(conditions_of(b["where"]), b.get("multiply", 1.0), b.get("add", 0.0)) for b in boosts
    )


def describe_unknown(values: Sequence[UnknownValue]) -> str:
    """One line for people about names that no item has.

    >>> describe_unknown([UnknownValue("shop", "nroth"), UnknownValue("brand", "Acme")])
    "No item has the shop 'nroth', the brand 'Acme': they count for nothing. Look how they are \
written, upper and lower case count."
    """
    names = ", ".join(f"the {attribute} {in_one_line(value)}" for attribute, value in values)
    them = "they count" if len(values) > 1 else "it counts"
    are = "they are" if len(values) > 1 else "it is"
    return (
        f"No item has {names}: {them} for nothing. Look how {are} written, upper and lower case "
        "count."
    )


def _read_condition(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        ends = {key: end for key, end in value.items() if end is not None}
        if not ends or set(ends) - set(_RANGE_KEYS):
            raise _no_condition(name, value)
        return {key: _read_value(name, ends[key]) for key in _RANGE_KEYS if key in ends}
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return _read_value(name, value)
    listed = [_read_value(name, one) for one in value]
    if not listed:
        raise InputError(f"`{name}` is empty and allows nothing. Leave it out.")
    return listed


def _read_value(name: str, value: Any) -> Value:
    value = value.item() if hasattr(value, "item") else value  # NumPy's numbers are no float.
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise _no_condition(name, value)


def _no_condition(name: str, value: Any) -> InputError:
    return InputError(f"`{name}` must be {_CONDITION}, received {in_one_line(value)}.")


def _read_boost(name: str, value: Any) -> dict[str, Any]:
    is_boost = isinstance(value, Mapping) and not set(value) - set(_BOOST_KEYS)
    if not is_boost or "where" not in value or len(value) < 2:
        raise InputError(
            f"`{name}` must be an object with `where`, and `multiply`, `add` or both, received "
            f"{in_one_line(value)}."
        )
    boost = {"where": read_where(f"{name}.where", value["where"])}
    for key in _BOOST_KEYS[1:]:
        if key in value:
            boost[key] = _read_factor(f"{name}.{key}", value[key])
    return boost


def _read_factor(name: str, value: Any) -> float:
    value = value.item() if hasattr(value, "item") else value
    try:
        if not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except (TypeError, OverflowError):
        pass
    raise InputError(f"`{name}` must be a finite number, received {in_one_line(value)}.")
