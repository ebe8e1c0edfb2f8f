"""What a column of a file could be as a feature. Imports no TensorFlow and opens no file."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns import time_texts
from pipelines.sources.columns.column_types import is_text, is_time, to_mask
from recall.feature_columns.attributes import AVAILABLE_FROM, AVAILABLE_UNTIL

_MAX_VALUES = 16
"""Slots that are proposed for several values, at most: what all items have costs each."""
_NUMBERS_SHARE = 0.99
"""Share of the texts that are numbers in a numeric column."""
_FEW_DISTINCT = 20
"""Whole numbers of fewer values are codes rather than amounts."""
_WORDS_OF_TEXT = 3.0
"""Words of a text in the mean, from which on words say more than the whole."""
_SHARE_OF_OWN_VALUES = 0.5
"""Distinct values by filled row, from which on a name says nothing of other rows."""
_SKEWED = 1.0
"""Skewness of amounts, from which on their logarithm is looked at: "highly skewed" (Bulmer,
Principles of Statistics, 1979)."""
_MOST_SKEW_LEFT = 0.5
"""Of that, what may be left in the logarithm; of 1 + x it changes little where x is small."""
_CUT_SHARE = 0.001
"""Of both ends, left out of a skewness: one mistake must not decide."""
_SEPARATOR = "|"
_WITH_COMMA = r"^[+-]?(\d{1,3}([. ]\d{3})+|\d+),\d+$"
"""Amounts as much of Europe writes them."""


class Proposal(NamedTuple):
    """A feature, or why a column is none.

    Attributes:
        name: Of the feature, from that of the column.
        column: Of the file.
        values: `kind` and parameters, as in `FeatureColumn`; {} for none.
        num_rows: Rows of the file.
        num_missing: Those without a value.
        num_distinct: Different values, words or numbers.
        embedding_rows: Rows of the table that it would need.
        reason: Why it is left out; "" where it is not.
        note: Why a parameter is not as without it; "" where all are.
        is_attribute: Whether it is no feature but an attribute, for requests to filter on.
    """

    name: str
    column: str
    values: dict[str, Any]
    num_rows: int
    num_missing: int
    num_distinct: int
    embedding_rows: int = 0
    reason: str = ""
    note: str = ""
    is_attribute: bool = False


def guess(name: str, column: str, array: pa.Array) -> Proposal:
    """Looks at all values of a column.

    Args:
        name: What the feature is to be called.
        column: Of the file, for the proposal.
        array: Its values.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if _is_list(kind):
        look = _look_at_vectors if _is_number(kind.value_type) else _look_at_lists
    elif pa.types.is_boolean(kind):
        array, look = array.cast(pa.string()), _look_at_names
    elif is_time(kind) or _is_number(kind):
        look = _look_at_numbers
    elif is_text(kind):
        array = pc.utf8_trim_whitespace(array.cast(pa.string()))
        array = pc.if_else(pc.equal(array, ""), None, array)
        look = _look_at_texts
    else:
        empty = array.null_count
        return Proposal(name, column, {}, len(array), empty, 0, reason=f"has the type {kind}")
    if array.null_count == len(array):
        return Proposal(name, column, {}, len(array), len(array), 0, reason="is empty")
    return look(name, column, array)


