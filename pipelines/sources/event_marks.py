"""What an event is besides who, what and when: its kind, and how much it counts.

Imports no TensorFlow and opens no file.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.sources.columns.column_types import has_text, is_text, to_numbers
from pipelines.sources.columns.time_texts import parse_numbers
from pipelines.sources.event_columns import EventColumns


class Marks(NamedTuple):
    """Kinds and weights of some rows, as far as the log has them.

    Attributes:
        columns: `event_type`, `weight`.
        problems: Why rows cannot be used: a reason, the field, and `[n]` bool.
    """

    columns: dict[str, pa.Array]
    problems: list[tuple[str, str, np.ndarray]]


def read_marks(
    raw: Mapping[str, pa.Array], kinds: pa.DictionaryArray | None, file: str, names: EventColumns
) -> Marks:
    """Checks the kinds and weights of rows.

    Args:
        raw: The columns as they were read.
        kinds: The kinds as a dictionary of texts; None where the log has none.
        file: Where the rows come from, for messages.
        names: Of the columns.

    Raises:
        InputError: A column has a type that cannot be weights.
    """
    columns, problems = {}, []
    if kinds is not None:
        columns["event_type"] = kinds
        codes = kinds.indices.fill_null(len(kinds.dictionary)).to_numpy()
        is_empty = np.append(~has_text(kinds.dictionary), True)[codes]
        problems.append(("an empty kind of event", "event_type", is_empty))
    if "weight" in raw:
        weights = _to_weights(raw["weight"], file, names.weight)
        columns["weight"] = pa.array(weights)
        wrong = ~(np.isfinite(weights) & (weights >= 0))
        problems.append(("a weight must be a number >= 0", "weight", wrong))
    return Marks(columns, problems)


def _to_weights(array: pa.Array, file: str, column: str) -> np.ndarray:
    """`[n]` float64, NaN where there is no number."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_text(array.type):
        array = parse_numbers(array.cast(pa.string()))
    return to_numbers(array, file, column).fill_null(np.nan).to_numpy()
