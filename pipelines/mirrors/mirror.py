"""One folder of a store and its copy on this machine, brought in step in both directions.

Imports no TensorFlow. The copy stays for the next job: of a folder that has changed only the files
that differ are copied. A part is a folder below with the record of a job (`examples/`, `model/`),
or the folder itself; each has a list of its files (`file_lists.py`).
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pipelines.artifacts.records import RECORD_NAME, STARTED_NAME
from pipelines.mirrors import file_lists, transfers
from pipelines.mirrors.copy_state import CopyState, Known
from pipelines.mirrors.file_lists import FileList, ListedFile
from recall.errors import InputError
from serving.stores import files, urls
from serving.stores.failures import MissingError
from serving.stores.files import FileEntry

_log = logging.getLogger(__name__)


class Mirror:
    """A folder in a store with its copy.

    Attributes:
        url: The folder.
        folder: The copy.
    """

    def __init__(
        self,
        url: str,
        cache_home: Path,
        *,
        without: Collection[str] = (),
        endings: tuple[str, ...] = ("",),
    ):
        """Names the copy; nothing is done yet.

        Args:
            url: Folder in a store, as `urls.parse` returns it.
            cache_home: Where copies lie.
            without: Names right below the folder that are left alone, here and there.
            endings: Of the names of files that are copied; such a copy is not put.
        """
        digest = hashlib.sha256(" ".join([url, *endings]).encode()).hexdigest()[:16]
        base = cache_home / "folders" / f"{urls.name_of(url)}-{digest}"
        self.url, self.folder = url, base / urls.name_of(url)
        self._state_path, self._lock_path = base / "state.json", base / "lock"
        self._without, self._endings = frozenset(without), endings
        self._found: dict[str, FileEntry] = {}
        self._lists: dict[str, FileEntry] = {}
        self._writers: dict[str, str] = {}

    @contextlib.contextmanager
    def locked(self, *, to_write: bool) -> Iterator[None]:
        """Keeps other jobs of this machine from changing the copy.

        Args:
            to_write: Whether the job writes to it, and so must be alone.

        Raises:
            InputError: Another job of this machine uses the folder.
        """
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._lock_path, "w") as lock:
            wanted = fcntl.LOCK_EX if to_write else fcntl.LOCK_SH
            try:
                fcntl.flock(lock, wanted | fcntl.LOCK_NB)
            except OSError as error:
                if to_write:
                    raise InputError(
                        f"Another job of this machine uses {self.url}. Wait for it to end, or "
                        "choose another folder."
                    ) from error
                _log.info("Another job of this machine writes to %s: waiting for it.", self.url)
                fcntl.flock(lock, wanted)
            yield

    def fetch(self, *, to_write: bool) -> None:
        """Makes the copy what the folder in the store is.

        Args:
            to_write: Whether a job is going to write to it: then it may be
                missing, and what another writer left by half is no part of it.

        Raises:
            InputError: It is missing, is being written, is damaged or cannot be read.
        """
        state = self._state = CopyState(self._state_path)
        self._look()
        lists = {part: file_lists.read(entry.place) for part, entry in self._lists.items()}
        self._writers = {part: content.writer for part, content in lists.items()}
        half = {part for part, content in lists.items() if not content.is_whole}
        if half and not to_write:
            raise InputError(
                f"{self._url_of(min(half))} is being written, or its writer was killed. Wait for "
                "the job that makes it, or give its command again."
            )
        # What this machine was writing when it was killed, or refused, is whole here, and is
        # written again.
        ours = {part for part in state.writing if to_write and self._is_ours(part, half)}
        parts, half = {*lists, *ours}, half | ours
        for part in [part for part in state.writing if to_write and part not in ours]:
            state.end(part)
        expected = self._expected(lists, half)
        entries = {
            name: entry
            for name, entry in self._found.items()
            if _part_of(name, parts) not in parts or name in expected
        }
        if not entries and not to_write:
            raise MissingError(f"{self.url} does not exist. Check the bucket and the name.")
        self._remove_strangers(entries, parts, ours)
        wanted = {n: e for n, e in entries.items() if not state.is_current(n, e, self.folder / n)}
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, checksum in transfers.download_all(wanted, expected, self.folder).items():
            stat = (self.folder / name).stat()
            state.known[name] = Known(
                stat.st_size, wanted[name].changed_ns, stat.st_mtime_ns, checksum
            )
        state.write()

    def put(self) -> int:
        """Makes the folder in the store what the copy is.

        Returns:
            How many files were written or removed there.

        Raises:
            InputError: Somebody else has written to it since `fetch`, or the
                store refuses it.
        """
        local = self._list_copy()
        parts = {name.rpartition("/")[0] for name in local if _is_record(name)} | {""}
        strangers = set(self._found) - set(local)
        strangers |= {_list_name(part) for part in set(self._lists) - parts}
        count = 0
        for part in sorted(parts):
            here = {n: stat for n, stat in local.items() if _part_of(n, parts) == part}
            gone = {name for name in strangers if _part_of(name, parts) == part}
            count += self._put_part(part, here, gone)
        self._writers = {part: self._writers[part] for part in parts & set(self._writers)}
        return count

    def _put_part(self, part: str, local: Mapping[str, os.stat_result], gone: set[str]) -> int:
        """Writes one part: a list that says so, the files, then the list of the files."""
        state = self._state
        changed = [name for name, stat in local.items() if not state.is_as_it_was(name, stat)]
        if not changed and not gone and part not in state.writing:
            return 0
        url, list_url = self._url_of(part), file_lists.url_in(self.url, part)
        writer = uuid.uuid4().hex
        state.begin(part, writer, self._writers.get(part))
        # Not by the time of the list: those of S3 are whole seconds.
        is_listed = files.look_at(list_url) is not None
        if self._writers.get(part) != (file_lists.read(list_url).writer if is_listed else None):
            state.end(part)
            raise InputError(
                f"{url} was written by somebody else in the meantime. Nothing of it was replaced; "
                "give the same command again to go on from there."
            )
        file_lists.write(list_url, FileList(False, writer, {}))
        sums = transfers.upload_all(changed, self.folder, self.url)
        files.remove_files([urls.join(self.url, name) for name in sorted(gone)])
        sums |= {name: state.known[name].sha256 for name in local if name not in sums}
        inside = len(part) + 1 if part else 0
        listed = {n[inside:]: ListedFile(stat.st_size, sums[n]) for n, stat in local.items()}
        file_lists.write(list_url, FileList(True, writer, listed))
        self._look()
        for name in changed:
            stat, entry = local[name], self._found[name]
            state.known[name] = Known(stat.st_size, entry.changed_ns, stat.st_mtime_ns, sums[name])
        state.end(part)
        self._writers[part] = writer
        return len(changed) + len(gone)

    def _is_ours(self, part: str, half: Collection[str]) -> bool:
        """Whether nobody has written a part since this machine was going to, or was writing."""
        state, there = self._state, self._writers.get(part)
        return there == state.replaced[part] or (part in half and there == state.writing[part])

    def _look(self) -> None:
        """Lists the store: the lists of the parts, and all other files but hidden ones."""
        found = {urls.relative(e.place, self.url): e for e in files.list_files(self.url)}
        found = {
            name: entry
            for name, entry in found.items()
            if name.partition("/")[0] not in self._without
            and name.endswith(self._endings)
            and not any(part.startswith(".") for part in name.split("/"))
        }
        are_lists = {name for name in found if urls.name_of(name) == file_lists.NAME}
        self._lists = {name.rpartition("/")[0]: found[name] for name in are_lists}
        self._found = {name: entry for name, entry in found.items() if name not in are_lists}

    def _expected(
        self, lists: Mapping[str, FileList], half: Collection[str]
    ) -> dict[str, ListedFile]:
        """What the lists say of files, all of which must be there.

        Raises:
            InputError: One is missing, or has another size.
        """
        expected = {
            f"{part}/{name}" if part else name: file
            for part, content in lists.items()
            if part not in half
            for name, file in content.files.items()
            if name.endswith(self._endings)
        }
        for name, file in expected.items():
            entry = self._found.get(name)
            if entry is None or entry.size != file.size:
                state = "is missing" if entry is None else f"has {entry.size} bytes"
                raise InputError(
                    f"{urls.join(self.url, name)} {state}, but {file_lists.NAME} says "
                    f"{file.size} bytes: the folder is damaged. Remove it and make it again."
                )
        return expected

    def _list_copy(self) -> dict[str, os.stat_result]:
        """Files of the copy by their path below it; hidden ones are nobody's business."""
        found = {}
        for folder, names, file_names in os.walk(self.folder):
            left_out = self._without if Path(folder) == self.folder else ()
            names[:] = [n for n in names if not n.startswith(".") and n not in left_out]
            for name in file_names:
                path = Path(folder) / name
                if not name.startswith("."):
                    found[path.relative_to(self.folder).as_posix()] = path.stat()
        return found

    def _remove_strangers(
        self, entries: Mapping[str, FileEntry], lists: Collection[str], ours: Collection[str]
    ) -> None:
        """Removes files of the copy that are not in the store, and forgets them."""
        for name in self._list_copy():
            if name not in entries and _part_of(name, lists) not in ours:
                (self.folder / name).unlink()
        for name in [name for name in self._state.known if name not in entries]:
            del self._state.known[name]
        for folder, _, _ in os.walk(self.folder, topdown=False):
            with contextlib.suppress(OSError):  # It is not empty.
                os.rmdir(folder)

    def _url_of(self, part: str) -> str:
        return urls.join(self.url, part) if part else self.url


def _part_of(name: str, parts: Collection[str]) -> str:
    """The part that a file belongs to: the deepest folder of these, else ""."""
    folder = name.rpartition("/")[0]
    while folder and folder not in parts:
        folder = folder.rpartition("/")[0]
    return folder


def _is_record(name: str) -> bool:
    return urls.name_of(name) in (RECORD_NAME, STARTED_NAME)


def _list_name(part: str) -> str:
    return f"{part}/{file_lists.NAME}" if part else file_lists.NAME
