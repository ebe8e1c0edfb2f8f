"""Events as Arrow record batches: their schema, their checks, the source contract.

Imports no TensorFlow and opens no file: the readers are in the `*_source`
modules, and `pipelines.ingestion.open_log` opens them.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.bad_rows import BadRow, BadRows
from pipelines.sources.columns.column_types import has_text, to_mask, to_text
from pipelines.sources.columns.event_times import EventTimes
from pipelines.sources.columns.id_checks import is_null_marker
from pipelines.sources.columns.read_options import DEFAULT_OPTIONS, ReadOptions
from pipelines.sources.columns.where import Condition, find_rows
from recall.errors import InputError
from recall.item_ids import UNUSABLE_ITEM_ID

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

NAMED_SPLITS = ("train", "valid", "test", "context")
"""Values of the split column; context = history only, never a target."""


NO_TIME = "none"
"""In place of the name of a timestamp column: the rows are in the order of time."""


class EventColumns(NamedTuple):
    """Names of a log's columns; an empty `split` ignores a split column.

    With `timestamp` = `NO_TIME` the log has no times, and its order is that of its rows.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"
    split: str = "split"

    @property
    def has_time(self) -> bool:
        """Whether the log has a column of times."""
        return self.timestamp != NO_TIME

    def names_by_field(self, *, with_split: bool) -> dict[str, str]:
        """Field of an event -> name of the column to read it from."""
        names = self._asdict()
        if not self.has_time:
            del names["timestamp"]
        if not with_split:
            del names["split"]
        return names


DEFAULT_COLUMNS = EventColumns()


class RawBatch(NamedTuple):
    """Rows as a reader found them, before the checks.

    Attributes:
        columns: `user_id`, `item_id`, `timestamp` (where the log has times) and
            perhaps `split`, each an array of whatever type the input has.
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
        name: What people call the log; may be replaced before reading.
        columns: Names of the columns read.
        options: How their values are understood; may be replaced before reading.
        has_split: Whether the log has a split column.
        use_split: Whether it is read; may be changed before reading.
        where: Conditions that a row must meet to be an event.
        bad_rows: What the latest `read_batches` skipped.
        times: What the latest `read_batches` found out about the times, for the
            report (see `pipelines.sources.columns.time_findings`).
        rows_left_out: Rows that did not meet the conditions then; they are not
            checked and not counted as bad.
        share_read: Share of the log that it has read so far, in [0, 1]; None where
            nobody knows.
    """

    def __init__(
        self,
        spec: str,
        columns: EventColumns = DEFAULT_COLUMNS,
        where: Sequence[Condition] = (),
    ):
        self.spec = self.name = spec
        self.columns = columns
        self.options = DEFAULT_OPTIONS
        self.where = tuple(where)
        self.has_split = False
        self.use_split = True
        self.bad_rows = BadRows()
        self.rows_left_out = 0
        self.share_read: float | None = None
        self.times: dict[str, Any] = {}

    @property
    def reads_split(self) -> bool:
        """Whether batches carry the `split` column."""
        return self.has_split and self.use_split

    @property
    def schema(self) -> pa.Schema:
        """Schema of the batches."""
        return EVENT_SCHEMA_WITH_SPLIT if self.reads_split else EVENT_SCHEMA

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
                an empty id, a marker of a missing one, an item id that cannot be
                exported, a timestamp that cannot be read, an unknown split, a wrong
                number of fields.

        Yields:
            Record batches of `schema`, none empty, `row` strictly ascending.

        Raises:
            InputError: There are more bad rows, the input is damaged, its times
                cannot be of one unit, or it has no usable row.
        """
        self.bad_rows = bad_rows = BadRows(max_bad_rows)
        self.rows_left_out = 0
        times = EventTimes(
            self.columns.timestamp, self.options.timestamp_unit, self.options.timestamp_format
        )
        num_events = 0
        for raw in self._raw_batches(bad_rows):
            batch = check_rows(raw, self.columns, self.options, bad_rows, times)
            bad_rows.check()
            num_events += batch.num_rows
            if batch.num_rows:
                yield batch
        bad_rows.check()
        times.check()
        self.times = times.findings.to_dict()
        if num_events == 0:
            skipped = f" besides {bad_rows.total} bad rows" if bad_rows.total else ""
            if self.rows_left_out:
                skipped += f"; --where leaves out {self.rows_left_out} rows"
            raise InputError(f"{self.spec} has no events{skipped}. Give a log with at least one.")

    def _find_rows(self, columns: Mapping[str, pa.Array], file: str) -> pa.Array | None:
        """A mask of the rows that meet `where`, counting the others; None for all rows."""
        kept = find_rows(self.where, columns, file)
        if kept is None:
            return None
        self.rows_left_out += int((~kept).sum())
        return pa.array(kept)

    def items(self) -> pa.Table | None:
        """The items table a source brings itself (see `read_items`), or None."""
        return None


def check_rows(
    raw: RawBatch,
    columns: EventColumns,
    options: ReadOptions,
    bad_rows: BadRows,
    times: EventTimes,
) -> pa.RecordBatch:
    """Converts the columns of `raw` and drops, and counts, the rows that are bad.

    Raises:
        InputError: A column has a type that cannot be ids or times, or times of two units.
    """
    values, problems = {}, []
    for field in ("user_id", "item_id"):
        name = field[:4]
        values[field] = to_text(raw.columns[field], raw.file, getattr(columns, field))
        problems.append((f"an empty {name} id", field, ~has_text(values[field])))
        if options.null_markers == "bad":
            reason = f"a marker of a missing {name} id (--null_markers=ids takes it as an id)"
            problems.append((reason, field, is_null_marker(values[field])))
    unusable = pc.match_substring_regex(values["item_id"], UNUSABLE_ITEM_ID)
    reason = "an item id with a line break, or with NUL at its end"
    problems.append((reason, "item_id", to_mask(unusable)))
    if columns.has_time:
        seconds = times.to_seconds(raw.columns["timestamp"], raw.file, raw.rows - raw.first_row)
        problems.append((times.expected, "timestamp", np.isnan(seconds)))
    else:
        seconds = raw.rows.astype(np.float64)
    values["timestamp"] = pa.array(seconds)
    schema = EVENT_SCHEMA
    if "split" in raw.columns:
        schema = EVENT_SCHEMA_WITH_SPLIT
        values["split"] = to_text(raw.columns["split"], raw.file, columns.split)
        known = pc.is_in(values["split"], value_set=pa.array(NAMED_SPLITS))
        problems.append(
            (f"a split must be one of {', '.join(NAMED_SPLITS)}", "split", ~to_mask(known))
        )
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
