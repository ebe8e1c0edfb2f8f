"""Which versions of a release stay on the disk: the newest ones, and those in use.

Imports no TensorFlow. A server holds a shared lock on the index folder of every
version it has loaded, which the system frees when the process ends; a version
is removed only under the exclusive lock. Where the file system has no locks,
nothing is removed.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from recall.errors import InputError
from serving.release import folders, release
from serving.release.release import Release


class Removal(NamedTuple):
    """What became of old versions.

    Attributes:
        removed: Versions that are gone.
        in_use: Versions that stay because a server has them loaded.
    """

    removed: list[int]
    in_use: list[int]


@contextlib.contextmanager
def held(version: Release) -> Iterator[None]:
    """Keeps a version from being removed, as far as the file system can.

    Raises:
        InputError: It is gone already.
    """
    gone = InputError(f"Version {version.version} was removed ({version.index_dir}).")
    try:
        descriptor = os.open(version.index_dir, os.O_RDONLY)
    except OSError as error:
        raise gone from error
    try:
        with contextlib.suppress(OSError):
            # Waits out a removal under way, which is three renames long.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not _is_at(descriptor, version.index_dir):
            raise gone
        yield
    finally:
        os.close(descriptor)


def remove_old_versions(serving_dir: str | os.PathLike, keep: int) -> Removal:
    """Removes all but the newest versions and those in use; one caller at a time.

    A version is complete or, from the first rename on, no version: the user
    tower goes first, as it came last. What a killed removal leaves, parts of a
    version older than those that stay, goes with the next one.

    Args:
        serving_dir: Folder with `user_tower/`, `item_tower/`, `index/`.
        keep: Complete versions that stay in any case, >= 1.

    Raises:
        OSError: A folder cannot be renamed.
    """
    complete = release.complete_versions(serving_dir)
    if len(complete) < keep:
        return Removal([], [])
    parts = [Path(serving_dir) / part for part in release.PARTS]
    present = {version for part in parts for version in release.list_versions(part)}
    return remove_versions(serving_dir, sorted(v for v in present if v < complete[-keep]))


def remove_versions(serving_dir: str | os.PathLike, versions: Iterable[int]) -> Removal:
    """Removes these versions, but for those in use; see `remove_old_versions`.

    Raises:
        OSError: A folder cannot be renamed.
    """
    removal = Removal([], [])
    for version in versions:
        gone = _remove(serving_dir, version)
        (removal.removed if gone else removal.in_use).append(version)
    return removal


def _remove(serving_dir: str | os.PathLike, version: int) -> bool:
    """Removes one version, its parts in the reverse of the order of publication."""
    paths = [release.part_dir(serving_dir, part, version) for part in reversed(release.PARTS)]
    index_dir = paths[-1]
    with contextlib.ExitStack() as stack:
        if index_dir.exists():
            descriptor = os.open(index_dir, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        hidden = [folders.hide(path) for path in paths if path.exists()]
    for path in hidden:
        folders.remove_hidden(path)
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
