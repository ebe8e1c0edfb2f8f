"""Attributes of items: columns that requests filter on, and that no model looks at.

Imports no TensorFlow. Features of items of the kinds `categorical` and `numeric` are
attributes too (`declaration.attributes_of`).
"""

import dataclasses
import math
import re
import typing
from typing import Any

from recall.plain_values import parse_utc, require_choice, require_setting

NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
"""What can be the name of a tensor, a key of JSON and a column of SQL."""

TAKEN_NAMES = ("item_id", "item_ids", "user_id", "examples", "title", "vector", "fingerprint")
"""Names of other inputs and outputs of the towers and of live items."""

CATEGORY_NAMES = "categories"
"""An attribute of every release: the categories that every item may have."""

AVAILABLE_FROM, AVAILABLE_UNTIL = "available_from", "available_until"
"""Attributes that no request names: outside of these times an item is in no answer."""

_TAKEN = (*TAKEN_NAMES, CATEGORY_NAMES)


@dataclasses.dataclass(frozen=True)
class ItemAttribute:
    """A column of the items file that is kept with the release for requests.

    An item may have several categorical values: in a text with `|` between, or as a list.
    """

    name: str
    """Letters, digits and `_`: the name in requests and in live items."""
    kind: str = "categorical"
    """`categorical`, `numeric`, or `time`: seconds since 1970, or ISO 8601."""
    column: str | None = None
    """Column of the file, where it has another name."""

    KINDS: typing.ClassVar = ("categorical", "numeric", "time")
    has_several_values: typing.ClassVar = True
    max_values: typing.ClassVar = None

    def __post_init__(self):
        key = f"features.attributes[{self.name}]"
        wanted = "letters, digits and _, a letter first, at most 63 of them"
        require_setting(
            bool(NAME_PATTERN.fullmatch(self.name)), "features.attributes.name", self.name, wanted
        )
        require_setting(self.name not in _TAKEN, key, self.name, "another name, it is taken")
        require_choice(f"{key}.kind", self.kind, self.KINDS)
        require_setting(self.column != "", f"{key}.column", self.column, "a name, or left out")
        is_time = self.name in (AVAILABLE_FROM, AVAILABLE_UNTIL)
        wanted = "time or numeric: it says when an item may be in an answer"
        require_setting(not is_time or self.is_ordered, f"{key}.kind", self.kind, wanted)

    @property
    def source(self) -> str:
        """Name of the column in the file."""
        return self.column or self.name

    @property
    def is_ordered(self) -> bool:
        """Whether its values are numbers."""
        return self.kind != "categorical"

    @property
    def wanted(self) -> str:
        """What one of its values must be, for errors."""
        words = {"categorical": "a text", "numeric": "a finite number"}
        return words.get(self.kind, "a time: seconds since 1970, or ISO 8601")

    def read(self, value: Any) -> str | float:
        """One value that somebody gives.

        >>> ItemAttribute("since", "time").read("1970-01-02")
        86400.0

        Raises:
            ValueError: It is of another kind.
        """
        if not self.is_ordered:
            if isinstance(value, bool):  # As Arrow writes a truth value of an items file.
                return str(value).lower()
            if isinstance(value, str | int):
                return str(value).strip()
            raise ValueError(self.wanted)
        if self.kind == "time" and isinstance(value, str):
            return parse_utc(value)
        if self.kind == "time" and isinstance(value, bool):  # For Python the number 1 or 0.
            raise ValueError(self.wanted)
        try:
            number = float(value) if isinstance(value, int | float) else math.nan
        except OverflowError:  # An integer of hundreds of digits.
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(self.wanted)
        return number

    def read_all(self, value: Any) -> list[str] | float | None:
        """All that is said of one item; None where that is nothing.

        Raises:
            ValueError: It is of another kind.
        """
        if self.is_ordered:
            return self.read(value)
        names = value if isinstance(value, list | tuple) else [value]
        return [name for name in map(self.read, names) if name] or None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: v for name, v in dataclasses.asdict(self).items() if v is not None}
