"""Files that appear whole or not at all, and checksums of files.

Imports no TensorFlow. Whole folders are the matter of `serving.release.folders`.
"""

import glob
import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

from recall.errors import InputError

_CHUNK_BYTES = 1 << 20

_MAX_HASHING_THREADS = 8
"""Enough to keep a fast disk busy; hashing frees the GIL."""


def fsync_path(path: Path) -> None:
    """Flushes a file or the entries of a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Writes `values` as indented JSON; readers see the old or the new file."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a file in UTF-8; readers see the old or the new one."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        fsync_path(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def clear_partial_writes(path: str | os.PathLike) -> None:
    """Removes what killed calls of `write_text` for this path left behind."""
    path = Path(path)
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        partial.unlink(missing_ok=True)


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: The file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}. Copy or make it again.") from error


def sha256_of_file(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_files(paths: Sequence[Path]) -> list[str]:
    """`sha256_of_file` of every path, several at a time.

    Raises:
        OSError: The first one, in the order of `paths`, that cannot be read.
    """
    threads = min(os.cpu_count() or 1, _MAX_HASHING_THREADS)
    with futures.ThreadPoolExecutor(threads, thread_name_prefix="sha256") as pool:
        return list(pool.map(sha256_of_file, paths))


def sha256_of_tree(directory: str | os.PathLike) -> dict[str, str]:
    """SHA-256 of every file below `directory` by its relative POSIX path, sorted."""
    root = Path(directory)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    names = [path.relative_to(root).as_posix() for path in files]
    return dict(zip(names, sha256_of_files(files), strict=True))