def guess_time(name: str, column: str, array: pa.Array) -> Proposal | None:
    """A column of times as an attribute of items; None where it holds something else.

    Times that are no texts are numbers to a model, so that they are a feature; but for those of
    availability, of which it has nothing to learn.

    Args:
        name: What the attribute is to be called.
        column: Of the file, for the proposal.
        array: Its values.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    is_availability = name in (AVAILABLE_FROM, AVAILABLE_UNTIL)
    if is_text(array.type):
        array = pc.utf8_trim_whitespace(array.cast(pa.string()))
        array = pc.if_else(pc.equal(array, ""), None, array)
        filled = array.drop_null()
        numbers, seconds = time_texts.parse_numbers(filled), time_texts.parse_iso(filled)
        if is_availability:
            seconds = pc.coalesce(seconds, numbers)
        elif numbers.null_count < len(numbers):  # Such as years.
            return None
        if seconds.null_count:
            return None
    elif not (is_availability and (is_time(array.type) or _is_number(array.type))):
        return None
    if array.null_count == len(array):
        return None
    distinct = len(pc.unique(array.drop_null()))
    values = {"kind": "time"}
    return Proposal(name, column, values, len(array), array.null_count, distinct, is_attribute=True)


def _look_at_texts(name: str, column: str, array: pa.Array) -> Proposal:
    """Numbers in text, several names, a text of words, or one name."""
    filled = array.drop_null()
    numbers = to_mask(pc.match_substring_regex(filled, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"))
    if numbers.mean() >= _NUMBERS_SHARE:
        is_number = pc.match_substring_regex(array, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        return _look_at_numbers(
            name, column, pc.if_else(is_number, array, None).cast(pa.float64()), is_text=True
        )
    distinct = pc.count_distinct(filled).as_py()
    with_comma = to_mask(pc.match_substring_regex(filled, _WITH_COMMA)).mean()
    if with_comma >= _NUMBERS_SHARE and distinct > _FEW_DISTINCT:
        reason = f"has numbers with a comma ({filled[0]}): write a point"
        return Proposal(name, column, {}, len(array), array.null_count, distinct, reason=reason)
    if to_mask(pc.match_substring(filled, _SEPARATOR)).any():
        return _look_at_lists(name, column, pc.split_pattern(array, _SEPARATOR))
    words = pc.mean(pc.add(pc.count_substring_regex(filled, r"\s+"), 1)).as_py()
    if words >= _WORDS_OF_TEXT or (
        words > 1.5 and _own_share(filled) > _SHARE_OF_OWN_VALUES  # Such as short titles.
    ):
        return _as_text(name, column, array)
    return _look_at_names(name, column, array)


def _look_at_names(name: str, column: str, array: pa.Array) -> Proposal:
    counts = _counts(array.drop_null())
    facts = (len(array), array.null_count, len(counts))
    if len(counts) == 1:
        return Proposal(name, column, {}, *facts, reason="has one value only")
    kept = int((counts >= 2).sum())
    if kept == 0 or _own_share(array.drop_null()) > _SHARE_OF_OWN_VALUES:
        return Proposal(name, column, {}, *facts, reason="is another one in nearly every row")
    return Proposal(name, column, {"kind": "categorical"}, *facts, kept + 1)


def _look_at_lists(name: str, column: str, array: pa.Array) -> Proposal:
    """Several names of a row."""
    names = pc.utf8_trim_whitespace(array.flatten().cast(pa.string()))
    names = names.filter(pc.fill_null(pc.not_equal(names, ""), False))
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    counts = _counts(names)
    facts = (len(array), int((lengths == 0).sum()), len(counts))
    kept = int((counts >= 2).sum())
    if kept == 0:
        return Proposal(name, column, {}, *facts, reason="has no value that two rows share")
    width = int(min(max(np.quantile(lengths, 0.99), 1), _MAX_VALUES))
    return Proposal(name, column, {"kind": "categorical", "max_values": width}, *facts, kept + 1)


def _look_at_numbers(name: str, column: str, array: pa.Array, *, is_text: bool = False) -> Proposal:
    """Amounts, or codes of few values."""
    is_whole = pa.types.is_integer(array.type)
    filled = array.drop_null()
    if is_time(array.type):
        numbers = filled.cast(pa.timestamp("s"), safe=False).cast(pa.int64()).to_numpy()
    else:
        numbers = filled.cast(pa.float64(), safe=False).to_numpy()
        is_whole = is_whole or bool((numbers == np.round(numbers)).all())
    distinct, counts = np.unique(numbers, return_counts=True)
    facts = (len(array), array.null_count, len(distinct))
    if len(distinct) == 1:
        return Proposal(name, column, {}, *facts, reason="has one value only")
    if is_whole and len(distinct) == len(numbers) and len(numbers) > 1 and not is_time(array.type):
        return Proposal(name, column, {}, *facts, reason="is another one in every row, as an id is")
    if is_whole and len(distinct) <= _FEW_DISTINCT and (is_text or pa.types.is_integer(array.type)):
        rows = int((counts >= 2).sum()) + 1
        return Proposal(name, column, {"kind": "categorical"}, *facts, rows)
    values = {"kind": "numeric"}
    if numbers.min() >= 0 and (skew := _skewness(numbers)) > _SKEWED:
        of_logarithm = _skewness(np.log1p(numbers))
        if abs(of_logarithm) <= _MOST_SKEW_LEFT * skew:
            note = f"skewed: {skew:.1f}, of its logarithm {of_logarithm:.1f}"
            return Proposal(name, column, values | {"scale": "log"}, *facts, note=note)
    return Proposal(name, column, values, *facts)


def _skewness(numbers: np.ndarray) -> float:
    """The third standardised moment, 0 of a symmetric distribution; without the outermost."""
    ends = np.quantile(numbers, [_CUT_SHARE, 1 - _CUT_SHARE], method="inverted_cdf")
    inside = numbers[(numbers >= ends[0]) & (numbers <= ends[1])]
    deviations = inside - inside.mean()
    stddev = deviations.std()
    return float((deviations**3).mean() / stddev**3) if stddev > 0 else 0.0


def _look_at_vectors(name: str, column: str, array: pa.Array) -> Proposal:
    """Numbers of one length are a vector."""
    lengths = pc.list_value_length(array)
    dims = pc.unique(lengths.drop_null().filter(pc.greater(lengths.drop_null(), 0))).to_pylist()
    missing = len(array) - pc.sum(pc.fill_null(pc.greater(lengths, 0), False)).as_py()
    if len(dims) != 1:
        if pa.types.is_integer(array.type.value_type):
            return _look_at_lists(name, column, array)
        reason = "has lists of numbers of different lengths"
        return Proposal(name, column, {}, len(array), missing, 0, reason=reason)
    return Proposal(name, column, {"kind": "vector", "dim": dims[0]}, len(array), missing, 0)


def _as_text(name: str, column: str, array: pa.Array) -> Proposal:
    """Words; the table has some four rows for each word, so that few share one."""
    words = pc.split_pattern_regex(pc.utf8_lower(array.drop_null()), r"[^\pL\pN]+")
    distinct = len(pc.unique(words.flatten()))
    buckets = int(min(max(4 * distinct, 1000), 100_000))
    values = {"kind": "text", "hash_buckets": buckets}
    return Proposal(name, column, values, len(array), array.null_count, distinct, buckets)


def _own_share(filled: pa.Array) -> float:
    """Different values by filled row."""
    return len(pc.unique(filled)) / len(filled)


def _counts(values: pa.Array) -> np.ndarray:
    """`[num_distinct]` how often each value occurs."""
    return pc.value_counts(values).field("counts").to_numpy()


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
