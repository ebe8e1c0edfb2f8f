"""What is odd about the times of a log: counted, refused at its end, told in lines.

Imports no TensorFlow and opens no file.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.progress.words import number_of
from pipelines.sources.columns.bad_rows import shorten
from recall.errors import InputError

DAY_S = 86_400
"""Times of the first day of 1970 stand for 0 in some time zone."""

FIRST_S, LAST_S = "first_s", "last_s"
"""Of a report: the times of the first and of the last event that was read."""

_FUTURE_S = 366 * DAY_S
"""A time that is later than this from now is reported."""

_MAX_SMALL_SHARE = 0.01
_MAX_SMALL = 10
_MIN_JUMP = 10
"""Small numbers beside times are another unit, and not placeholders, where they are more
than this share and this many. A counter that has grown large has no such jump in it."""


class Rows(NamedTuple):
    """The times of some rows as they were read, for messages.

    Attributes:
        array: `[n]`, of whatever type the input has.
        file: Where they come from.
        numbers: `[n]` int, 0-based data row numbers in `file`.
    """

    array: pa.Array
    file: str
    numbers: np.ndarray

    def show(self, at: int) -> dict[str, Any]:
        """The row at a position: its file, its number from 1 on and its value."""
        value = shorten(str(self.array[at].as_py()))
        return {"file": self.file, "row": int(self.numbers[at]) + 1, "value": value}


@dataclasses.dataclass
class _File:
    """What the file being read had so far."""

    name: str
    has_times: bool = False
    first_small: dict[str, Any] | None = None


class TimeFindings:
    """Counts over all files of a log."""

    def __init__(self):
        self._now_s = time.time()
        self._forms: dict[str, dict[str, Any]] = {}
        self._tallies: dict[str, dict[str, Any]] = {}
        self._num_values = 0
        self._first_time: dict[str, Any] | None = None
        self._earliest_s = np.inf
        self._largest_small = 0.0
        self._file = _File("")
        self._counting_file: dict[str, Any] | None = None

    def add_form(self, form: str, file: str) -> None:
        """Remembers that a file has times of `form`; files come one after the other."""
        known = self._forms.setdefault(form, {"files": 0, "first": file, "last": ""})
        known["files"] += known["last"] != file
        known["last"] = file

    def add_times(self, rows: Rows, seconds: np.ndarray, is_time: np.ndarray | None = None) -> None:
        """Counts times whose unit is known.

        Args:
            rows: Where they come from.
            seconds: `[n]`, NaN where there is none.
            is_time: `[n]` bool, the times to count; None counts all but NaN.
        """
        if is_time is None:
            is_time = ~np.isnan(seconds)
            self._num_values += np.count_nonzero(is_time)
            early = is_time & (seconds < DAY_S)
            self._tally("early", rows, early)
            is_time &= ~early
        if not is_time.any():
            return
        self._start(rows.file).has_times = True
        self._first_time = self._first_time or rows.show(int(np.argmax(is_time)))
        self._earliest_s = min(self._earliest_s, seconds.min(where=is_time, initial=np.inf))
        self._tally("future", rows, is_time & (seconds > self._now_s + _FUTURE_S))

    def add_numbers(self, rows: Rows, numbers: np.ndarray, is_small: np.ndarray) -> None:
        """Counts numbers as they were read, those below `FIRST_TIME_S` by themselves."""
        self._num_values += np.count_nonzero(~np.isnan(numbers))
        if not is_small.any():
            return
        is_positive = is_small & (numbers > 0)
        self._tally("early", rows, is_small & ~is_positive)
        self._tally("small", rows, is_positive)
        file = self._start(rows.file)
        if is_positive.any():
            file.first_small = file.first_small or rows.show(int(np.argmax(is_positive)))
        largest = numbers.max(where=is_small, initial=0.0)
        self._largest_small = max(self._largest_small, largest)

    def add_converted(self, rows: Rows, is_converted: np.ndarray) -> None:
        """Counts numbers in another unit than the first of their file."""
        self._tally("converted", rows, is_converted)

    def add(self, name: str, count: int, first: Mapping[str, Any]) -> None:
        """Counts `count` more times of a kind of `_LINES`; `first` is where the first one is."""
        tally = self._tallies.setdefault(name, {"count": 0, **first})
        tally["count"] += count

    def part(self, file: str) -> dict[str, Any]:
        """Plain values for `merge`, where rows of one file were counted."""
        return {
            "file": file,
            "forms": list(self._forms),
            "tallies": self._tallies,
            "num_values": int(self._num_values),
            "first_time": self._first_time,
            "earliest_s": float(self._earliest_s) if self._first_time else None,
            "largest_small": float(self._largest_small),
            "has_times": self._file.has_times,
            "first_small": self._file.first_small,
        }

    def merge(self, later: Mapping[str, Any]) -> None:
        """Adds the `part` of rows that come next."""
        for form in later["forms"]:
            self.add_form(form, later["file"])
        for name, tally in later["tallies"].items():
            first = {key: value for key, value in tally.items() if key != "count"}
            self.add(name, tally["count"], first)
        self._num_values += later["num_values"]
        self._first_time = self._first_time or later["first_time"]
        if later["earliest_s"] is not None:
            self._earliest_s = min(self._earliest_s, later["earliest_s"])
        self._largest_small = max(self._largest_small, later["largest_small"])
        file = self._start(later["file"])
        file.has_times = file.has_times or later["has_times"]
        file.first_small = file.first_small or later["first_small"]

    def _start(self, file: str) -> "_File":
        """The state of `file`; ends the file before it."""
        if file != self._file.name:
            if self._file.first_small and not self._file.has_times:
                self._counting_file = self._counting_file or self._file.first_small
            self._file = _File(file)
        return self._file

    def _tally(self, name: str, rows: Rows, found: np.ndarray) -> None:
        count = int(np.count_nonzero(found))
        if count:
            self.add(name, count, rows.show(int(np.argmax(found))))

    def check(self, column: str) -> None:
        """Refuses a log whose times and whose small numbers cannot be one unit.

        Raises:
            InputError: As said.
        """
        self._start("")
        small = self._tallies.get("small")
        if small is None or self._first_time is None:
            return
        is_many = small["count"] > max(_MAX_SMALL, _MAX_SMALL_SHARE * self._num_values)
        small = self._counting_file or small
        jumps = self._largest_small * _MIN_JUMP <= self._earliest_s
        if jumps and (is_many or self._counting_file):
            raise InputError(
                f"{column!r} holds times ({_where(self._first_time)}) and numbers too small to "
                f"be times ({_where(small)}). Write all in one unit, or take them as they are with "
                "--timestamp_unit=none."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a report: the forms, and what was counted."""
        tallies = dict(self._tallies) if self._first_time is not None else {}
        forms = {
            form: {"files": known["files"], "first": known["first"]}
            for form, known in self._forms.items()
        }
        return {"forms": forms, **tallies}


