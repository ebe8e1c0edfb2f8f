"""The source contract: a log as batches of events, whole or in parts.

Imports no TensorFlow and opens no file: the readers are in the `*_source`
modules, and `pipelines.ingestion.open_log` opens them.
"""

import abc
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.event_times import EventTimes
from pipelines.sources.columns.read_options import DEFAULT_OPTIONS
from pipelines.sources.columns.where import Condition, find_rows
from pipelines.sources.event_checks import RawBatch, check_rows, decode_ids
from pipelines.sources.event_columns import (
    DEFAULT_COLUMNS,
    EVENT_SCHEMA,
    EVENT_SCHEMA_WITH_SPLIT,
    FEATURE_FIELD,
    NO_TIME,
    EventColumns,
)
from pipelines.sources.users import UsersFile
from pipelines.sources.work_units import WHOLE_LOG, UnitPart, WorkUnit
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn

__all__ = [
    "DEFAULT_COLUMNS",
    "EVENT_SCHEMA",
    "EVENT_SCHEMA_WITH_SPLIT",
    "NO_TIME",
    "EventColumns",
    "EventSource",
    "RawBatch",
]


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
        users_file: What is known of the users; None where there is no such file.
        features: Declared features that are read beside the usual columns (`with_features`).
        bad_rows: What the latest `read_batches` skipped.
        times: What the latest `read_batches` found out about the times, for the
            report (see `pipelines.sources.columns.time_findings`).
        rows_left_out: Rows that did not meet the conditions then; they are not
            checked and not counted as bad.
        rows_read: Rows of a file up to here, of those that `raw_part` reads.
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
        self.users_file: UsersFile | None = None
        self.features: tuple[FeatureColumn, ...] = ()
        self.has_split = False
        self.use_split = True
        self.bad_rows = BadRows()
        self.rows_left_out = self.rows_read = 0
        self.share_read: float | None = None
        self.times: dict[str, Any] = {}

    @property
    def reads_split(self) -> bool:
        """Whether batches carry the `split` column."""
        return self.has_split and self.use_split

    @property
    def schema(self) -> pa.Schema:
        """Schema of the batches."""
        usual = EVENT_SCHEMA_WITH_SPLIT if self.reads_split else EVENT_SCHEMA
        types = {"categorical": pa.string(), "numeric": pa.float64()}
        fields = [pa.field(FEATURE_FIELD + c.name, types[c.kind]) for c in self.features]
        return pa.unify_schemas([usual, self.columns.optional_fields, pa.schema(fields)])

    def with_features(self, features: Iterable[FeatureColumn]) -> "EventSource":
        """The same log, of which declared features are read as well.

        Those that are made of times need no column.

        Raises:
            InputError: The log lacks a column.
        """
        source = copy.copy(self)
        source.features = tuple(c for c in features if c.kind != "timestamp")
        if source.features:
            source._check_features()
        return source

    def _check_features(self) -> None:
        """Refuses features whose columns the log lacks."""
        first = self.features[0]
        raise InputError(
            f"{self.spec} has no column {first.source!r} for the feature {first.name!r} of owner "
            f"{first.owner}: it has the usual columns alone. Leave the feature out."
        )

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
        times = self.new_times()
        num_events = 0
        for raw in self._raw_batches(bad_rows):
            batch = check_rows(raw, self.columns, self.options, bad_rows, times, self.features)
            bad_rows.check()
            num_events += batch.num_rows
            if batch.num_rows:
                yield decode_ids(batch)
        bad_rows.check()
        times.check()
        self.times = times.findings.to_dict()
        if num_events == 0:
            raise self.no_events(bad_rows.total, self.rows_left_out)

    def work_units(self) -> list[WorkUnit]:
        """What several workers can read at once, in the order of the log; here one unit."""
        return [WHOLE_LOG]

    def raw_part(self, part: UnitPart, bad_rows: BadRows) -> Iterator[RawBatch]:
        """Streams the rows of a part of a unit, unchecked and numbered by their file.

        Only for units that have parts.
        """
        raise NotImplementedError

    def new_times(self, *, is_part: bool = False) -> EventTimes:
        """What reads the times of this log, or of a part of it."""
        unit, form = self.options.timestamp_unit, self.options.timestamp_format
        return EventTimes(self.columns.timestamp, unit, form, is_part=is_part)

    def no_events(self, num_bad_rows: int, num_left_out: int) -> InputError:
        """The error of a log in which no row can be used."""
        skipped = f" besides {num_bad_rows} bad rows" if num_bad_rows else ""
        if num_left_out:
            skipped += f"; --where leaves out {num_left_out} rows"
        return InputError(f"{self.spec} has no events{skipped}. Give a log with at least one.")

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
