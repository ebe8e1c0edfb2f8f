"""Whether the first line of a file names columns, where the user named them himself.

Imports no TensorFlow and opens no file.
"""

import re
from collections.abc import Sequence

_ID_NAME = re.compile(
    r"(user|item|movie|book|song|track|video|game|article|news|product|content|artist|visitor"
    r"|session|customer|client|member|account|reviewer)[ _-]?id"
)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_NAME = re.compile(r"[^\W\d][^\d]*")
"""A name of a column has no digits, at least where a number stands below it."""

MAX_LINES = 10
"""Lines after the first that are looked at."""


def is_header(
    fields: Sequence[str], columns: Sequence[str], later: Sequence[Sequence[str]]
) -> bool:
    """Whether a first line is a header.

    It is where no field is a number and

    1. one is the usual name of an id (`userId`, `item_id`), or all are the names
       that the user gives, whatever their case, or
    2. a name without digits stands over nothing but numbers.

    Args:
        fields: Of the first line, without RecBole's types.
        columns: The names that the user gives, as many.
        later: Fields of the lines after it, as far as they are known.
    """
    names = [field.strip().lower() for field in fields]
    if any(_NUMBER.fullmatch(name) for name in names):
        return False
    if any(map(_ID_NAME.fullmatch, names)) or names == [name.lower() for name in columns]:
        return True
    return any(
        _NAME.fullmatch(name) and _are_numbers([line[at] for line in later if len(line) > at])
        for at, name in enumerate(names)
    )


def _are_numbers(values: Sequence[str]) -> bool:
    return bool(values) and all(map(_NUMBER.fullmatch, values))
