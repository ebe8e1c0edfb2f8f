"""Which folders are versions: those whose names are numbers, as TensorFlow Serving reads them.

Imports no TensorFlow. A name that only looks like a number is left alone and
reported, because whoever made that folder expects it to be served.
"""

import logging
import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import NamedTuple

from recall.errors import InputError

_LOGGER = logging.getLogger(__name__)

MAX_VERSION = (1 << 63) - 1
"""Versions are int64 in TensorFlow Serving's messages; a larger one cannot be told to clients."""

_NUMBER = re.compile(r"[0-9]+")

_LIKE_A_NUMBER = re.compile(r"\s*[+-]?[\d_]*\d[\d_]*\s*")
"""`-1`, `+5`, `1_0` and digits of other scripts; Python's `int` takes most of them."""

_MAX_REPORTED = 5
"""Names in one line of the log."""


class Found(NamedTuple):
    """What is below a folder.

    Attributes:
        folders: Folder by version.
        ignored: Why a folder is no version, by its name.
    """

    folders: Mapping[int, Path]
    ignored: Mapping[str, str]


def find_versions(parent: str | os.PathLike) -> Found:
    """The versions below a folder; none where there is no such folder.

    `00000123` is version 123. Of two folders with one number the name without zeros in
    front counts, else the shorter one; TensorFlow Serving takes any of them.

    Raises:
        InputError: The folder cannot be read.
    """
    folders: dict[int, Path] = {}
    ignored: dict[str, str] = {}
    for name in sorted(_folder_names(Path(parent), ignored), key=len):
        version = _parse(name, ignored)
        if version in folders:
            ignored[name] = f"is version {version} again, after {folders[version].name}"
        elif version is not None:
            folders[version] = Path(parent) / name
    return Found(folders, ignored)


class VersionFolders:
    """The version folders below one folder, and a word in the log about what is none."""

    def __init__(self, parent: str | os.PathLike):
        self._parent = Path(parent)
        self._reported: frozenset[str] = frozenset()

    def find(self) -> Mapping[int, Path]:
        """Folder by version; a folder that is ignored is said once.

        Raises:
            InputError: See `find_versions`.
        """
        found = find_versions(self._parent)
        new = [name for name in sorted(found.ignored) if name not in self._reported]
        # Only names that are still there: a folder that comes back is said again.
        self._reported = frozenset(found.ignored)
        if new:
            listed = "; ".join(f"{_shown(n)} {found.ignored[n]}" for n in new[:_MAX_REPORTED])
            more = f"; and {len(new) - _MAX_REPORTED} more" if len(new) > _MAX_REPORTED else ""
            _LOGGER.warning("%s: ignored %s%s.", self._parent, listed, more)
        return found.folders


def stamp_tree(folder: Path) -> Hashable:
    """The stamps of a folder and of everything below it, by path."""
    paths = [os.fspath(folder)]
    for parent, folders, files in os.walk(folder):
        paths += [os.path.join(parent, name) for name in (*folders, *files)]
    return frozenset((path, _stamp(path)) for path in paths)


def _stamp(path: str) -> Hashable:
    """Identity, size and time of change of a file or folder, None where there is none.

    Not the time of modification: copies keep that of their original.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns


def _folder_names(parent: Path, ignored: dict[str, str]) -> list[str]:
    """Names of the folders below `parent`, also of links to folders."""
    try:
        with os.scandir(parent) as entries:
            return [entry.name for entry in entries if _is_folder(entry, ignored)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"Cannot read the folder {parent}: {error.strerror}.") from error


def _is_folder(entry: os.DirEntry, ignored: dict[str, str]) -> bool:
    looks_wanted = _LIKE_A_NUMBER.fullmatch(entry.name) is not None
    try:
        is_folder = entry.is_dir()
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    else:
        reason = "is no folder"
        if is_folder:
            return True
    if looks_wanted:
        ignored[entry.name] = reason
    return False


def _parse(name: str, ignored: dict[str, str]) -> int | None:
    """The version a folder's name stands for; None for another folder."""
    if _LIKE_A_NUMBER.fullmatch(name) is None:
        return None
    if _NUMBER.fullmatch(name) is None:
        ignored[name] = "is not a number of the digits 0 to 9"
        return None
    digits = name.lstrip("0") or "0"
    # Not by `int` alone: it refuses 5,000 digits.
    if len(digits) > len(str(MAX_VERSION)) or int(digits) > MAX_VERSION:
        ignored[name] = f"is more than the largest version, {MAX_VERSION}"
        return None
    return int(digits)


def _shown(name: str) -> str:
    """A name in one short line, whatever is in it."""
    return repr(name if len(name) <= 60 else f"{name[:60]}...")
