"""Rows that cannot be used: counted by reason, refused when they are too many.

Imports no TensorFlow and opens no file.
"""

import dataclasses
from collections.abc import Mapping

from recall.errors import InputError

_SHOWN_CHARACTERS = 60


@dataclasses.dataclass
class BadRow:
    """How often one reason occurred, and where first.

    Attributes:
        count: Rows skipped for this reason.
        file: File of the first of them.
        row: Its data row in that file; the first row after the header is 1.
        column: Column at fault, "" when it is the whole row.
        value: What stood there, shortened.
    """

    count: int
    file: str
    row: int
    column: str
    value: str


class BadRows:
    """Counts rows that cannot be used and stops when they are too many.

    Attributes:
        max_bad_rows: Bad rows that are tolerated.
        by_reason: Reason -> `BadRow`, in the order of their first occurrence.
    """

    def __init__(self, max_bad_rows: int = 0):
        self.max_bad_rows = max_bad_rows
        self.by_reason: dict[str, BadRow] = {}

    @property
    def total(self) -> int:
        """Bad rows of all reasons."""
        return sum(bad.count for bad in self.by_reason.values())

    def add(self, reason: str, bad: BadRow) -> None:
        """Counts `bad.count` more rows; the place of the first one is kept."""
        if reason in self.by_reason:
            self.by_reason[reason].count += bad.count
        else:
            bad.value = shorten(bad.value)
            self.by_reason[reason] = bad

    def merge(self, found: Mapping[str, Mapping]) -> None:
        """Adds what another one counted later in the log (its `to_dict`)."""
        for reason, bad in found.items():
            self.add(reason, BadRow(**bad))

    def check(self) -> None:
        """Stops when there are too many.

        Raises:
            InputError: More than `max_bad_rows` bad rows were counted.
        """
        if self.total <= self.max_bad_rows:
            return
        reason, bad = min(self.by_reason.items(), key=lambda entry: (entry[1].file, entry[1].row))
        what = f"column {bad.column!r} holds" if bad.column else "it reads"
        text = f"data row {bad.row} of {bad.file} is bad: {what} {bad.value!r}: {reason}."
        if self.max_bad_rows:
            raise InputError(
                f"More than {self.max_bad_rows} bad rows; the first: {text} "
                "Mend the log or raise --max_bad_rows."
            )
        raise InputError(
            f"{text[0].upper()}{text[1:]} Mend it, or skip up to n bad rows with --max_bad_rows=n."
        )

    def to_dict(self) -> dict[str, dict]:
        """Plain values for a report: reason -> count and first place."""
        return {reason: dataclasses.asdict(bad) for reason, bad in self.by_reason.items()}


def shorten(text: str) -> str:
    """`text` in one line of at most 60 characters."""
    text = " ".join(text.split("\n"))
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
