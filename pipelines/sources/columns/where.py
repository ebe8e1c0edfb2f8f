"""`--where`: which rows of a log are events, by the values of a column.

Imports no TensorFlow and opens no file.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.column_types import to_mask, to_text
from recall.errors import InputError

_FORM = re.compile(r"\s*(?P<column>[^=!<>]+?)\s*(?P<sign>!=|==?)\s*(?P<values>.*?)\s*")


class Condition(NamedTuple):
    """One of the conditions a row must meet.

    Attributes:
        column: Name of the column.
        values: Texts it may have; "" stands for a missing value too.
        equal: False turns it round: texts it may not have.
    """

    column: str
    values: tuple[str, ...]
    equal: bool

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Reads `event=purchase|cart` or `event!=view`.

        >>> Condition.parse("event=purchase|cart")
        Condition(column='event', values=('purchase', 'cart'), equal=True)

        Raises:
            InputError: It has another form.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise InputError(
                f"--where={text!r} is no condition. Write column=value, column!=value, or several "
                "values as column=value1|value2."
            )
        values = tuple(value.strip() for value in match["values"].split("|"))
        return cls(match["column"], values, match["sign"] != "!=")

    def holds(self, array: pa.Array, file: str) -> np.ndarray:
        """`[n]` bool, where the condition is met."""
        kind = array.type
        if pa.types.is_floating(kind):
            mask = np.isin(array.fill_null(np.nan).to_numpy(False), self._numbers(file))
        else:
            if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
                array = array.cast(pa.string())
            texts = pc.utf8_trim_whitespace(to_text(array, file, self.column).fill_null(""))
            mask = to_mask(pc.is_in(texts, value_set=pa.array(self.values, pa.string())))
        return mask if self.equal else ~mask

    def _numbers(self, file: str) -> list[float]:
        try:
            return [float(value) for value in self.values]
        except ValueError as error:
            raise InputError(
                f"{file}: column {self.column!r} holds numbers; --where compares it with "
                f"{'|'.join(self.values)!r}. Give numbers."
            ) from error


def parse_conditions(texts: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions of all `--where` flags; commas separate several in one.

    Raises:
        InputError: One has another form.
    """
    return tuple(Condition.parse(part) for text in texts for part in text.split(","))


def find_rows(
    conditions: Sequence[Condition], columns: Mapping[str, pa.Array], file: str
) -> np.ndarray | None:
    """`[n]` bool, the rows that meet all conditions; None where there are none to meet."""
    if not conditions:
        return None
    return np.logical_and.reduce([c.holds(columns[c.column], file) for c in conditions])
