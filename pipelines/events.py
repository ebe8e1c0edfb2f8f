"""Events as Arrow record batches: their schema, their checks, the source contract.

Imports no TensorFlow and opens no file: the readers are in the `*_source`
modules, and `pipelines.sources` is the door to them.
"""

import abc
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.bad_rows import BadRow, BadRows
from pipelines.column_types import has_text, to_mask, to_seconds, to_text
from recall.errors import InputError
from recall.vocabulary import UNUSABLE_ITEM_ID

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

SPLITS = ("train", "valid", "test", "context")
"""Values of the split column; context = history only, never a target."""


class EventColumns(NamedTuple):
    """Names of a log's columns; an empty `split` ignores a split column."""

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"
    split: str = "split"


DEFAULT_COLUMNS = EventColumns()


class RawBatch(NamedTuple):
    """Rows as a reader found them, before the checks.

    Attributes:
        columns: `user_id`, `item_id`, `timestamp` and perhaps `split`, each an
            array of whatever type the input has.
        rows: `[n]` int64, 0-based data row numbers in the whole input.
        file: Where the rows come from, for messages.
        first_row: Number in the whole input of the first data row of `file`.
    """

    columns: dict[str, pa.Array]
    rows: np.ndarray
    file: str
    first_row: int


class EventSource(abc.ABC):
    """A log that can be read any number of times, from the start each time.

    Attributes:
        spec: What the user named; used in messages and records.
        columns: Names of the columns read.
        has_split: Whether batches carry the `split` column.
        bad_rows: What the latest `read_batches` skipped.
    """

    def __init__(self, spec: str, columns: EventColumns = DEFAULT_COLUMNS):
        self.spec = spec
        self.columns = columns
        self.has_split = False
        self.bad_rows = BadRows()

    @property
    def schema(self) -> pa.Schema:
        """Schema of the batches."""
        return EVENT_SCHEMA_WITH_SPLIT if self.has_split else EVENT_SCHEMA

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 that changes when what is read changes."""

    @abc.abstractmethod
    def _raw_batches(self, bad_rows: BadRows) -> Iterator[RawBatch]:
        """Streams the rows unchecked; rows without columns go to `bad_rows`."""

    def read_batches(self, max_bad_rows: int = 0) -> Iterator[pa.RecordBatch]:
        """Streams the log in input order, in memory that does not grow with it.

        Args:
            max_bad_rows: Bad rows that are skipped and counted in `bad_rows`:
                an empty id, an item id that cannot be exported, a timestamp that
                is not a finite number, an unknown split, a wrong number of fields.

        Yields:
            Record batches of `schema`, none empty, `row` strictly ascending.

        Raises:
            InputError: There are more bad rows, the input is damaged, or it has
                no usable row.
        """
        self.bad_rows = bad_rows = BadRows(max_bad_rows)
        num_events = 0
        for raw in self._raw_batches(bad_rows):
            batch = check_rows(raw, self.columns, bad_rows)
            bad_rows.check()
            num_events += batch.num_rows
            if batch.num_rows:
                yield batch
        bad_rows.check()
        if num_events == 0:
            skipped = f" besides {bad_rows.total} bad rows" if bad_rows.total else ""
            raise InputError(f"{self.spec} has no events{skipped}. Give a log with at least one.")

    def items(self) -> pa.Table | None:
        """The items table a source brings itself (see `read_items`), or None."""
        return None


def check_rows(raw: RawBatch, columns: EventColumns, bad_rows: BadRows) -> pa.RecordBatch:
    """Converts the columns of `raw` and drops, and counts, the rows that are bad.

    Raises:
        InputError: A column has a type that cannot be ids or times.
    """
    values, problems = {}, []
    for field in ("user_id", "item_id"):
        values[field] = to_text(raw.columns[field], raw.file, getattr(columns, field))
        problems.append((f"an empty {field[:4]} id", field, ~has_text(values[field])))
    unusable = pc.match_substring_regex(values["item_id"], UNUSABLE_ITEM_ID)
    reason = "an item id with a line break, or with NUL at its end"
    problems.append((reason, "item_id", to_mask(unusable)))
    values["timestamp"] = to_seconds(raw.columns["timestamp"], raw.file, columns.timestamp)
    is_time = to_mask(pc.is_finite(values["timestamp"]))
    problems.append(("a timestamp must be a number of seconds", "timestamp", ~is_time))
    schema = EVENT_SCHEMA
    if "split" in raw.columns:
        schema = EVENT_SCHEMA_WITH_SPLIT
        values["split"] = to_text(raw.columns["split"], raw.file, columns.split)
        known = pc.is_in(values["split"], value_set=pa.array(SPLITS))
        problems.append((f"a split must be one of {', '.join(SPLITS)}", "split", ~to_mask(known)))
    bad = np.zeros(len(raw.rows), bool)
    for reason, field, wrong in problems:
        first_wrong = np.flatnonzero(wrong & ~bad)
        if len(first_wrong):
            at = int(first_wrong[0])
            row = int(raw.rows[at]) - raw.first_row + 1
            value = _show(raw.columns[field][at])
            place = BadRow(len(first_wrong), raw.file, row, getattr(columns, field), value)
            bad_rows.add(reason, place)
        bad |= wrong
    values["row"] = pa.array(raw.rows, pa.int64())
    batch = pa.RecordBatch.from_arrays([values[name] for name in schema.names], schema=schema)
    return batch.filter(pa.array(~bad)) if bad.any() else batch


def _show(scalar: pa.Scalar) -> str:
    value = scalar.as_py()
    return "" if value is None else str(value)
