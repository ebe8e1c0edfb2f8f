"""Parts of one file that can be read apart: row groups of Parquet, lines of plain text.

Imports no TensorFlow.
"""

import io
from pathlib import Path
from typing import BinaryIO, NamedTuple

PART_ROWS = 1 << 20
"""Rows of a part of a Parquet file: enough that ids repeat, some tens of MB in memory."""

PART_BYTES = 32 << 20
"""Of text, about a million events."""

_SCANNED_BYTES = 4 << 20


class FilePart(NamedTuple):
    """Consecutive rows of a file.

    Attributes:
        start: Where it begins: a row group, or a byte of a text.
        stop: Where it ends; None at the end of the file.
        first_row: 0-based data row number of its first row in the file.
        share: Share of the file that it is.
    """

    start: int = 0
    stop: int | None = None
    first_row: int = 0
    share: float = 1.0


WHOLE_FILE = FilePart()


def find_line_parts(
    path: Path, header_bytes: int, part_bytes: int, *, quoting: bool
) -> list[FilePart]:
    """Cuts a plain text in UTF-8 at ends of lines.

    The whole text is looked at, because a quote may make a line break a part of a
    field, and a blank line is no row: then the file is one part. Looking costs less
    than the checksum of the file.

    Args:
        path: The file.
        header_bytes: Bytes before the first row.
        part_bytes: Bytes of a part, about.
        quoting: Whether `"` encloses fields.
    """
    size = path.stat().st_size
    if size - header_bytes < 2 * part_bytes:
        return [WHOLE_FILE]
    starts, first_rows, num_lines, position = [0], [0], 0, header_bytes
    next_cut, tail = header_bytes + part_bytes, b"\n"
    with open(path, "rb") as file:
        file.seek(header_bytes)
        while block := file.read(_SCANNED_BYTES):
            if not _is_plain(tail, block, quoting=quoting):
                return [WHOLE_FILE]
            while next_cut < position + len(block) and size - next_cut > part_bytes // 2:
                end = block.find(b"\n", max(0, next_cut - position)) + 1
                if not end:
                    break
                starts.append(position + end)
                first_rows.append(num_lines + block.count(b"\n", 0, end))
                next_cut = position + end + part_bytes
            num_lines += block.count(b"\n")
            position += len(block)
            tail = block[-2:]
    stops = [*starts[1:], None]
    return [
        FilePart(start, stop, row, ((stop or size) - start) / size)
        for start, stop, row in zip(starts, stops, first_rows, strict=True)
    ]


def _is_plain(tail: bytes, block: bytes, *, quoting: bool) -> bool:
    """Whether every line break of a block ends a row, and every row ends so.

    Args:
        tail: The last bytes before the block.
        block: Some bytes of the text.
        quoting: Whether `"` encloses fields.
    """
    if quoting and b'"' in block:
        return False
    if b"\n\n" in block or (tail.endswith(b"\n") and block.startswith((b"\n", b"\r"))):
        return False
    if b"\r" not in block and not tail.endswith(b"\r"):
        return True
    # A break is `\r\n` everywhere, and no two follow each other.
    text = tail + block
    lone = text.count(b"\r") - text.count(b"\r\n") - text.endswith(b"\r")
    return lone == 0 and b"\n\r" not in text


class Lines(io.RawIOBase):
    """The bytes of one part of a file, from its first on."""

    def __init__(self, file: BinaryIO, part: FilePart):
        """Goes to the beginning of `part`."""
        self._file = file
        file.seek(part.start)
        self._left = None if part.stop is None else part.stop - part.start

    def readable(self) -> bool:
        """As `io` wants it."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, b"" at the end of the part."""
        if self._left is not None:
            size = self._left if size is None or size < 0 else min(size, self._left)
        data = self._file.read(size)
        if self._left is not None:
            self._left -= len(data)
        return data
