"""Rows of text files, `.csv` and its kin, as a stream of Arrow batches.

Every value is read as text; what it means is decided elsewhere.
"""

import codecs
import io
import re
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipelines.sources.columns.bad_rows import BadRow, BadRows
from pipelines.sources.tables import compression, file_parts, text_format
from pipelines.sources.tables.file_parts import WHOLE_FILE, FilePart
from pipelines.sources.tables.quoted_fields import QuotedFields, count_lines
from pipelines.sources.tables.text_format import TextFormat, TextOptions
from recall.errors import InputError
from serving.stores.store_path import AnyPath, StorePath

_BLOCK_BYTES = 4 << 20
"""Text parsed at a time, about 200,000 events: memory stays in tens of MB."""

_MARK_IN_TEXT = re.compile(rb"(?<=[\n\r])" + codecs.BOM_UTF8)

_UNIT_SEPARATOR = "\x1f"
"""Stands for a separator of several characters, which Arrow does not know."""


class TextTable:
    """One text file.

    Attributes:
        path: The file.
        names: Names of its columns.
        lists: Names of those that hold several words, separated by blanks.
        share_read: Share of the file that the newest `read_rows` has taken, in [0, 1].
    """

    share_read = 0.0

    def __init__(self, path: AnyPath, options: TextOptions = text_format.DEFAULT_TEXT):
        """Looks at the first line.

        Raises:
            InputError: The file cannot be read as text, or is empty.
        """
        self.path, self._options = path, options
        try:
            self._format = text_format.find_format(path, options)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(_explain(path, error, options)) from error
        self.names, self.lists = list(self._format.names), self._format.lists

    def parts(self) -> list[FilePart]:
        """The file in parts of whole lines; one, where it is compressed or has quotes."""
        layout = self._format
        if (
            # To look for the ends of lines in a store would be to read all of it twice.
            isinstance(self.path, StorePath)
            or compression.packed_ending(self.path)
            or layout.escape
            or codecs.lookup(layout.encoding).name not in ("utf-8", "ascii")
        ):
            return [WHOLE_FILE]
        try:
            return file_parts.find_line_parts(
                self.path, layout.header_bytes, file_parts.PART_BYTES, quoting=layout.quoting
            )
        except OSError as error:
            raise InputError(_explain(self.path, error, self._options)) from error

    def first_rows(self, names: list[str]) -> pa.RecordBatch | None:
        """Rows from the beginning, None where there are none that can be read."""
        bad_rows = BadRows(sys.maxsize)
        return next((batch for _, batch in self.read_rows(names, bad_rows)), None)

    def read_rows(
        self,
        names: list[str],
        bad_rows: BadRows,
        part: FilePart = WHOLE_FILE,
        encoded: Sequence[str] = (),
    ) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Streams the columns `names` as text.

        Rows with too few or too many fields, and those that would be lost in a
        quoted field, are counted in `bad_rows` and left out; the numbers of the
        other rows still count them. Blank lines are no rows.

        Yields:
            `[n]` int64, the 0-based data row numbers, and the `n` rows.

        Raises:
            InputError: The file is damaged, or has too many bad rows.
        """
        del encoded  # Every value is a text of its own.
        ragged = _RaggedRows(self.path, bad_rows, self._options, part.first_row)
        num_rows = 0
        try:
            num_bytes = self.path.stat().st_size * part.share
            with compression.open_bytes(self.path) as file:
                lines = file if part == WHOLE_FILE else file_parts.Lines(file, part)
                layout = self._format if part.start == 0 else self._format._replace(header_bytes=0)
                stream = _Stream(lines, layout, ragged, self._options)
                if not stream.has_more():
                    return
                for batch in self._open_csv(stream, names, ragged):
                    bad_rows.check()
                    position = (compression.position(file) or 0) - part.start
                    self.share_read = min(1.0, position / max(1, num_bytes))
                    kept = np.arange(num_rows, num_rows + batch.num_rows)
                    num_rows += batch.num_rows
                    yield part.first_row + ragged.to_data_rows(kept), self._trim(batch)
        except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
            bad_rows.check()
            raise InputError(_explain(self.path, error, self._options)) from error
        bad_rows.check()

    def _trim(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Takes away the blanks of a file that has one after every separator."""
        if not self._format.trim:
            return batch
        columns = [pc.utf8_trim_whitespace(column) for column in batch.columns]
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

    def _open_csv(
        self, stream: "_Stream", names: list[str], ragged: "_RaggedRows"
    ) -> pyarrow.csv.CSVStreamingReader:
        quoting = self._format.quoting
        return pyarrow.csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            # One thread: the parser knows row numbers only when it goes in order.
            # Its block has room for ours and for what was left of the one before.
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=4 * _BLOCK_BYTES, column_names=self._unique_names()
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=_byte_of(self._format.separator),
                quote_char='"' if quoting else False,
                escape_char=self._format.escape or False,
                invalid_row_handler=ragged,
                newlines_in_values=quoting,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=names, column_types={name: pa.string() for name in names}
            ),
        )

    def _unique_names(self) -> list[str]:
        """Names by which the parser tells the columns apart; repeated ones are not read."""
        return [n if self.names.count(n) == 1 else f"{n}\0{i}" for i, n in enumerate(self.names)]


