"""A log in text or Parquet files as a source of events."""

from collections.abc import Iterator, Sequence

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.where import Condition
from pipelines.sources.events import DEFAULT_COLUMNS, EventColumns, EventSource, RawBatch
from pipelines.sources.tables import table_files
from pipelines.sources.tables.text_format import DEFAULT_TEXT, TextOptions
from recall.errors import InputError

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
        settings = list(self.columns)
        if self._text != DEFAULT_TEXT:
            settings.append(repr(self._text))
        settings += [repr(condition) for condition in self.where]
        settings += [repr(t.partitions) for t in self._tables if t.partitions]
        return table_files.fingerprint(self.files, settings)

    def _raw_batches(self, bad_rows: BadRows) -> Iterator[RawBatch]:
        names = self.columns.names_by_field(with_split=self.reads_split)
        conditions = [condition.column for condition in self.where]
        distinct = list(dict.fromkeys([*names.values(), *conditions]))
        # A file that has gone since is told of when it is read.
        sizes = [file.stat().st_size if file.exists() else 0 for file in self.files]
        first_row = num_rows = 0
        for number, table in enumerate(self._tables):
            file = str(table.path)
            for rows, batch in table.read_rows(distinct, bad_rows):
                done = sum(sizes[:number]) + table.share_read * sizes[number]
                self.share_read = done / max(1, sum(sizes))
                num_rows = first_row + int(rows[-1]) + 1 if len(rows) else num_rows
                kept = self._find_rows({name: batch.column(name) for name in conditions}, file)
                if kept is not None:
                    rows = rows[kept.to_numpy(zero_copy_only=False)]
                    batch = batch.filter(kept)
                columns = {field: batch.column(name) for field, name in names.items()}
                yield RawBatch(columns, first_row + rows, file, first_row)
            first_row = num_rows
