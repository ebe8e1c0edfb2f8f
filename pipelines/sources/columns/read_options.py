"""How the values of a log's columns are understood.

Imports no TensorFlow and opens no file.
"""

import dataclasses
from typing import Any

from pipelines.sources.columns import time_texts
from pipelines.sources.columns.event_times import UNIT_CHOICES
from recall.errors import InputError

_NULL_CHOICES = ("bad", "ids")


def _require_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"--{flag}={value} is unknown. Use one of: {', '.join(choices)}.")


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Settings of the reading that change what is read.

    Attributes:
        timestamp_unit: Of timestamps that are numbers, one of `UNIT_CHOICES`.
        timestamp_format: Of timestamps that are texts, as for `datetime.strptime`;
            "" reads numbers and ISO 8601.
        null_markers: What becomes of ids such as `nan` and `NULL` (see
            `pipelines.sources.columns.id_checks`): `bad` makes bad rows of them, `ids` takes them.
    """

    timestamp_unit: str = "auto"
    timestamp_format: str = ""
    null_markers: str = "bad"

    def __post_init__(self):
        _require_choice("timestamp_unit", self.timestamp_unit, UNIT_CHOICES)
        _require_choice("null_markers", self.null_markers, _NULL_CHOICES)
        if self.timestamp_format:
            time_texts.check_form(self.timestamp_format)

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values, for records."""
        return dataclasses.asdict(self)


DEFAULT_OPTIONS = ReadOptions()
