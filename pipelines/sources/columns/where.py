"""`--where`: which rows of a log are events, by the values of a column.

Imports no TensorFlow and opens no file.
"""

import decimal
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.column_types import to_mask, to_text
from recall.errors import InputError

_COMMA, _BAR = re.compile(r"(?<!\\),"), re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([,|])")
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
        r"""Reads `event=purchase|cart` or `event!=view`; `\|` and `\,` are characters of a value.

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
        values = tuple(_ESCAPED.sub(r"\1", value.strip()) for value in _BAR.split(match["values"]))
        return cls(match["column"], values, match["sign"] != "!=")

    def holds(self, array: pa.Array, file: str) -> np.ndarray:
        """`[n]` bool, where the condition is met."""
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        kind = array.type
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            mask = self._holds_numbers(array, file)
        else:
            if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
                array = array.cast(pa.string())
            texts = pc.utf8_trim_whitespace(to_text(array, file, self.column).fill_null(""))
            mask = to_mask(pc.is_in(texts, value_set=pa.array(self.values, pa.string())))
        return mask if self.equal else ~mask

    def _holds_numbers(self, array: pa.Array, file: str) -> np.ndarray:
        """As `holds` before it is turned round, for numbers: 4, 4.0 and 4.00 are one value."""
        mask = np.zeros(len(array), bool)
        if "" in self.values:
            mask |= to_mask(pc.is_null(array, nan_is_null=True))
        given = [value for value in self.values if value]
        try:
            numbers = [decimal.Decimal(value) for value in given]
        except decimal.InvalidOperation as error:
            raise InputError(
                f"{file}: column {self.column!r} holds numbers; --where compares it with "
                f"{'|'.join(given)!r}. Give numbers."
            ) from error
        if pa.types.is_floating(array.type):
            found = array.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
            return mask | np.isin(found, [float(number) for number in numbers])
        for number in numbers:
            try:
                value = pa.scalar(number, array.type)
            except (pa.ArrowInvalid, decimal.InvalidOperation):
                continue  # It has more digits than the column can hold.
            mask |= to_mask(pc.equal(array, value))
        return mask


def parse_conditions(texts: Sequence[str]) -> tuple[Condition, ...]:
    r"""The conditions of all `--where` flags; commas but `\,` separate several in one.

    Raises:
        InputError: One has another form.
    """
    return tuple(Condition.parse(part) for text in texts for part in _COMMA.split(text))


def find_rows(
    conditions: Sequence[Condition], columns: Mapping[str, pa.Array], file: str
) -> np.ndarray | None:
    """`[n]` bool, the rows that meet all conditions; None where there are none to meet."""
    if not conditions:
        return None
    return np.logical_and.reduce([c.holds(columns[c.column], file) for c in conditions])