def add_times(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """What reports say of the times of two logs, of which one came after the other.

    Args:
        first: `TimeFindings.to_dict()`, with `FIRST_S` and `LAST_S` where the log has times.
        then: The same of the later log.
    """
    total = {**then, **first, "forms": {**then["forms"], **first["forms"]}}
    for form, known in first["forms"].items():
        again = then["forms"].get(form, {"files": 0})
        total["forms"][form] = {**known, "files": known["files"] + again["files"]}
    for name in _LINES:
        if name in first and name in then:
            total[name] = {**first[name], "count": first[name]["count"] + then[name]["count"]}
    for name, choose in ((FIRST_S, min), (LAST_S, max)):
        total.pop(name, None)
        if name in first and name in then:
            total[name] = choose(first[name], then[name])
    return total


def time_lines(times: Mapping[str, Any]) -> list[str]:
    """Lines for people about a `TimeFindings.to_dict()`; none where all is as usual."""
    lines = []
    if len(times.get("forms", {})) > 1:
        forms = (
            f"{form} ({number_of(known['files'], 'file')}, the first is {known['first']})"
            for form, known in times["forms"].items()
        )
        lines.append(f"Times are in several forms; all became seconds: {'; '.join(forms)}.")
    for name, text in _LINES.items():
        if name in times:
            count = number_of(times[name]["count"], "time")
            lines.append(f"Warning: {text.format(count=count, first=_where(times[name]))}")
    return lines


_LINES = {
    "converted": (
        "{count} in another unit than the first of the file, converted; the first is {first}."
    ),
    "zoneless": ("{count} without a zone in a file with zones, read as UTC; the first is {first}."),
    "days": (
        "{count} that are days beside full times, read as midnight UTC, "
        "before the clicks of that day; the first is {first}."
    ),
    "early": (
        "{count} of 0, below 0 or of the first day of 1970, counted as the earliest of the "
        "user; the first is {first}."
    ),
    "small": (
        "{count} too small to be a time, counted as the earliest of the user; the first is {first}."
    ),
    "future": (
        "{count} more than a year in the future, counted as the latest of the user; the first is "
        "{first}."
    ),
}


def _where(place: Mapping[str, Any]) -> str:
    return f"data row {place['row']} of {place['file']}: {place['value']}"
