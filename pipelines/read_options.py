"""How the values of a log's columns are understood.

Imports no TensorFlow and opens no file.
"""

import dataclasses
from typing import Any

from pipelines import time_texts
from pipelines.event_times import UNIT_CHOICES
from recall.errors import InputError


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Settings of the reading that change what is read.

    Attributes:
        timestamp_unit: Of timestamps that are numbers, one of `UNIT_CHOICES`.
        timestamp_format: Of timestamps that are texts, as for `datetime.strptime`;
            "" reads numbers and ISO 8601.
    """

    timestamp_unit: str = "auto"
    timestamp_format: str = ""

    def __post_init__(self):
        if self.timestamp_unit not in UNIT_CHOICES:
            raise InputError(
                f"--timestamp_unit={self.timestamp_unit} is unknown. Use one of: "
                f"{', '.join(UNIT_CHOICES)}."
            )
        if self.timestamp_format:
            time_texts.check_form(self.timestamp_format)

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values, for records."""
        return dataclasses.asdict(self)


DEFAULT_OPTIONS = ReadOptions()
