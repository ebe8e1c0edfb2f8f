"""What several workers can read of a log at once. Imports no TensorFlow."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.sources.tables.file_parts import FilePart


class UnitPart(NamedTuple):
    """Consecutive rows of one file of a log.

    Attributes:
        file: Number of the file in the log.
        part: What is read of it.
        time_form: What the first times of the file say about the others (see
            `EventTimes.start_in`); None where the part begins with them.
    """

    file: int
    part: FilePart
    time_form: Mapping[str, Any] | None


class WorkUnit(NamedTuple):
    """What one worker reads.

    Attributes:
        parts: In the order of the log; none stands for the whole log, which only one
            worker can read.
        share_before: Share of the log that comes before, in [0, 1].
        share: Share of the log that it is.
    """

    parts: tuple[UnitPart, ...] = ()
    share_before: float = 0.0
    share: float = 1.0


WHOLE_LOG = WorkUnit()
