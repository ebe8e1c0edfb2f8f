"""Files of stores for code that takes `pathlib.Path`: names, sizes, and bytes to read.

Imports no TensorFlow.
"""

import io
import os
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from recall.errors import InputError
from serving.stores import files, urls
from serving.stores.failures import explained
from serving.stores.files import FileEntry

_FIRST_READ_BYTES = 1 << 16
"""Of a file read from its beginning: a header needs no more."""

_LARGEST_READ_BYTES = 8 << 20
"""What a read grows to, doubled each time: one request each, and what a reader holds."""


class _Stat(NamedTuple):
    """What `os.stat_result` says of a file, as far as a store knows it."""

    st_size: int
    st_mtime_ns: int


class StorePath:
    """A file or folder of a store, as far as readers of tables use `pathlib.Path`.

    Attributes:
        url: Where it is.
        entry: What a listing said of it; None of a folder.
    """

    def __init__(self, url: str, entry: FileEntry | None = None):
        """Names it; the store is not asked."""
        self.url, self.entry = url, entry

    @property
    def name(self) -> str:
        """The last part."""
        return urls.name_of(self.url)

    @property
    def suffix(self) -> str:
        """The last ending of the name."""
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        """All endings of the name."""
        return PurePosixPath(self.name).suffixes

    def is_relative_to(self, folder: "Path | StorePath") -> bool:
        """Whether it is below a folder, or that folder."""
        return f"{self}/".startswith(f"{folder}/")

    def relative_to(self, folder: "Path | StorePath") -> PurePosixPath:
        """The path below a folder.

        Raises:
            ValueError: It is not below it.
        """
        if not self.is_relative_to(folder):
            raise ValueError(f"{self} is not in {folder}")
        return PurePosixPath(str(self)[len(str(folder)) + 1 :])

    def exists(self) -> bool:
        """Whether it was listed as a file."""
        return self.entry is not None

    def is_file(self) -> bool:
        """As `exists`."""
        return self.entry is not None

    def stat(self) -> _Stat:
        """Size and time as they were listed."""
        return _Stat(self.entry.size, self.entry.changed_ns)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"StorePath({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorePath) and other.url == self.url

    def __lt__(self, other: "StorePath") -> bool:
        return self.url < other.url

    def __hash__(self) -> int:
        return hash(self.url)


AnyPath = Path | StorePath
"""A file or folder, here or in a store."""


def open_binary(path: AnyPath) -> BinaryIO:
    """A file to be read as those that `open(path, "rb")` returns: read, peek, seek, tell.

    Raises:
        OSError: A local one cannot be read.
        InputError: One of a store cannot be read; its reads raise this too.
    """
    if not isinstance(path, StorePath):
        return open(path, "rb")
    return io.BufferedReader(_Reads(path), _LARGEST_READ_BYTES)


def open_ranges(path: AnyPath) -> pa.NativeFile:
    """A file that `pyarrow.parquet` reads parts of.

    Raises:
        OSError: A local one cannot be read.
        InputError: One of a store cannot be read.
    """
    return files.open_input_file(path.url) if isinstance(path, StorePath) else pa.OSFile(str(path))


class _Reads(io.RawIOBase):
    """A file of a store in requests that grow."""

    def __init__(self, path: StorePath):
        self._url = path.url
        self._file = files.open_input_file(path.url)
        # Arrow may ask a store for the size, and keeps Python's lock meanwhile.
        self._size = path.entry.size if path.entry else self._file.size()
        self._at = 0
        self._read_bytes = _FIRST_READ_BYTES

    def readable(self) -> bool:
        """As `io` wants it."""
        return True

    def seekable(self) -> bool:
        """As `io` wants it."""
        return True

    def readinto(self, buffer: memoryview) -> int:
        """Some of the bytes that the buffer has room for, 0 at the end."""
        wanted = min(len(buffer), self._read_bytes, self._size - self._at)
        if wanted <= 0:
            return 0
        with explained(self._url, "read"):
            content = self._file.read_at(wanted, self._at)
        if len(content) < wanted:
            raise InputError(f"{self._url} changed while it was read. Give the command again.")
        buffer[: len(content)] = content
        self._at += len(content)
        self._read_bytes = min(2 * self._read_bytes, _LARGEST_READ_BYTES)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to another place; nothing is asked of the store."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def close(self) -> None:
        """Closes the file too."""
        if not self.closed:
            self._file.close()
        super().close()
