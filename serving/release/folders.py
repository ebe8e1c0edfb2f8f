"""Folders that appear whole or not at all, and folders only one process works in.

Imports no TensorFlow. What a killed process leaves behind is hidden (`.partial`,
`.old`, `.gone`) and goes when the same folder is written the next time.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

from recall.errors import InputError
from serving.release.storage import fsync_path

_PARTIAL = ".partial"
"""Ending of a folder that is being written."""

_OLD = ".old"
"""Ending of a folder that another one is just taking the place of."""

_FLUSHES = 16
"""Files flushed to disk at a time, which the file system then does together: .1 s instead of
1.8 s for 400 files (measured)."""

_GONE = ".gone"
"""Ending of a folder that is being removed."""

_TAG_PATTERN = "[0-9a-f]" * 8
"""The random part of such a name, which keeps two writers apart."""


@contextlib.contextmanager
def atomic_directory(
    destination: str | os.PathLike, *, replace: bool = True, links_are_flushed: bool = False
) -> Iterator[Path]:
    """Yields an empty folder that becomes `destination` when the block succeeds.

    The folder is a hidden sibling, so that the final rename stays on one file
    system. Its content is flushed to disk before the rename. When the block
    raises, the folder is removed and everything is as it was.

    Args:
        destination: Folder to create.
        replace: Whether an existing `destination` is replaced.
        links_are_flushed: Whether the block links files of which the disk has the content
            already, and no others.

    Raises:
        InputError: `destination` exists and `replace` is False, it is the
            current folder, or the parent folder cannot be written to.
    """
    destination = check_replaceable(destination)
    if destination.exists() and not replace:
        raise InputError(f"{destination} already exists. Choose another folder.")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_made_folder(destination.parent))
            clear_leftovers(destination.parent, destination.name)
            staging = _hidden_sibling(destination, _PARTIAL)
            staging.mkdir()
        except OSError as error:
            raise InputError(f"Cannot create {destination}: {error.strerror}.") from error
        try:
            with _held(staging):
                yield staging
                fsync_tree(staging, links=not links_are_flushed)
                _swap_in(staging, destination)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


def check_replaceable(directory: str | os.PathLike) -> Path:
    """A folder that another may take the place of, by a path that ends with its name.

    Raises:
        InputError: It is the folder that this process, and the shell it was
            started from, are in: they would be left in one that is gone.
    """
    path = Path(directory)
    if path.name in ("", ".."):
        path = path.resolve()
    if path.is_dir() and os.path.samefile(path, os.curdir):
        raise InputError(
            f"{directory} is the current folder, which cannot be replaced as a whole. Name another "
            "one, for example a new folder in it."
        )
    return path


@contextlib.contextmanager
def locked_folder(
    directory: str | os.PathLike, lock_name: str, *, busy: str | None = None
) -> Iterator[None]:
    """Keeps other processes out of a folder, which is made where it is missing.

    The system frees the lock of a killed process. When the block raises and
    has left nothing in the folder, the lock's file goes, and with it the folder
    if it was made here.

    Args:
        directory: The folder.
        lock_name: Name of the lock's file in it.
        busy: Error text when another process is in the folder; None waits.

    Raises:
        InputError: The folder cannot be written to, or is in use.
    """
    path = Path(directory) / lock_name
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_made_folder(path.parent))
            stack.enter_context(_locked_file(path, wait=busy is None))
        except BlockingIOError as error:
            raise InputError(busy) from error
        except OSError as error:
            raise InputError(f"Cannot write to {directory}: {error.strerror}.") from error
        try:
            yield
        except BaseException:
            if os.listdir(path.parent) == [lock_name]:
                path.unlink()
            raise


def clear_leftovers(directory: str | os.PathLike, name: str | None = None) -> None:
    """Removes what killed writers left behind; that of running ones stays.

    A folder they had moved aside is put back where nothing took its place.

    Args:
        directory: Where the folders that were written lie; may be missing.
        name: Of one such folder; None means all.
    """
    stem = "*" if name is None else glob.escape(name)
    for gone in Path(directory).glob(f".{stem}.{_TAG_PATTERN}{_GONE}"):
        remove_hidden(gone)
    in_use = set()
    for staging in Path(directory).glob(f".{stem}.{_TAG_PATTERN}{_PARTIAL}"):
        if _is_held(staging):
            in_use.add(_name_of(staging))
        else:
            shutil.rmtree(staging, ignore_errors=True)
    for old in Path(directory).glob(f".{stem}.{_TAG_PATTERN}{_OLD}"):
        destination = old.with_name(_name_of(old))
        if destination.exists():
            shutil.rmtree(old, ignore_errors=True)
        elif destination.name not in in_use:
            old.rename(destination)


def hide(folder: Path) -> Path:
    """Renames a folder so that no reader finds it any more; the rename is on the disk.

    Returns:
        The hidden folder, for `remove_hidden`; `clear_leftovers` removes it too.
    """
    hidden = _hidden_sibling(folder, _GONE)
    folder.rename(hidden)
    fsync_path(folder.parent)
    return hidden


def remove_hidden(folder: Path) -> None:
    """Removes a hidden folder, or the link to one; what cannot be removed stays for the next."""
    if folder.is_symlink():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def fsync_tree(directory: str | os.PathLike, *, links: bool = True) -> None:
    """Flushes every folder and file below `directory` to disk, but links only if asked to."""
    found, below = [], []
    for folder, _, names in os.walk(directory):
        below.append(Path(folder))
        paths = [Path(folder) / name for name in names]
        found += [path for path in paths if links or os.stat(path).st_nlink == 1]
    with futures.ThreadPoolExecutor(_FLUSHES, thread_name_prefix="flush") as pool:
        for paths in (found, below):
            list(pool.map(fsync_path, paths))


def _hidden_sibling(destination: Path, ending: str) -> Path:
    return destination.with_name(f".{destination.name}.{uuid.uuid4().hex[:8]}{ending}")


def _name_of(sibling: Path) -> str:
    """Inverse of `_hidden_sibling`: the name of the folder it stands for."""
    return sibling.name[1:].rsplit(".", 2)[0]


def _swap_in(staging: Path, destination: Path) -> None:
    """Renames `staging` to `destination`, moving an old folder out of the way."""
    old = None
    if destination.exists():
        old = _hidden_sibling(destination, _OLD)
        destination.rename(old)
    try:
        staging.rename(destination)
    except BaseException:
        if old is not None:
            old.rename(destination)
        raise
    fsync_path(destination.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _made_folder(folder: Path) -> Iterator[None]:
    """Makes a folder and its parents; those that are new and empty go when the block raises."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
        raise


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Marks a folder as in use by this process, as far as the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_held(folder: Path) -> bool:
    """Whether a running process may be using a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def _locked_file(path: Path, wait: bool) -> Iterator[None]:
    """Holds the lock of `path`, which is made where it is missing."""
    while True:
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # The process before may have removed the file while this one waited.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return
