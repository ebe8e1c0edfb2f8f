"""Files here and in stores by one set of calls: find, read in parts, write, copy, remove.

Imports no TensorFlow. A place is a local path or a URL (`serving/stores/urls.py`). What is
refused is one line (`serving/stores/failures.py`). A file in a store appears whole when the last
byte is written: until then readers see the old one, or none.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs as arrow_fs

from recall.errors import InputError
from serving.stores import attempts, patterns, urls
from serving.stores.failures import (
    MissingBucketError,
    MissingError,
    StoreAwayError,
    UnsaidError,
    explained,
    missing_bucket,
)
from serving.stores.filesystems import Location, locate

_LOOKS = 16
"""Requests at a time for what stores say of files."""

_WRITE_CHECK = ".recall_write_check"
"""Name of a file that says nothing: where it stays, the next job replaces it."""


class FileEntry(NamedTuple):
    """A file that a listing found.

    Attributes:
        place: URL, or local path.
        size: In bytes.
        changed_ns: When it was written last, by the clock of its store; 0 where
            the store does not tell.
    """

    place: str
    size: int
    changed_ns: int


def list_files(folder: str) -> list[FileEntry]:
    """All files below a folder, however deep, by their names; none where it is missing.

    Raises:
        InputError: The bucket is missing, or may not be listed.
    """
    location, found = _list(folder, recursive=True)
    # An empty object whose name ends with a stroke is how consoles show a new folder.
    files = [info for info in found if info.type == arrow_fs.FileType.File]
    entries = [_entry(folder, location, info) for info in files]
    return sorted(entry for entry in entries if not entry.place.endswith("/"))


def list_names(folder: str) -> list[str]:
    """Names of the files and folders right below a folder; none where it is missing.

    Raises:
        InputError: See `list_files`.
    """
    _, found = _list(folder, recursive=False)
    return sorted(info.base_name for info in found)


def find_files(pattern: str) -> list[FileEntry]:
    """Files of a store that match a URL with `*`, `?`, `[...]` or `**`, by their names.

    As in a shell: `*` stops at a stroke, `**/` is any number of folders, and none of
    them finds names that begin with a dot.

    Raises:
        InputError: See `list_files`.
    """
    folder, rest = urls.split_pattern(pattern)
    matches, is_hidden = patterns.compiled(rest).fullmatch, re.compile(r"(^|/)\.").search
    names = {urls.relative(file.place, folder): file for file in list_files(folder)}
    wanted = [name for name in names if matches(name) and (is_hidden(rest) or not is_hidden(name))]
    return [names[name] for name in wanted]


def look_at(place: str) -> FileEntry | None:
    """One file, None where there is none of this name (but perhaps a folder).

    Raises:
        InputError: The store cannot be asked.
    """
    with _asked(place):
        location = locate(place)
        info = location.filesystem.get_file_info(location.path)
        if info.type != arrow_fs.FileType.File:
            return None
    return _entry(place, location, info)._replace(place=place)


def is_folder(place: str) -> bool:
    """Whether there is a folder, or anything below such a name.

    Raises:
        InputError: The store cannot be asked.
    """
    with _asked(place):
        location = locate(place)
        info = location.filesystem.get_file_info(location.path)
    return info.type == arrow_fs.FileType.Directory


def open_input_file(place: str) -> pa.NativeFile:
    """A file to be read at any offset: `seek`, `read`, `read_at`, `size`; close it.

    Every read of a file in a store is one request for a range of bytes, so
    that workers read their own parts; `pyarrow.parquet` takes such a file.

    Raises:
        InputError: There is none, or it may not be read. Reads themselves raise
            `OSError`; wrap them in `failures.explained`.
    """
    with _asked(place):
        location = locate(place)
        return location.filesystem.open_input_file(location.path)


def open_input_stream(place: str) -> pa.NativeFile:
    """A file to be read from its beginning, as it is stored: nothing is decompressed.

    Raises:
        InputError: See `open_input_file`.
    """
    with _asked(place):
        location = locate(place)
        return location.filesystem.open_input_stream(location.path, compression=None)


def identity(entry: FileEntry) -> str:
    """A text that changes when a file in a store does, without reading it.

    The size with what S3 calls the content (the ETag), as its times are whole
    seconds; of other stores with the time of the last change.

    Raises:
        InputError: It is gone, or may not be read.
    """
    if not entry.place.startswith("s3://"):
        return f"{entry.size} {entry.changed_ns}"
    with _asked(entry.place):
        location = locate(entry.place)
        with location.filesystem.open_input_file(location.path) as file:  # Reads nothing.
            etag = file.metadata()["ETag"].decode()
    return f"{entry.size} {etag}"


def identities(entries: Sequence[FileEntry]) -> list[str]:
    """`identity` of each entry, several at a time: one request each.

    Raises:
        InputError: See `identity`.
    """
    with futures.ThreadPoolExecutor(_LOOKS, thread_name_prefix="identity") as pool:
        return list(pool.map(identity, entries))


def read_bytes(place: str) -> bytes:
    """The whole content of a small file.

    Raises:
        InputError: There is none, or it may not be read.
    """
    with _asked(place):
        location = locate(place)
        with location.filesystem.open_input_stream(location.path, compression=None) as file:
            return file.read()


def write_bytes(place: str, content: bytes) -> None:
    """Writes a small file in a store; readers see the old one or the new one.

    Raises:
        InputError: The store refuses it.
    """
    attempts.retried(lambda: _write_bytes(place, content))


def _write_bytes(place: str, content: bytes) -> None:
    """One attempt of `write_bytes`."""
    with explained(place, "write"):
        location = locate(place)
        if isinstance(location.filesystem, arrow_fs.HadoopFileSystem):
            _write_and_move(location, content)
            return
        with location.filesystem.open_output_stream(location.path, compression=None) as file:
            file.write(content)


def require_writable(folder: str) -> None:
    """Writes a hidden file into a folder of a store and removes it, where that is allowed.

    A job of hours should not find out at its end that it may not write.

    Raises:
        InputError: The store refuses it.
    """
    place = urls.join(folder, _WRITE_CHECK)
    write_bytes(place, b"")
    with contextlib.suppress(InputError):
        remove_files([place])


def move_file(source: str, target: str) -> None:
    """Gives a file of a store another name in it; a file that has it is replaced at once.

    But in HDFS, where for a moment there is none. S3 copies at most 5 GiB so.

    Raises:
        InputError: The store refuses it.
    """
    with explained(target, "write"):
        location = locate(target)
        _move(location.filesystem, locate(source).path, location.path)


def remove_files(places: Sequence[str]) -> None:
    """Removes files of a store; those that are gone already are no error.

    Raises:
        InputError: The store refuses it.
    """
    for place in places:
        try:
            with explained(place, "remove"):
                location = locate(place)
                location.filesystem.delete_file(location.path)
        except MissingError:
            continue


def remove_folder(folder: str) -> None:
    """Removes a folder of a store with all that is in it; one that is missing is no error.

    Raises:
        InputError: The store refuses it.
    """
    with contextlib.suppress(MissingError), explained(folder, "remove"):
        location = locate(folder)
        if location.filesystem.get_file_info(location.path).type == arrow_fs.FileType.Directory:
            location.filesystem.delete_dir(location.path)


@contextlib.contextmanager
def _asked(place: str) -> Iterator[None]:
    """As `explained` for a question about one file, whose answer of S3 (to HEAD) has no reasons.

    Where it is refused, a listing is asked for them: its errors have texts.
    """
    try:
        with explained(place, "read"):
            yield
    except UnsaidError as unsaid:
        try:
            with explained(place, "read"):
                location = locate(place)
                location.filesystem.get_file_info(arrow_fs.FileSelector(location.path))
        except (MissingError, StoreAwayError, UnsaidError):
            raise unsaid from None
        raise


def _list(folder: str, *, recursive: bool) -> tuple[Location, list[arrow_fs.FileInfo]]:
    """What is below a folder; nothing where it is missing, but a bucket must be there."""
    with explained(folder, "list"):
        location = locate(folder)
    try:
        with explained(folder, "list"):
            # `allow_not_found` of the selector would hide that there is no bucket.
            selector = arrow_fs.FileSelector(location.path, recursive=recursive)
            found = location.filesystem.get_file_info(selector)
    except MissingBucketError:
        raise
    except MissingError:
        found = []
    if not found:
        _require_bucket(folder)
    return location, found


def _require_bucket(place: str) -> None:
    """Refuses a bucket that is not there: listings of Google Cloud Storage are empty then."""
    scheme, bucket, _ = urls.split(place) if urls.is_url(place) else ("", "", "")
    if scheme != "gs":
        return
    with explained(place, "list"):
        if (
            locate(f"gs://{bucket}").filesystem.get_file_info(bucket).type
            != arrow_fs.FileType.NotFound
        ):
            return
        raise missing_bucket(place, "list")


def _write_and_move(location: Location, content: bytes) -> None:
    """HDFS shows a file while it is written: another name, then the name, until then."""
    partial = f"{os.path.dirname(location.path)}/.{os.path.basename(location.path)}.{os.getpid()}"
    location.filesystem.create_dir(os.path.dirname(location.path))
    with location.filesystem.open_output_stream(partial, compression=None) as file:
        file.write(content)
    _move(location.filesystem, partial, location.path)


def _move(filesystem: arrow_fs.FileSystem, source: str, target: str) -> None:
    """Renames a file; those of HDFS do not take each other's place."""
    is_hadoop = isinstance(filesystem, arrow_fs.HadoopFileSystem)
    if is_hadoop and filesystem.get_file_info(target).type == arrow_fs.FileType.File:
        filesystem.delete_file(target)
    filesystem.move(source, target)


def _entry(folder: str, location: Location, info: arrow_fs.FileInfo) -> FileEntry:
    """The entry of a file below a folder, named as the folder was."""
    rest = info.path[len(location.path.rstrip("/")) + 1 :]
    name = urls.join(folder, rest) if rest else folder
    return FileEntry(name, info.size, info.mtime_ns or 0)
