"""What a job names in stores, as files and folders of this machine for the time of the job.

Imports no TensorFlow. Jobs know nothing of stores: they are given copies, and what they made is
copied back when they are done. People read the names that they gave: lines and errors of the job
have URLs in the place of the copies' paths.
"""

import contextlib
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from pipelines.mirrors.mirror import Mirror
from recall.errors import InputError
from serving.release import paths, storage, store_fetch, store_versions
from serving.stores import copies, files, urls

_FILE_ENDING = ".parquet"
"""Of results that are one file."""

_RECORDS = (".json", ".jsonl")

_UNSENT_NAME = "unsent.json"
"""Beside a result that is one file: it could not be copied to its store."""

_LEFT_ALONE = ("serving",)
"""Of a run: releases are published by a pointer, not copied."""

_log = logging.getLogger(__name__)


class _Output(NamedTuple):
    """A file that is copied to a store.

    Attributes:
        path: Here.
        url: There.
        before: Its `_stamp` before the job.
        unsent: Where is noted that it was not copied there yet, and what was there; None notes
            nothing.
        there: `files.identity` of what was there; None of nothing.
    """

    path: Path
    url: str
    before: list[int] | None
    unsent: Path | None = None
    there: str | None = None

    def put(self) -> None:
        """Copies it; what comes in between leaves it here, for the same job to go on from."""
        if self.unsent is not None:
            note = {"stamp": _stamp(self.path), "there": self.there}
            storage.write_json(self.unsent, note)
        copies.replace(self.path, self.url)
        if self.unsent is not None:
            self.unsent.unlink()


