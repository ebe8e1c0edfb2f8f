"""Bytes of files, whole or compressed: `.gz`, `.bz2`, `.xz`, `.zst` and `.zip`.

A file is read as a stream. Several compressed streams in one file are one
text, zero bytes after the last one (padding of tapes and of `tar`) are no data,
and anything else there is refused. Imports no TensorFlow.
"""

import bz2
import io
import lzma
import zipfile
import zlib
from typing import Any, BinaryIO

import pyarrow as pa

from recall.errors import InputError
from serving.stores.store_path import AnyPath, StorePath, open_binary

ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".zip")

_NAMES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard", ".zip": "zip"}
_MAGIC = {
    ".gz": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ\x00",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".zip": b"PK\x03\x04",
}
_COMPRESSED_BYTES = 1 << 20
"""Compressed bytes taken at a time; what they become is bounded by the reader."""


def packed_ending(path: AnyPath) -> str:
    """The last ending of a name in small letters when it is a compression's, or ""."""
    ending = path.suffix.lower()
    return ending if ending in ENDINGS else ""


def member_name(path: AnyPath) -> str:
    """Name of the one file inside a `.zip`.

    Raises:
        InputError: There is none, or more than one, or it is no zip.
    """
    with _open_zip(path) as archive:
        return _only_member(path, archive)


def open_bytes(path: AnyPath) -> BinaryIO:
    """Opens a file for reading; its content comes out decompressed.

    Reading raises `InputError` where the compressed data are damaged or cut off.

    Raises:
        InputError: The file is not compressed as its name says.
        OSError: It cannot be opened.
    """
    ending = packed_ending(path)
    if not ending:
        return open_binary(path)
    if ending == ".zip":
        return _open_member(path)
    file = open_binary(path)  # Closed by the stream that is returned.
    start = file.peek(len(_MAGIC[ending]))[: len(_MAGIC[ending])]
    if start != _MAGIC[ending]:
        file.close()
        if not start:
            raise InputError(f"{path} is empty: 0 bytes. Make it again.")
        raise InputError(
            f"{path} is not {_NAMES[ending]}. Compress it, or drop {path.suffix} from its name."
        )
    if ending == ".zst":
        return _LibraryStream(pa.CompressedInputStream(file, "zstd"), path, ending)
    return _MemberStream(file, path, ending)


def position(stream: BinaryIO) -> int | None:
    """Bytes of the file that have been taken for what was read of `open_bytes`.

    None where a library reads it.
    """
    if isinstance(stream, _LibraryStream):
        return None
    return stream.taken if isinstance(stream, _MemberStream) else stream.tell()


def compression_of_content(path: AnyPath) -> str:
    """Ending that the first bytes of a file ask for, "" where they are not compressed."""
    with open_binary(path) as file:
        start = file.read(8)
    return next((ending for ending, magic in _MAGIC.items() if start.startswith(magic)), "")


class _ZlibMember:
    """`zlib`'s decompressor of one gzip member, used as those of `bz2` and `lzma` are."""

    def __init__(self):
        self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes more."""
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        """Whether all that was given is used up."""
        return not self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the end of the member."""
        return self._inner.unused_data


_MEMBERS = {".gz": _ZlibMember, ".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor}


class _MemberStream(io.RawIOBase):
    """Decompressed bytes of a gzip, bzip2 or xz file of one or more streams.

    Not the readers of the standard library, because those of bzip2 and xz end
    in silence at whatever follows a stream.
    """

    def __init__(self, file: BinaryIO, path: AnyPath, ending: str):
        self._file, self._path, self._ending = file, path, ending
        self._member: Any = _MEMBERS[ending]()
        self._data = b""

    @property
    def taken(self) -> int:
        """Bytes of the file that have been taken."""
        return self._file.tell()

    def readable(self) -> bool:
        """As `io` wants it."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, b"" at the end."""
        size = _COMPRESSED_BYTES if size is None or size < 0 else size
        text = b""
        while size and not text:
            if self._member.eof and not self._open_next():
                return b""
            if self._member.needs_input and not self._data:
                self._data = self._file.read(_COMPRESSED_BYTES)
                if not self._data:
                    raise InputError(
                        f"{self._path} is cut off inside its {_NAMES[self._ending]} data. "
                        "Copy or make it again."
                    )
            data, self._data = self._data, b""
            try:
                text = self._member.decompress(data, size)
            except (zlib.error, lzma.LZMAError, OSError) as error:
                raise _damaged(self._path, self._ending) from error
        return text

    def _open_next(self) -> bool:
        """Starts the stream after the one that ended; False when there is none."""
        rest = self._member.unused_data.lstrip(b"\0")
        while not rest:
            data = self._file.read(_COMPRESSED_BYTES)
            if not data:
                return False
            rest = data.lstrip(b"\0")
        magic = _MAGIC[self._ending]
        if len(rest) < len(magic):
            rest += self._file.read(len(magic))
        if not rest.startswith(magic):
            raise InputError(
                f"{self._path} goes on after its {_NAMES[self._ending]} data with "
                f"{rest[:8]!r}. Remove what follows, or make the file again."
            )
        self._member, self._data = _MEMBERS[self._ending](), rest
        return True

    def close(self) -> None:
        """Closes the file too."""
        self._file.close()
        super().close()


class _LibraryStream(io.RawIOBase):
    """A reader of a library whose errors are told in our words."""

    def __init__(self, inner: Any, path: AnyPath, ending: str):
        self._inner, self._path, self._ending = inner, path, ending

    def readable(self) -> bool:
        """As `io` wants it."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, b"" at the end."""
        try:
            return self._inner.read(None if size is None or size < 0 else size)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            if isinstance(error, EOFError) or "Truncated" in str(error):
                raise InputError(
                    f"{self._path} is cut off inside its {_NAMES[self._ending]} data. "
                    "Copy or make it again."
                ) from error
            raise _damaged(self._path, self._ending) from error

    def close(self) -> None:
        """Closes the library's reader too."""
        self._inner.close()
        super().close()


def _open_zip(path: AnyPath) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(open_binary(path) if isinstance(path, StorePath) else path)
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{path} is not a whole zip file. Make it again, or drop {path.suffix} from its name."
        ) from error


def _only_member(path: AnyPath, archive: zipfile.ZipFile) -> str:
    # macOS adds a folder of its own, __MACOSX, for attributes of the files.
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not name.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        raise InputError(
            f"{path} holds {len(names)} files ({', '.join(map(repr, names[:3]))}). "
            "Unpack it and name the file to read."
        )
    return names[0]


def _open_member(path: AnyPath) -> BinaryIO:
    try:
        # The file stays open until the member is closed too.
        with _open_zip(path) as archive:
            return _LibraryStream(archive.open(_only_member(path, archive)), path, ".zip")
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"Cannot read {path}: {error}. Unpack it.") from error


def _damaged(path: AnyPath, ending: str) -> InputError:
    return InputError(f"{path} holds damaged {_NAMES[ending]} data. Copy or make it again.")
