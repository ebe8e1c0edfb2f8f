"""Files copied into stores and out of them, with the SHA-256 of what went over the network.

Imports no TensorFlow.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.fs as arrow_fs

from recall.errors import InputError
from serving.stores import attempts, files, urls
from serving.stores.failures import explained
from serving.stores.filesystems import locate

_COPY_CHUNK_BYTES = 8 << 20
"""Read at a time of a copy; small enough for several copies at a time."""

_LARGEST_MOVE_BYTES = 5 << 30
"""Of an object that S3 copies in one request."""


def upload(path: str | os.PathLike, url: str) -> str:
    """Copies a local file into a store, where it appears whole.

    What breaks it off in this process leaves no file of this name, not even an old one:
    a stream of Arrow can be closed, which makes a whole object of what was sent, but not
    given up. Where the old one is needed, see `replace`.

    Returns:
        Hexadecimal SHA-256 of the bytes that were sent.

    Raises:
        InputError: The store refuses it, or the file cannot be read.
    """
    return attempts.retried(lambda: _upload(path, url))


def _upload(path: str | os.PathLike, url: str) -> str:
    """One attempt of `upload`."""
    with _local_file(path, "rb") as source, explained(url, "write"):
        location = locate(url)
        if isinstance(location.filesystem, arrow_fs.HadoopFileSystem):
            location.filesystem.create_dir(os.path.dirname(location.path))
        target = location.filesystem.open_output_stream(location.path, compression=None)
        try:
            digest = _copy(source, target)
        except BaseException:
            # Closing it, which also happens by itself, makes a whole object of what was sent.
            with contextlib.suppress(OSError):
                target.close()
                location.filesystem.delete_file(location.path)
            raise
        target.close()
    return digest


def replace(path: str | os.PathLike, url: str) -> None:
    """As `upload`, but a file that is there stays until the new one is whole.

    That comes under another name first, hidden and beside it, and is then renamed by the
    store. A file of more than 5 GiB is sent to its own name: S3 would not rename it.

    Raises:
        InputError: See `upload`.
    """
    with explained(os.fspath(path), "read"):
        size = os.path.getsize(path)
    if url.startswith("s3://") and size > _LARGEST_MOVE_BYTES:
        upload(path, url)
        return
    name = urls.name_of(url)
    partial = f"{url[: -len(name)]}.{name}.{uuid.uuid4().hex[:8]}.partial"
    upload(path, partial)
    try:
        files.move_file(partial, url)
    except BaseException:
        with contextlib.suppress(InputError):
            files.remove_files([partial])
        raise


def download(url: str, path: str | os.PathLike) -> str:
    """Copies a file of a store to a local path, whose folder exists; not at once.

    Returns:
        Hexadecimal SHA-256 of the bytes that came.

    Raises:
        InputError: There is none, it may not be read, or the disk is full.
    """
    with (
        files.open_input_stream(url) as source,
        _local_file(path, "wb") as target,
        explained(url, "read"),
    ):
        return _copy(source, target)


def _copy(source: BinaryIO | pa.NativeFile, target: BinaryIO | pa.NativeFile) -> str:
    """Copies all bytes; their SHA-256. `pyarrow.fs.copy_files` would hide a failed close."""
    digest = hashlib.sha256()
    while chunk := source.read(_COPY_CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


class _LocalFile:
    """A local file whose errors are not those of a store."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def read(self, size: int) -> bytes:
        with explained(self._file.name, "read"):
            return self._file.read(size)

    def write(self, content: bytes) -> None:
        with explained(self._file.name, "write"):
            self._file.write(content)


@contextlib.contextmanager
def _local_file(path: str | os.PathLike, mode: str) -> Iterator[_LocalFile]:
    with explained(os.fspath(path), "read" if mode == "rb" else "write"):
        file = open(path, mode)  # noqa: SIM115
    try:
        yield _LocalFile(file)
    finally:
        with explained(os.fspath(path), "write"):
            file.close()
