"""Texts as times: numbers, ISO 8601, and any form that strptime reads.

Pure functions over Arrow arrays. A text without an offset is in UTC. Imports no
TensorFlow and opens no file.
"""

import datetime
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.column_types import to_mask
from recall.errors import InputError

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_OFFSET = r"(Z|[+-]\d\d(:?\d\d)?)$"
_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?( ?UTC| ?Z| ?[+-]\d\d(:?\d\d)?)?)?$"
_BASIC = r"^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)"
"""ISO 8601 without dashes and colons, to the minute; a day by itself (20140407) is a number."""
_DAY_LENGTH = len("2014-04-07")
_MICROSECONDS = 1e6
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def parse_numbers(array: pa.StringArray) -> pa.DoubleArray:
    """Texts as float64, null where a text is no number."""
    try:
        return array.cast(pa.float64())
    except pa.ArrowInvalid:
        numbers = pc.if_else(pc.match_substring_regex(array, _NUMBER), array, None)
        return pc.utf8_trim_whitespace(numbers).cast(pa.float64())


class IsoTimes(NamedTuple):
    """Texts read as ISO 8601.

    Attributes:
        seconds: `[n]` float64, null where a text is none.
        has_zone: `[n]` bool, whether a time says its zone.
        is_day: `[n]` bool, whether a text is a day without a time.
    """

    seconds: pa.DoubleArray
    has_zone: np.ndarray
    is_day: np.ndarray


def parse_iso(array: pa.StringArray) -> pa.DoubleArray:
    """ISO 8601 dates and times as float64 seconds, null where a text is none.

    >>> parse_iso(pa.array(["1970-01-02", "1970-01-01T02:00:00.5+02:00", "x"])).to_pylist()
    [86400.0, 0.5, None]
    """
    return read_iso(array).seconds


def read_iso(array: pa.StringArray) -> IsoTimes:
    """As `parse_iso`, with what each text says."""
    none = np.zeros(len(array), bool)
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:  # Quick where all texts are alike, as a program writes them.
            seconds = _to_seconds(array.cast(kind))
        except pa.ArrowInvalid:
            continue
        return IsoTimes(seconds, ~none, none) if kind.tz else IsoTimes(seconds, none, _days(array))
    texts = pc.utf8_trim_whitespace(array)
    texts = pc.replace_substring_regex(texts, _BASIC + r"(\d\d)", r"\1-\2-\3T\4:\5:\6")
    texts = pc.replace_substring_regex(texts, _BASIC, r"\1-\2-\3T\4:\5")
    texts = pc.if_else(pc.match_substring_regex(texts, _ISO), texts, None)
    texts = pc.replace_substring_regex(texts, r" ?(UTC|Z)$", "Z")
    texts = pc.replace_substring_regex(texts, r" ([+-][\d:]+)$", r"\1")
    texts = pc.replace_substring_regex(texts, r"[.,](\d{1,6})\d*", r".\1")
    is_date = pc.equal(pc.utf8_length(texts), _DAY_LENGTH)
    is_day = to_mask(is_date)
    texts = pc.if_else(is_date, pc.binary_join_element_wise(texts, "T00:00", ""), texts)
    has_offset = pc.match_substring_regex(texts, _OFFSET)
    texts = pc.if_else(has_offset, texts, pc.binary_join_element_wise(texts, "Z", ""))
    try:
        seconds = _to_seconds(texts.cast(pa.timestamp("us", "UTC")))
    except pa.ArrowInvalid:  # A day that does not exist, such as 2014-02-30.
        seconds = _parse_distinct(_strict_iso(texts), datetime.datetime.fromisoformat)
    return IsoTimes(seconds, to_mask(has_offset) & ~is_day, is_day)


def _strict_iso(texts: pa.StringArray) -> pa.StringArray:
    """Texts with an offset in the one form that Python 3.10 reads: .123456 and +02:00.

    >>> _strict_iso(pa.array(["2014-04-07T10:00:00.5Z", "2014-04-07T10:00+0230"])).to_pylist()
    ['2014-04-07T10:00:00.500000+00:00', '2014-04-07T10:00+02:30']
    """
    texts = pc.replace_substring_regex(texts, r"Z$", "+00:00")
    texts = pc.replace_substring_regex(texts, r"([+-]\d\d)$", r"\1:00")
    texts = pc.replace_substring_regex(texts, r"([+-]\d\d)(\d\d)$", r"\1:\2")
    texts = pc.replace_substring_regex(texts, r"\.(\d+)", r".\1000000")
    return pc.replace_substring_regex(texts, r"(\.\d{6})\d*", r"\1")


def _days(array: pa.StringArray) -> np.ndarray:
    """`[n]` bool, which texts of days and times without blanks around them are days."""
    return to_mask(pc.equal(pc.binary_length(array), _DAY_LENGTH))


def parse_form(array: pa.StringArray, form: str) -> pa.DoubleArray:
    """Texts of one form of `datetime.strptime` as float64 seconds, null where one is not.

    >>> parse_form(pa.array(["11/11/2019 9:05:58 AM"]), "%m/%d/%Y %I:%M:%S %p").to_pylist()
    [1573463158.0]
    """
    texts = pc.utf8_trim_whitespace(array)
    return _parse_distinct(texts, lambda text: datetime.datetime.strptime(text, form))


def check_form(form: str) -> None:
    """Refuses a form that strptime cannot read, or that gives no day.

    Raises:
        InputError: As said.
    """
    try:
        moment = datetime.datetime(2019, 11, 23, 21, 5, 58, tzinfo=datetime.timezone.utc)
        read = datetime.datetime.strptime(moment.strftime(form), form)
    except ValueError as error:
        raise InputError(
            f"--timestamp_format={form}: {error}. Write it as for Python's strptime, for "
            "example '%m/%d/%Y %I:%M:%S %p'."
        ) from error
    if read.date() != moment.date():
        raise InputError(
            f"--timestamp_format={form} gives no whole date. Name year, month and day in it, for "
            "example '%m/%d/%Y %I:%M:%S %p'."
        )


def _parse_distinct(
    texts: pa.StringArray, parse: Callable[[str], datetime.datetime]
) -> pa.DoubleArray:
    """Parses every distinct text once; one without an offset is in UTC."""
    encoded = texts.dictionary_encode()
    seconds = [_parse_one(text, parse) for text in encoded.dictionary.to_pylist()]
    return pa.array(seconds, pa.float64()).take(encoded.indices)


def _parse_one(text: str, parse: Callable[[str], datetime.datetime]) -> float | None:
    try:
        moment = parse(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    return (moment - _EPOCH).total_seconds()


def _to_seconds(times: pa.TimestampArray) -> pa.DoubleArray:
    return pc.divide(times.cast(pa.int64()).cast(pa.float64(), safe=False), _MICROSECONDS)
