"""Paths that people name: what is refused, and how they reach TensorFlow as they are.

Imports no TensorFlow. The one door for paths of this machine; those of object stores are the
matter of `serving/stores/`.
"""

import contextlib
import glob
import os
import re
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from recall.errors import InputError
from serving.stores import urls

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""`gs://`, `s3a://`, and `hdfs:/` with one stroke; one letter alone is a drive of Windows."""

_PATTERN_CHARACTERS = re.compile(r"[*?\[\\]")
"""What `fnmatch`, by which TensorFlow looks for files, does not take for itself."""


def settle(path: str, name: str) -> str:
    """The URL of a file or folder in an object store as it is written here, else a local path.

    Args:
        path: As it was given.
        name: What it was given for, for example `--output`; for errors.

    Raises:
        InputError: It is at another place than this machine and the stores that
            are known, or one of `to_local` and `urls.parse` refuses it.
    """
    if urls.is_url(path):
        return urls.parse(path, name)
    scheme = _SCHEME.match(path)
    if scheme is not None and scheme[1].lower() != "file":
        known = ", ".join(f"{known}://" for known in urls.SCHEMES)
        raise InputError(
            f"{name}={path} is at a place that is neither read nor written: {known} and local "
            "paths are. Copy the data by other means."
        )
    return to_local(path, name)


def to_local(path: str, name: str) -> str:
    """The local path that a person means.

    `~` at the beginning is the home folder, also where no shell has seen it,
    `file:///data` is `/data`, and a stroke at the end says nothing. Nothing is
    looked up on the disk.

    Args:
        path: As it was given.
        name: What it was given for, for example `--output`; for errors.

    Raises:
        InputError: It is at another place than this machine, in the home
            folder of nobody, or not UTF-8, which TensorFlow cannot open.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name}={path!a} is not valid UTF-8. Rename the file or folder."
        ) from error
    scheme = _SCHEME.match(path)
    if scheme is not None:
        if scheme[1].lower() != "file":
            raise InputError(
                f"{name}={path} is not on this machine, as it has to be here. Copy it by other "
                "means, and name a local path."
            )
        path = _path_of_url(path, name)
    path = path.rstrip("/") or path[:1]
    if not path.startswith("~"):
        return path
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise InputError(
            f"{name}={path} begins with `~`, but there is no such user. Write ./{path} for a "
            "name that begins so."
        )
    return expanded


def _path_of_url(url: str, name: str) -> str:
    """`file:///data%20a`, `file://localhost/data` or `file:/data` -> the path."""
    path = url[len("file:") :]
    if path.startswith("//"):
        host, _, rest = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise InputError(
                f"{name}={url} is a file of the machine {host!r}; only local ones can be used. "
                "Write file:///path, or the path alone."
            )
        path = f"/{rest}"
    return urllib.parse.unquote(path)


def cache_home() -> Path:
    """The folder for copies that can be had again: of XDG_CACHE_HOME, or of the home folder.

    Raises:
        InputError: There is neither.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        raise InputError("There is no home folder for a cache. Set XDG_CACHE_HOME to a folder.")
    return Path(base) / "recall"


def find_files(pattern: str) -> list[Path]:
    """The paths that match a pattern with `*`, `?`, `[...]` or `**`, sorted.

    Folders at the beginning that exist as they are written are taken so: in
    `runs [1]/*.csv` only the last part is a pattern.
    """
    parts = Path(pattern).parts
    fixed, size = Path(), 0
    while size < len(parts) and (fixed / parts[size]).exists():
        fixed, size = fixed / parts[size], size + 1
    rest = os.path.join(glob.escape(str(fixed)), *parts[size:])
    return sorted(Path(name) for name in glob.glob(rest, recursive=True))


@contextlib.contextmanager
def without_pattern(directory: str | os.PathLike) -> Iterator[Path]:
    """Yields a path to a folder that TensorFlow does not take for a pattern.

    TensorFlow looks for the files of a checkpoint or of a SavedModel's weights
    by a pattern made of their path: it finds nothing below `run [1]`, and
    removing a checkpoint below `run*` would remove those of `run2` too. Such a
    folder gets another name, a link in a temporary folder, for the time of the
    block.

    Args:
        directory: The folder; need not exist.

    Raises:
        InputError: The folder for temporary files has such a name itself, or
            cannot be written to.
    """
    if not _PATTERN_CHARACTERS.search(os.fspath(directory)):
        yield Path(directory)
        return
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="recall-"))
            link = Path(folder) / "folder"
            link.symlink_to(os.path.abspath(directory))
        except OSError as error:
            raise InputError(
                f"TensorFlow takes {directory} for a pattern, and no link to it can be made in "
                f"the folder for temporary files ({error.strerror}). Rename the folder, or set "
                "TMPDIR."
            ) from error
        if _PATTERN_CHARACTERS.search(folder):
            raise InputError(
                f"TensorFlow takes {directory} for a pattern, and {folder} for temporary files "
                "too. Rename one of them, or set TMPDIR."
            )
        yield link
