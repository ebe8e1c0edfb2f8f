"""A log in CSV or Parquet files as a source of events."""

from collections.abc import Iterator

from pipelines import table_files
from pipelines.bad_rows import BadRows
from pipelines.events import DEFAULT_COLUMNS, EventColumns, EventSource, RawBatch
from recall.errors import InputError


class FileSource(EventSource):
    """Reads one file, or several as if they were one, sorted by their names.

    Attributes:
        files: The files read.
    """

    def __init__(self, spec: str, columns: EventColumns = DEFAULT_COLUMNS):
        """Looks at the header of every file.

        Raises:
            InputError: A file is missing, unreadable, of an unknown format, or
                lacks a column.
        """
        super().__init__(spec, columns)
        self.files = table_files.list_files(spec)
        wanted = columns.names_by_field(with_split=columns.split not in ("", DEFAULT_COLUMNS.split))
        with_split = []
        for file in self.files:
            found = table_files.read_names(file)
            table_files.require_columns(file, found, wanted.values())
            with_split.append(columns.split in found)
        self.has_split = with_split[0]
        if any(has_split != self.has_split for has_split in with_split):
            raise InputError(f"Only some files of {spec} have a column {columns.split!r}.")

    def fingerprint(self) -> str:
        """SHA-256 over the bytes of the files and the names of the columns."""
        return table_files.fingerprint(self.files, self.columns)

    def _raw_batches(self, bad_rows: BadRows) -> Iterator[RawBatch]:
        names = self.columns.names_by_field(with_split=self.reads_split)
        distinct = list(dict.fromkeys(names.values()))
        first_row = num_rows = 0
        for file in self.files:
            for rows, batch in table_files.read_rows(file, distinct, bad_rows):
                columns = {field: batch.column(name) for field, name in names.items()}
                num_rows = first_row + int(rows[-1]) + 1 if len(rows) else num_rows
                yield RawBatch(columns, first_row + rows, str(file), first_row)
            first_row = num_rows
