"""The times of a log, in whatever form it has them, as float64 seconds.

The form of a time column (a type of Arrow, ISO 8601 texts, numbers of one unit)
is decided once a file, by its first values, and never mixed. Imports no
TensorFlow and opens no file.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sources.columns import column_types, time_texts, time_units
from pipelines.sources.columns.iso_forms import IsoForms
from pipelines.sources.columns.time_findings import Rows, TimeFindings
from recall.errors import InputError

UNIT_CHOICES = ("auto", "mixed", "none", *time_units.UNIT_NAMES)


@dataclasses.dataclass
class _FileForm:
    """What has been decided about the column in one file.

    Attributes:
        file: The file.
        iso: What its ISO 8601 texts were so far.
        is_iso: Whether its texts are ISO 8601; None while no value has told.
        size_class: Class of its numbers (see `time_units`); `SMALL` while no value has told.
        example: The first number of that class.
    """

    file: str
    iso: IsoForms
    is_iso: bool | None = None
    size_class: int = time_units.SMALL
    example: dict[str, Any] = dataclasses.field(default_factory=dict)


class EventTimes:
    """Turns the time column of one log into seconds, batch by batch.

    Attributes:
        findings: What was odd so far.
    """

    def __init__(self, column: str, unit: str = "auto", form: str = "", *, is_part: bool = False):
        """Starts before the first file.

        Args:
            column: Name of the column, for messages.
            unit: Of numbers: `s`, `ms`, `us` or `ns`; `auto` tells it by their size and
                refuses two in one file; `mixed` tells it number by number, and takes
                ISO 8601 texts with and without a zone; `none` takes numbers as they are.
            form: Of texts, as for `datetime.strptime`; "" reads numbers and ISO 8601.
            is_part: Whether rows of one file are read, and perhaps not all of them; what
                only the whole log shows is then found by `merge`.
        """
        self._is_part = is_part
        self.findings = TimeFindings()
        self._column, self._unit, self._form = column, unit, form
        self._has_numbers = self._has_iso = self._tells_itself = False
        self._file = self._start("")

    @property
    def expected(self) -> str:
        """What a value has to be: the reason why a row without it is bad."""
        if self._form:
            return f"a timestamp must be of the form {self._form!r}"
        return (
            "a timestamp must be a number or an ISO 8601 time, as the first of its file "
            "(--timestamp_format names another form)"
        )

    def to_seconds(self, array: pa.Array, file: str, row_numbers: np.ndarray) -> np.ndarray:
        """Reads the times of the next rows.

        Args:
            array: `[n]`, of whatever type the input has.
            file: Where they come from; the rows of a file come one after the other.
            row_numbers: `[n]` int, 0-based data row numbers in `file`.

        Returns:
            `[n]` float64 seconds, NaN where there is no time of the file's form.

        Raises:
            InputError: The type is no time's, or the file has numbers of two units.
        """
        if file != self._file.file:
            self._file.iso.end(self.findings)
            self._file = self._start(file)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        rows = Rows(array, file, row_numbers)
        if self._form:
            texts = self._require_text(rows)
            seconds = _to_numpy(time_texts.parse_form(texts, self._form))
            return self._note_times(rows, seconds, f"texts as {self._form}")
        if column_types.is_time(array.type):
            self._tells_itself = True
            seconds = _to_numpy(column_types.times_to_seconds(array))
            return self._note_times(rows, seconds, str(array.type))
        if column_types.is_text(array.type):
            return self._read_texts(rows)
        numbers = column_types.to_numbers(array, file, self._column)
        return self._read_numbers(rows, _to_numpy(numbers))

    def check(self) -> None:
        """Refuses what only the whole log shows; call it after the last row.

        Raises:
            InputError: There are times, and numbers that cannot be times; or the unit
                is of numbers, and there are none.
        """
        self._file.iso.end(self.findings)
        self._file = self._start("")
        self.findings.check(self._column)
        if self._unit not in ("auto", "mixed") and self._has_iso and not self._has_numbers:
            raise InputError(
                f"--timestamp_unit={self._unit} is for numbers, but the column {self._column!r} "
                "holds ISO 8601 texts. Leave it out."
            )

    def file_form(self) -> dict[str, Any] | None:
        """What the values so far say about the whole file, for `start_in`; None for nothing."""
        form = self._file
        if form.is_iso is None and form.size_class == time_units.SMALL and self.has_to_tell:
            return None
        return {"is_iso": form.is_iso, "size_class": form.size_class, "example": form.example}

    @property
    def has_to_tell(self) -> bool:
        """Whether values tell how others are read, because nobody has said it."""
        units = ("none", *time_units.UNITS_PER_SECOND)
        return not (self._form or self._tells_itself or self._unit in units)

    def start_in(self, file: str, form: Mapping[str, Any]) -> None:
        """Begins in the middle of a file whose first values said `form`."""
        self._file = dataclasses.replace(self._start(file), **form)

    def part(self) -> dict[str, Any]:
        """Plain values for `merge`."""
        form = self._file
        return {
            "is_iso": form.is_iso,
            "size_class": form.size_class,
            "example": form.example,
            "iso": form.iso.to_dict(),
            "has_numbers": self._has_numbers,
            "has_iso": self._has_iso,
            "findings": self.findings.part(form.file),
        }

    def merge(self, later: Mapping[str, Any]) -> None:
        """Adds the `part` of the rows that come next in the log.

        Raises:
            InputError: A file has times with and without a zone.
        """
        file = later["findings"]["file"]
        if file != self._file.file:
            self._file.iso.end(self.findings)
            self._file = self._start(file)
        self._file.iso.merge(later["iso"])
        self._has_numbers = self._has_numbers or later["has_numbers"]
        self._has_iso = self._has_iso or later["has_iso"]
        self.findings.merge(later["findings"])

    def _start(self, file: str) -> _FileForm:
        iso = IsoForms(self._column, may_mix=self._unit == "mixed", is_part=self._is_part)
        return _FileForm(file, iso)

    def _require_text(self, rows: Rows) -> pa.Array:
        if column_types.is_time(rows.array.type):
            raise InputError(
                f"{rows.file}: column {self._column!r} has the type {rows.array.type}, which is a "
                "time already. Leave --timestamp_format out."
            )
        return column_types.to_text(rows.array, rows.file, self._column)

    def _read_texts(self, rows: Rows) -> np.ndarray:
        texts = column_types.to_text(rows.array, rows.file, self._column)
        if not self._file.is_iso:
            numbers = time_texts.parse_numbers(texts)
            if self._file.is_iso is None:
                self._file.is_iso = _is_iso_first(texts, numbers)
            if not self._file.is_iso:
                return self._read_numbers(rows, _to_numpy(numbers))
        times = time_texts.read_iso(texts)
        seconds = _to_numpy(times.seconds)
        self._has_iso = True
        self._file.iso.note(rows, times, ~np.isnan(seconds))
        self.findings.add_times(rows, seconds)
        return seconds

    def _note_times(self, rows: Rows, seconds: np.ndarray, form: str) -> np.ndarray:
        self.findings.add_form(form, rows.file)
        self.findings.add_times(rows, seconds)
        return seconds

    def _read_numbers(self, rows: Rows, numbers: np.ndarray) -> np.ndarray:
        numbers[np.isinf(numbers)] = np.nan
        self._has_numbers = self._has_numbers or not np.isnan(numbers).all()
        if self._unit == "none":
            return numbers
        if self._unit in time_units.UNITS_PER_SECOND:
            seconds = numbers / time_units.UNITS_PER_SECOND[self._unit]
            return self._note_times(rows, seconds, time_units.UNIT_NAMES[self._unit])
        is_small = numbers < time_units.FIRST_TIME_S
        self.findings.add_numbers(rows, numbers, is_small)
        sized = ~(is_small | np.isnan(numbers))
        if not sized.any():
            return numbers
        seconds = self._scale(rows, numbers, sized)
        self.findings.add_times(rows, seconds, sized)
        return seconds

    def _scale(self, rows: Rows, numbers: np.ndarray, sized: np.ndarray) -> np.ndarray:
        """Divides the numbers that are large enough for times by their unit.

        Raises:
            InputError: There are two units, and they may not be mixed.
        """
        lowest = numbers.min(where=sized, initial=np.inf)
        highest = numbers.max(where=sized, initial=-np.inf)
        if self._file.size_class == time_units.SMALL:
            first = int(np.argmax(sized))
            self._file.size_class = int(time_units.classify(numbers[first]))
            self._file.example = rows.show(first)
        usual = self._file.size_class
        if np.all(time_units.classify(np.array([lowest, highest])) == usual):
            self.findings.add_form(time_units.name_of(usual), rows.file)
            seconds = numbers / time_units.units_per_second(np.array([usual]))[0]
            return seconds if sized.all() else np.where(sized, seconds, numbers)
        classes = np.full(len(numbers), usual)
        classes[sized] = time_units.classify(numbers[sized])
        others = sized & (classes != usual)
        if self._unit != "mixed":
            self._refuse_two_units(rows, int(np.argmax(others)), classes)
        self.findings.add_converted(rows, others)
        for size_class in np.unique(classes[sized]).tolist():
            self.findings.add_form(time_units.name_of(size_class), rows.file)
        return np.where(sized, numbers / time_units.units_per_second(classes), numbers)

    def _refuse_two_units(self, rows: Rows, at: int, classes: np.ndarray) -> None:
        usual, other = self._file.example, rows.show(at)
        raise InputError(
            f"{rows.file}: column {self._column!r} holds two units of time: data row "
            f"{usual['row']} has {usual['value']} ({time_units.name_of(self._file.size_class)}), "
            f"data row {other['row']} has {other['value']} "
            f"({time_units.name_of(int(classes[at]))}). Write the file in one unit, or pass "
            "--timestamp_unit=mixed to read each number in its own unit, or "
            "--timestamp_unit=none to take all as they are."
        )


def _is_iso_first(texts: pa.Array, numbers: pa.Array) -> bool | None:
    """Whether the first text that is a time is ISO 8601; None where none is a time."""
    is_number = np.isfinite(_to_numpy(numbers))
    first_number = int(np.argmax(is_number)) if is_number.any() else len(texts)
    if first_number == 0:
        return False
    is_iso = ~np.isnan(_to_numpy(time_texts.parse_iso(texts.slice(0, first_number))))
    return True if is_iso.any() else (None if first_number == len(texts) else False)


def _to_numpy(numbers: pa.Array) -> np.ndarray:
    """`[n]` float64 that may be written to, NaN where it is null."""
    return np.array(numbers.fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64)
