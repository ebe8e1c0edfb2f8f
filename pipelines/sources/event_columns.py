"""The columns of an event, and what a log may call them.

Imports no TensorFlow and opens no file.
"""

from typing import NamedTuple

import pyarrow as pa

EVENT_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("timestamp", pa.float64()),
        ("row", pa.int64()),
    ]
)
"""Columns of an event batch; a log with a split column adds `split: string`.

`timestamp` is in seconds (or any growing number), `row` the 0-based number of
the data row in the input: the order of events with equal timestamps.
"""

EVENT_SCHEMA_WITH_SPLIT = EVENT_SCHEMA.append(pa.field("split", pa.string()))

FEATURE_FIELD = "feature:"
"""Before the name of a declared feature: the field of an event that has its values."""

NAMED_SPLITS = ("train", "valid", "test", "context")
"""Values of the split column; context = history only, never a target."""


NO_TIME = "none"
"""In place of the name of a timestamp column: the rows are in the order of time."""


class EventColumns(NamedTuple):
    """Names of a log's columns; an empty `split` ignores a split column.

    With `timestamp` = `NO_TIME` the log has no times, and its order is that of its rows.
    `event_type`, the kind of an event, and `weight`, how much it counts, are read where
    they are named.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"
    split: str = "split"
    event_type: str = ""
    weight: str = ""

    @property
    def has_time(self) -> bool:
        """Whether the log has a column of times."""
        return self.timestamp != NO_TIME

    @property
    def optional_fields(self) -> pa.Schema:
        """The columns of an event that are read because they are named."""
        return pa.schema([field for field in _OPTIONAL if getattr(self, field.name)])

    @property
    def settings(self) -> list[str]:
        """What a fingerprint has of the names: as it was before there were optional columns."""
        usual = list(self[: -len(_OPTIONAL)])
        return usual + [f"{name}={getattr(self, name)}" for name in self.optional_fields.names]

    def names_by_field(self, *, with_split: bool) -> dict[str, str]:
        """Field of an event -> name of the column to read it from."""
        names = self._asdict()
        if not self.has_time:
            del names["timestamp"]
        if not with_split:
            del names["split"]
        unread = {field.name for field in _OPTIONAL} - {*self.optional_fields.names}
        return {field: name for field, name in names.items() if field not in unread}


_OPTIONAL = (pa.field("event_type", pa.string()), pa.field("weight", pa.float64()))


DEFAULT_COLUMNS = EventColumns()