class Borrowed:
    """Copies of files and folders of stores; a context whose end copies results back.

    The results go back after a block that ends well, and after one that ends with an
    `InputError`: what a run has made until then is whole, and the next one goes on from there.
    """

    def __init__(self):
        self._stack = contextlib.ExitStack()
        self._names: dict[str, str] = {}
        self._mirrors: list[Mirror] = []
        self._outputs: list[_Output] = []
        self._held: list[_Held] = []

    def read(self, url: str) -> str:
        """A copy of a file or folder.

        Raises:
            InputError: There is none, or it cannot be read.
        """
        if files.look_at(url) is not None:
            path = self._new_file(url)
            copies.download(url, path)
            return str(path)
        return self._mirror(url, to_write=False)

    def update(self, url: str) -> str:
        """A copy of a folder, which may be missing, and is copied back.

        Raises:
            InputError: It cannot be read, or another job of this machine uses it.
        """
        return self._mirror(url, to_write=True)

    def write(self, url: str) -> str:
        """The path of a file that is copied to a store."""
        path = self._new_file(url)
        self._outputs.append(_Output(path, url, None))
        return str(path)

    def records(self, url: str) -> str:
        """A copy of the small files alone in which jobs say what they did.

        Raises:
            InputError: See `read`.
        """
        return self._mirror(url, to_write=False, endings=_RECORDS)

    def published(self, url: str) -> str:
        """A copy of a run, with the newest version that is published in `serving/` there.

        Raises:
            InputError: See `read` and `release`.
        """
        folder, releases = self._mirror(url, to_write=False), urls.join(url, "serving")
        if versions := store_versions.list_versions(releases):
            copied = Path(folder) / "serving"
            store_fetch.remove_copies(copied, versions)  # Withdrawn ones are no newest one.
            store_fetch.fetch(releases, versions[-1], copied)
        return folder

    def result(self, url: str) -> str:
        """A copy of a folder, or of a file where the name ends in `.parquet`, that is copied back.

        Raises:
            InputError: See `update`.
        """
        if not url.lower().endswith(_FILE_ENDING):
            return self.update(url)
        # Not a temporary one: beside it jobs leave what a killed one has done.
        mirror = Mirror(url, paths.cache_home())
        self._stack.enter_context(mirror.locked(to_write=True))  # Makes the folder, too.
        files.require_writable(url.rpartition("/")[0])
        path = mirror.folder.parent / urls.name_of(url)
        unsent, entry = path.with_name(_UNSENT_NAME), files.look_at(url)
        there = None if entry is None else files.identity(entry)
        before = None
        if not _is_unsent(unsent, path, there):
            unsent.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            if entry is not None:
                copies.download(url, path)
            before = _stamp(path)
        self._names[str(path)] = url
        self._outputs.append(_Output(path, url, before, unsent, there))
        return str(path)

    def release(self, url: str) -> str:
        """A folder of releases with the newest published version.

        Raises:
            InputError: There is none, or it is damaged.
        """
        folder = store_fetch.fetch_newest(url)
        self._names[str(folder)] = url
        return str(folder)

    def named(self, text: str) -> str:
        """A text with URLs in the place of the paths of copies."""
        for path, url in self._names.items():
            text = text.replace(path, url)
        return text

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Lets people read URLs: on stdout, in the log, in errors.

        What is printed is a result, and comes out when that is where it belongs; or when it is
        flushed, as the address of a server is.
        """
        self._held.append(_Held(sys.stdout, self.named))
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(self._held[-1]))
            stack.enter_context(_renamed_log(self.named))
            try:
                yield
            except InputError as error:
                raise InputError(self.named(str(error))) from error

    def give_back(self) -> None:
        """Copies to the stores what was made or changed.

        Raises:
            InputError: A store refuses it, or somebody else has written there.
        """
        for output in self._outputs:
            if _stamp(output.path) not in (None, output.before):
                output.put()
        for mirror in self._mirrors:
            if count := mirror.put():
                _log.info("%s is up to date: %d files written or removed", mirror.url, count)

    def __enter__(self) -> "Borrowed":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is None:
                self.give_back()
            for held in self._held:
                held.flush()
            if kind is not None and issubclass(kind, InputError):
                try:
                    self.give_back()
                except InputError as error:
                    _log.warning("What was made so far is not in the store: %s", error)

    def _mirror(self, url: str, *, to_write: bool, endings: tuple[str, ...] = ("",)) -> str:
        is_written = any(mirror.url == url for mirror in self._mirrors)
        if is_written or (to_write and url in self._names.values()):
            # Its own lock would be waited for.
            raise InputError(
                f"{url} is given twice, and would be written while it is read. Name another folder."
            )
        mirror = Mirror(url, paths.cache_home(), without=_LEFT_ALONE, endings=endings)
        self._stack.enter_context(mirror.locked(to_write=to_write))
        mirror.fetch(to_write=to_write)
        if to_write:
            files.require_writable(url)
            self._mirrors.append(mirror)
        self._names[str(mirror.folder)] = url
        return str(mirror.folder)

    def _new_file(self, url: str) -> Path:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="recall-"))
        path = Path(folder) / urls.name_of(url)
        self._names[str(path)] = url
        return path


def _is_unsent(note: Path, path: Path, there: str | None) -> bool:
    """Whether a file is what an earlier job has made and could not copy, and nobody has since."""
    return (
        note.exists()
        and path.exists()
        and storage.read_json(note) == {"stamp": _stamp(path), "there": there}
    )


def _stamp(path: Path) -> list[int] | None:
    """What changes when a file is written; None where there is none."""
    if not path.exists():
        return None
    stat = path.stat()
    return [stat.st_ino, stat.st_mtime_ns]


class _Held(io.TextIOBase):
    """A stream whose texts are renamed, and wait until they are flushed."""

    def __init__(self, stream: TextIO, named: Callable[[str], str]):
        self._stream, self._named = stream, named
        self._texts: list[str] = []

    def write(self, text: str) -> int:
        self._texts.append(self._named(text))
        return len(text)

    def flush(self) -> None:
        self._stream.write("".join(self._texts))
        self._texts.clear()
        self._stream.flush()

    def close(self) -> None:
        """Forgets what is held: that of `io` would flush it, whenever this is collected."""
        self._texts.clear()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


@contextlib.contextmanager
def _renamed_log(named: Callable[[str], str]) -> Iterator[None]:
    """Renames the lines of the log in the block, whoever shows them."""
    factory = logging.getLogRecordFactory()

    def make(*arguments: object, **named_arguments: object) -> logging.LogRecord:
        record = factory(*arguments, **named_arguments)
        record.msg, record.args = named(record.getMessage()), ()
        return record

    logging.setLogRecordFactory(make)
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)