class _RaggedRows:
    """Counts the rows that the parser leaves out, and keeps their numbers.

    Attributes:
        skipped: 0-based data row numbers, ascending.
        quoted: The guard of the quoted fields, None where there are none.
    """

    def __init__(self, path: AnyPath, bad_rows: BadRows, options: TextOptions, first_row: int):
        self.path, self.bad_rows, self._options = path, bad_rows, options
        self._first_row = first_row
        self.skipped: list[int] = []
        self.quoted: QuotedFields | None = None

    def __call__(self, row: pyarrow.csv.InvalidRow) -> str:
        """Counts a row; tells the parser to stop once there are too many."""
        self.skipped.append(row.number - 1)
        lost = self.quoted.bad_lines.pop(row.text, None) if self.quoted else None
        if lost:
            text, reason, num_lines = lost
        else:
            text, num_lines = row.text, count_lines(row.text)
            reason = self._reason(row)
        place = BadRow(num_lines, str(self.path), self._first_row + row.number, "", text)
        self.bad_rows.add(reason, place)
        return "skip" if self.bad_rows.total <= self.bad_rows.max_bad_rows else "error"

    def _reason(self, row: pyarrow.csv.InvalidRow) -> str:
        fields = "field" if row.actual_columns == 1 else "fields"
        reason = f"{row.actual_columns} {fields} instead of {row.expected_columns}"
        if '\\"' in row.text and self.quoted and not self._options.escape:
            reason += (
                f"; if a backslash stands before quotes, pass --{self._options.prefix}escape=\\"
            )
        return reason

    def to_data_rows(self, kept: np.ndarray) -> np.ndarray:
        """Numbers among the kept rows -> numbers among all rows, both ascending."""
        kept_before = np.asarray(self.skipped, np.int64) - np.arange(len(self.skipped))
        return kept + np.searchsorted(kept_before, kept, side="right")


class _Stream(io.RawIOBase):
    """Data rows of a text file as UTF-8 with a separator of one character."""

    def __init__(
        self, file: io.RawIOBase, layout: TextFormat, ragged: _RaggedRows, options: TextOptions
    ):
        self._file = file
        self._decoder = None
        if codecs.lookup(layout.encoding).name != "utf-8":
            self._decoder = codecs.getincrementaldecoder(layout.encoding)()
        separator = layout.separator.encode()
        self._separator = separator if len(separator) > 1 else None
        self._pending = self._cut_mark = b""
        self._at_line_start = True
        self._skip(layout.header_bytes)
        self._source = self._read_text
        if layout.quoting:
            ragged.quoted = QuotedFields(
                self._read_text,
                _byte_of(layout.separator),
                len(layout.names),
                escape=layout.escape,
                trusted=layout.trusted,
                flag_prefix=options.prefix,
            )
            self._source = ragged.quoted.read
        self._block = b""

    def readable(self) -> bool:
        """As `io` wants it."""
        return True

    def has_more(self) -> bool:
        """Whether any row may follow."""
        if not self._block:
            self._block = self._source(_BLOCK_BYTES)
        return bool(self._block)

    def read(self, size: int = -1) -> bytes:
        """One block, or what `size` allows of it; b"" at the end."""
        if not self.has_more():
            return b""
        size = len(self._block) if size is None or size < 0 else size
        block, self._block = self._block[:size], self._block[size:]
        return block

    def _skip(self, size: int) -> None:
        while size and (data := self._file.read(size)):
            size -= len(data)

    def _read_text(self, size: int) -> bytes:
        """UTF-8 text of about `size` bytes, b"" at the end."""
        while True:
            data = self._file.read(size)
            ended = not data
            if self._decoder is not None:
                data = self._decoder.decode(data, final=ended).encode()
            data = self._without_marks(data, ended)
            if self._separator is not None:
                data = self._replace(data, ended)
            if data or ended:
                return data

    def _without_marks(self, data: bytes, ended: bool) -> bytes:
        """Takes away byte order marks at the beginning of lines, as joined files have them."""
        data, self._cut_mark = self._cut_mark + data, b""
        if data.endswith((codecs.BOM_UTF8[:1], codecs.BOM_UTF8[:2])) and not ended:
            cut = data.rindex(codecs.BOM_UTF8[:1])
            data, self._cut_mark = data[:cut], data[cut:]
        if self._at_line_start and data.startswith(codecs.BOM_UTF8):
            data = data[len(codecs.BOM_UTF8) :]
        if codecs.BOM_UTF8 in data:
            data = _MARK_IN_TEXT.sub(b"", data)
        if data:
            self._at_line_start = data.endswith((b"\n", b"\r"))
        return data

    def _replace(self, data: bytes, ended: bool) -> bytes:
        """Puts one character for each separator; one may be cut by the block's end."""
        data = self._pending + data
        kept = 0 if ended else len(self._separator) - 1
        cut = len(data) - kept
        # A separator that begins before the cut and ends after it stays whole.
        end = data.rfind(self._separator, max(0, cut - kept))
        if end >= 0:
            cut = max(cut, end + len(self._separator))
        self._pending = data[cut:]
        return data[:cut].replace(self._separator, _UNIT_SEPARATOR.encode())


def _byte_of(separator: str) -> str:
    return separator if len(separator.encode()) == 1 else _UNIT_SEPARATOR


def _explain(path: AnyPath, error: Exception, options: TextOptions) -> str:
    """One line saying what is wrong with a file and what to do."""
    text = str(error)
    if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in text:
        packed = compression.compression_of_content(path)
        if packed and not compression.packed_ending(path):
            name = "gzip" if packed == ".gz" else packed[1:]
            return f"{path} is {name} data. Name it {path.name}{packed}."
        return (
            f"{path} is not {options.encoding or 'UTF-8'} text. Convert it to UTF-8, or name its "
            f"encoding, for example --{options.prefix}encoding=latin-1."
        )
    if isinstance(error, OSError) and error.strerror:
        return f"Cannot read {path}: {error.strerror}. Check the path and its permissions."
    reason = re.sub(r"\s+", " ", text)
    return f"Cannot read {path}: {reason}. Check its quotes and field separators."
