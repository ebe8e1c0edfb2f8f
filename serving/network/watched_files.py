"""What a few files say, read again when they change: certificates and tokens are rotated.

Imports no TensorFlow. A new file that does not work leaves the old content in
force and makes one line in the log.
"""

import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from recall.errors import InputError

_LOGGER = logging.getLogger(__name__)

_POLL_S = 1.0
"""Between looks at the files; some stat calls each."""

Content = TypeVar("Content")


class Watched(Protocol):
    """What a `FileWatch` looks after."""

    def refresh(self, *, force: bool = False) -> None:
        """Reads files again that changed, or all with `force`."""


class WatchedFiles(Generic[Content]):
    """The content of files; safe to use from several threads."""

    def __init__(
        self, paths: Sequence[str | os.PathLike], read: Callable[[], Content], *, what: str
    ):
        """Reads the files.

        Args:
            paths: The files.
            read: Their content, checked.
            what: Of the log, for example `the admin token`.

        Raises:
            InputError: From `read`.
        """
        self._paths = tuple(paths)
        self._read = read
        self._what = what
        self._lock = threading.Lock()
        self._stamp = self._stamp_now()
        self._content = read()
        self._failed: str | None = None
        self.generation = 0

    @property
    def content(self) -> Content:
        """What the files said when they last worked."""
        return self._content

    def refresh(self, *, force: bool = False) -> None:
        """Reads the files again where one changed since they were last read.

        Args:
            force: Reads them in any case: a file may have been rewritten in place
                within the resolution of its times.
        """
        with self._lock:
            stamp = self._stamp_now()
            if stamp == self._stamp and not force:
                return
            self._stamp = stamp
            try:
                self._content = self._read()
            except InputError as error:
                # Half of a pair that is being replaced; the next look finds the other half.
                if str(error) != self._failed or force:
                    _LOGGER.error("Kept %s as before: %s", self._what, error)
                self._failed = str(error)
                return
            self._failed = None
            self.generation += 1
        _LOGGER.info("Read %s again.", self._what)

    def _stamp_now(self) -> Hashable:
        return tuple(map(_stamp, self._paths))


class FileWatch:
    """A thread that looks at files every second, and at once when it is told to."""

    def __init__(self, watched: Iterable[Watched], *, poll_s: float = _POLL_S):
        self._watched = tuple(watched)
        self._poll_s = poll_s
        self._wake = threading.Event()
        self._forced = self._stopped = False
        self._thread = threading.Thread(target=self._run, name="file-watch", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def read_now(self) -> None:
        """Reads all files again soon."""
        self._forced = True
        self._wake.set()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(self._poll_s)
            self._wake.clear()
            forced, self._forced = self._forced, False
            for watched in self._watched:
                try:
                    watched.refresh(force=forced)
                except Exception:
                    _LOGGER.exception("Cannot look at a file that may have been rotated")


def _stamp(path: str | os.PathLike) -> Hashable:
    """Changes when a file is replaced or rewritten; links are followed."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
