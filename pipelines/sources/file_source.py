"""A log in text or Parquet files as a source of events."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.where import Condition, find_rows
from pipelines.sources.event_columns import FEATURE_FIELD
from pipelines.sources.events import DEFAULT_COLUMNS, EventColumns, EventSource, RawBatch
from pipelines.sources.tables import table_files
from pipelines.sources.tables.file_parts import WHOLE_FILE
from pipelines.sources.tables.text_format import DEFAULT_TEXT, TextOptions
from pipelines.sources.work_units import UnitPart, WorkUnit
from recall.errors import InputError

_SPLIT_BYTES = 4 << 20
"""Smaller files are read whole: to begin in the middle costs more than it saves."""

_UNIT_BYTES = 16 << 20
"""Small files are read by one worker up to so many bytes."""

_FEATURE_REMEDY = (
    "`column` in `features.columns` says what a feature of owner event or request is called in "
    "the log."
)
_WHERE_REMEDY = "Name one of these in --where."


class FileSource(EventSource):
    """Reads one file, or several as if they were one, sorted by their names.

    Attributes:
        files: The files read.
    """

    def __init__(
        self,
        spec: str,
        columns: EventColumns = DEFAULT_COLUMNS,
        text: TextOptions = DEFAULT_TEXT,
        where: Sequence[Condition] = (),
    ):
        """Looks at the header of every file.

        Args:
            spec: A file, a folder or a pattern.
            columns: Names of the columns.
            text: How text files are written.
            where: Conditions that a row must meet to be an event.

        Raises:
            InputError: A file is missing, unreadable, of an unknown format, or
                lacks a column.
        """
        super().__init__(spec, columns, where)
        self._text = text
        self._tables = table_files.open_tables(spec, text)
        self.files = [table.path for table in self._tables]
        wanted = columns.names_by_field(with_split=columns.split not in ("", DEFAULT_COLUMNS.split))
        with_split = []
        for table in self._tables:
            table.require(wanted.values())
            table.require_single([*wanted.values(), columns.split])
            table.require((condition.column for condition in where), _WHERE_REMEDY)
            with_split.append(columns.split in table.names)
        self.has_split = with_split[0]
        if any(has_split != self.has_split for has_split in with_split):
            raise InputError(f"Only some files of {spec} have a column {columns.split!r}.")

    def fingerprint(self) -> str:
        """SHA-256 over the bytes of the files, and what says how they are read."""
        settings = self.columns.settings
        if self._text != DEFAULT_TEXT:
            settings.append(repr(self._text))
        settings += [repr(condition) for condition in self.where]
        settings += [repr(t.partitions) for t in self._tables if t.partitions]
        return table_files.fingerprint(self.files, settings)

    def work_units(self) -> list[WorkUnit]:
        """Parts of large files, and small files together.

        Raises:
            InputError: A file cannot be read.
        """
        sizes = self._sizes()
        total, parts = max(1, sum(sizes)), []
        for file, table in enumerate(self._tables):
            in_file = table.parts() if sizes[file] >= _SPLIT_BYTES else [WHOLE_FILE]
            form = self._time_form(table) if len(in_file) > 1 else None
            if form is None:
                in_file = [WHOLE_FILE]
            forms = [None, *[form] * (len(in_file) - 1)]
            parts += [UnitPart(file, *part) for part in zip(in_file, forms, strict=True)]
        units, waiting, share_before, share = [], [], 0.0, 0.0
        for at, part in enumerate(parts):
            waiting.append(part)
            share += part.part.share * sizes[part.file] / total
            is_last = at == len(parts) - 1
            if is_last or part.part != WHOLE_FILE or share * total >= _UNIT_BYTES:
                units.append(WorkUnit(tuple(waiting), share_before, share))
                waiting, share_before, share = [], share_before + share, 0.0
        return units

    def raw_part(self, part: UnitPart, bad_rows: BadRows) -> Iterator[RawBatch]:
        """Streams the rows of a part, unchecked and numbered by their file."""
        table, file = self._tables[part.file], str(self.files[part.file])
        for rows, batch in table.read_rows(self._names, bad_rows, part.part, self._id_names):
            self.share_read = table.share_read
            self.rows_read = int(rows[-1]) + 1 if len(rows) else self.rows_read
            yield RawBatch(*self._select(rows, batch, file), file, 0)

    def _time_form(self, table: table_files.Table) -> dict[str, Any] | None:
        """What the first times of a file say about the others; None where they say nothing."""
        times = self.new_times()
        if not self.columns.has_time:
            return times.file_form() or {}
        try:
            batch = table.first_rows(self._names)
            if batch is None:
                return None
            file, array = str(table.path), batch.column(self.columns.timestamp)
            kept = find_rows(self.where, dict(zip(self._names, batch.columns, strict=True)), file)
            if kept is not None:
                array = array.filter(pa.array(kept))
            times.to_seconds(array, file, np.arange(len(array)))
        except InputError:
            return None  # Who reads the whole file tells of it.
        return times.file_form()

    @property
    def _names(self) -> list[str]:
        """Columns to read, each once."""
        names = self._names_by_field.values()
        return list(dict.fromkeys([*names, *(c.column for c in self.where)]))

    @property
    def _names_by_field(self) -> dict[str, str]:
        names = self.columns.names_by_field(with_split=self.reads_split)
        return names | {FEATURE_FIELD + c.name: c.source for c in self.features}

    def _check_features(self) -> None:
        for table in self._tables:
            table.require([c.source for c in self.features], _FEATURE_REMEDY)
            table.require_single([c.source for c in self.features])

    @property
    def _id_names(self) -> list[str]:
        names = [self.columns.user_id, self.columns.item_id, self.columns.event_type]
        numeric = {c.source for c in self.features if c.kind == "numeric"}
        names += [c.source for c in self.features if c.source not in numeric]
        return [name for name in dict.fromkeys(names) if name]

    def _sizes(self) -> list[int]:
        # A file that has gone since is told of when it is read.
        return [file.stat().st_size if file.exists() else 0 for file in self.files]

    def _select(
        self, rows: np.ndarray, batch: pa.RecordBatch, file: str
    ) -> tuple[dict[str, pa.Array], np.ndarray]:
        """The columns by field, and the numbers, of the rows that meet the conditions."""
        names = self._names_by_field
        conditions = {c.column: batch.column(c.column) for c in self.where}
        kept = self._find_rows(conditions, file)
        if kept is not None:
            rows = rows[kept.to_numpy(zero_copy_only=False)]
            batch = batch.filter(kept)
        return {field: batch.column(name) for field, name in names.items()}, rows

    def _raw_batches(self, bad_rows: BadRows) -> Iterator[RawBatch]:
        sizes = self._sizes()
        first_row = num_rows = 0
        for number, table in enumerate(self._tables):
            file = str(table.path)
            for rows, batch in table.read_rows(self._names, bad_rows, encoded=self._id_names):
                done = sum(sizes[:number]) + table.share_read * sizes[number]
                self.share_read = done / max(1, sum(sizes))
                num_rows = first_row + int(rows[-1]) + 1 if len(rows) else num_rows
                columns, rows = self._select(rows, batch, file)
                yield RawBatch(columns, first_row + rows, file, first_row)
            first_row = num_rows
