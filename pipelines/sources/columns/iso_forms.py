"""Times with a zone, times without and days in the ISO 8601 texts of one file.

A time without a zone is read as UTC. Beside times with a zone that is a guess
which may put clicks hours off, so the two do not stand in one file unless the
user says so; days among times are counted. Imports no TensorFlow and opens no file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.sources.columns.time_findings import Rows, TimeFindings
from pipelines.sources.columns.time_texts import IsoTimes
from recall.errors import InputError

_NAMES = {
    "zoned": "ISO 8601 texts",
    "plain": "ISO 8601 texts without a zone, read as UTC",
    "days": "days, read as midnight UTC",
}


class IsoForms:
    """What the ISO 8601 texts of one file were so far."""

    def __init__(self, column: str, *, may_mix: bool, is_part: bool = False):
        """Starts before the first row.

        Args:
            column: Name of the column, for messages.
            may_mix: Whether times without a zone may stand beside those with one.
            is_part: Whether only a part of the file is read here: then `merge`, for the
                whole file, refuses a mixture.
        """
        self._column, self._may_mix, self._is_part = column, may_mix, is_part
        self._counts = dict.fromkeys(_NAMES, 0)
        self._firsts: dict[str, dict[str, Any]] = {}

    def note(self, rows: Rows, times: IsoTimes, is_time: np.ndarray) -> None:
        """Counts the next rows.

        Args:
            rows: Where they come from.
            times: What was read.
            is_time: `[n]` bool, False where nothing was.

        Raises:
            InputError: There are times with and without a zone, and they may not be mixed.
        """
        found = {
            "zoned": is_time & times.has_zone,
            "plain": is_time & ~times.has_zone & ~times.is_day,
            "days": is_time & times.is_day,
        }
        for kind, mask in found.items():
            if mask.any():
                self._counts[kind] += int(np.count_nonzero(mask))
                self._firsts.setdefault(kind, rows.show(int(np.argmax(mask))))
        self._check()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `merge`."""
        return {"counts": self._counts, "firsts": self._firsts}

    def merge(self, later: Mapping[str, Any]) -> None:
        """Adds the `to_dict` of the part of the file that comes next.

        Raises:
            InputError: As `note`.
        """
        for kind, count in later["counts"].items():
            self._counts[kind] += count
        self._firsts = {**later["firsts"], **self._firsts}
        self._check()

    def _check(self) -> None:
        if self._is_mixed and not self._may_mix and not self._is_part:
            raise self._refuse()

    def end(self, findings: TimeFindings) -> None:
        """Tells what the whole file had."""
        form = next((kind for kind, count in self._counts.items() if count), None)
        if form is not None:
            findings.add_form(_NAMES[form], self._firsts[form]["file"])
        if self._is_mixed:
            findings.add("zoneless", self._counts["plain"], self._firsts["plain"])
        if self._counts["days"] and self._counts["zoned"] + self._counts["plain"]:
            findings.add("days", self._counts["days"], self._firsts["days"])

    @property
    def _is_mixed(self) -> bool:
        return bool(self._counts["zoned"] and self._counts["plain"])

    def _refuse(self) -> InputError:
        zoned, plain = self._firsts["zoned"], self._firsts["plain"]
        return InputError(
            f"{zoned['file']}: column {self._column!r} holds times with a zone (data row "
            f"{zoned['row']}: {zoned['value']}) and without one (data row {plain['row']}: "
            f"{plain['value']}). Write the zone in all of them, or pass --timestamp_unit=mixed "
            "to read those without one as UTC."
        )
