"""How a field of a recall request is declared: once, for doors, limits and flags.

Imports neither TensorFlow nor NumPy. The fields are in `recall_request`; their JSON keys are
read in `recall_json`, their tensors in `recall_tensors`, what is too large is
refused in `recall_limits`, and `recall query` makes flags of them.
"""

import dataclasses
import enum
import numbers
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from recall.errors import InputError
from serving.api import conditions
from serving.protocol.json_document import in_one_line


class Kind(enum.Enum):
    """What the values of a field are; doors, limits and flags have a row for each."""

    TEXTS = "ids or names"
    NUMBERS = "numbers"
    VECTORS = "rows of numbers"
    TEXT = "a text"
    INTEGER = "a whole number >= 1; None, where that is the default, says nothing"
    NUMBER = "a number >= 0"
    SWITCH = "true or false"
    VALUES = "names with a text, a number, or a list of either"
    CONDITIONS = "what attributes of items must be"
    BOOSTS = "conditions, and how the scores of items that fulfil them change"

    @property
    def is_document(self) -> bool:
        """Whether tensors and flags have its values as JSON in a text."""
        return self in (Kind.VALUES, Kind.CONDITIONS, Kind.BOOSTS)


class RequestFlag(NamedTuple):
    """The flag of `recall query` that gives a field, of the field's name.

    Attributes:
        help: One or two sentences for a newcomer.
        value: Placeholder of the value in the help; "" for a switch.
        after: The flag it follows in the help; "" leaves it in the order of
            the fields.
    """

    help: str
    value: str = ""
    after: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One field of a request.

    Attributes:
        kind: What its values are.
        name: Of the field and of its JSON key.
        default: What stands for it where it is not given.
        input_name: Name of its tensor; "" is that of the field.
        is_subject: Whether it says who or what is asked about. Every subject
            has a signature, of which it is the required input.
        subject: The subject that it belongs to; "" is all of them.
        limit: The field of `RecallLimits` that bounds its size or, of a
            number, its value; "" for none.
        text: What one of its texts is, for errors.
        is_restriction: Whether all that its texts do not name is left out, so
            that an empty list can only be a mistake.
        choices: All values that a text may have; () for any.
        flag: Its flag of `recall query`, None for none.
    """

    kind: Kind
    name: str = ""
    default: Any = None
    input_name: str = ""
    is_subject: bool = False
    subject: str = ""
    limit: str = ""
    text: str = "an item id"
    is_restriction: bool = False
    choices: tuple[str, ...] = ()
    flag: RequestFlag | None = None

    def is_given(self, request: Any) -> bool:
        """Whether a request says something else than the default."""
        value = getattr(request, self.name)
        # An array compares element by element.
        return value is not None if self.default is None else value != self.default


def declare(default: Any, kind: Kind, **spec: Any) -> Any:
    """A field of a dataclass of requests.

    Args:
        default: What stands for it where it is not given.
        kind: What its values are.
        **spec: Other attributes of `FieldSpec`.
    """
    declared = FieldSpec(kind=kind, default=default, **spec)
    return dataclasses.field(default=default, metadata={"spec": declared})


def specs_of(of: type) -> tuple[Any, ...]:
    """What is declared of the fields of a dataclass, in their order, with their names."""
    return tuple(
        dataclasses.replace(
            field.metadata["spec"],
            name=field.name,
            input_name=field.metadata["spec"].input_name or field.name,
        )
        for field in dataclasses.fields(of)
    )


def read_value(name: str, kind: Kind, value: Any) -> Any:
    """An argument of a program as a request holds it: tuples for lists, plain numbers.

    Args:
        name: Of the argument, for errors.
        kind: What is wanted.
        value: Of the caller.

    Raises:
        InputError: It is of another kind.

    >>> read_value("history", Kind.TEXTS, ["i3", 7, b"i9"])
    ('i3', '7', 'i9')
    >>> read_value("k", Kind.INTEGER, "5")
    Traceback (most recent call last):
    recall.errors.InputError: `k` must be a whole number, received '5'.
    """
    words, read = _READERS[kind]
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError) and kind in (Kind.CONDITIONS, Kind.BOOSTS):
            raise  # It says more.
        raise InputError(f"`{name}` must be {words}, received {in_one_line(value)}.") from error


def _read_texts(value: Any) -> tuple[str, ...]:
    # The letters of a text are no ids, although Python lists them.
    if isinstance(value, str | bytes):
        raise TypeError
    return tuple(map(_read_id, value))


def _read_id(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):  # As the ids of an answer are.
        return value.decode()
    # `None` and 12.0 have a text too, which is nobody's id.
    if isinstance(value, bool):
        raise TypeError
    return str(operator.index(value))


def _read_vectors(value: Any) -> list[list[float]]:
    # Here, as `recall query --help` needs no messages.
    from serving.protocol import plain_tensors, predict_messages_pb2

    tensor = plain_tensors.build("vectors", value, predict_messages_pb2.DT_FLOAT)
    if len(tensor.shape) != 2:
        raise ValueError
    return tensor.to_lists()


def _read_number(value: Any) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError
    return float(value)


def _read_integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _read_values(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {str(name): read_plain(one) for name, one in value.items() if one is not None}


def read_plain(value: Any) -> Any:
    """A text, a number or a list of either, as JSON can hold it; None in a list is no value.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Real):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError
    listed = [None if one is None else read_plain(one) for one in value]
    if any(isinstance(one, list) for one in listed):
        raise TypeError
    return listed


def _read_switch(value: Any) -> bool:
    # NumPy's is no bool.
    if not isinstance(value, bool) and str(getattr(value, "dtype", "")) != "bool":
        raise TypeError
    return bool(value)


_READERS: dict[Kind, tuple[str, Callable[[Any], Any]]] = {
    Kind.TEXTS: ("a list of texts", _read_texts),
    Kind.NUMBERS: ("a list of numbers", lambda value: tuple(map(_read_number, value))),
    Kind.VECTORS: ("rows of numbers, `[num_interests, dim]`", _read_vectors),
    Kind.TEXT: ("a text", _read_text),
    Kind.INTEGER: ("a whole number", _read_integer),
    Kind.NUMBER: ("a number", _read_number),
    Kind.SWITCH: ("True or False", _read_switch),
    Kind.VALUES: ("a mapping of names to texts, numbers, or lists of either", _read_values),
    Kind.CONDITIONS: ("an object", lambda value: conditions.read_where("where", value)),
    Kind.BOOSTS: ("a list", lambda value: conditions.read_boosts("boosts", value)),
}
