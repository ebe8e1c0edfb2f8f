"""Several files at a time between a store and this machine, with checksums and retries.

Imports no TensorFlow.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from pathlib import Path
from typing import TypeVar

from pipelines.mirrors import file_lists
from pipelines.mirrors.file_lists import ListedFile
from serving.stores import attempts, copies, urls
from serving.stores.failures import DamagedError
from serving.stores.files import FileEntry

_COPIES = 8
"""Files at a time."""

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


def download_all(
    entries: Mapping[str, FileEntry], expected: Mapping[str, ListedFile], folder: Path
) -> dict[str, str]:
    """Copies files of a store below a folder; each appears when it is whole.

    Args:
        entries: By their path below the folder.
        expected: What they should be, as far as that is known.
        folder: Made where it is missing.

    Returns:
        SHA-256 by path.

    Raises:
        InputError: One is damaged, or cannot be copied.
    """

    def download(name: str) -> str:
        return _download(entries[name], folder / name, expected.get(name))

    start = time.monotonic()
    sums = _in_threads(download, entries)
    _report("Copied", entries, start)
    return sums


def upload_all(names: Iterable[str], folder: Path, url: str) -> dict[str, str]:
    """Copies files of a folder below a URL.

    Returns:
        SHA-256 by path.

    Raises:
        InputError: The store refuses one.
    """
    return _in_threads(lambda name: copies.upload(folder / name, urls.join(url, name)), list(names))


def _report(what: str, entries: Mapping[str, FileEntry], start: float) -> None:
    if entries:
        size = sum(entry.size for entry in entries.values()) / 1e6
        seconds = time.monotonic() - start
        one = next(iter(entries.values())).place
        more = f" and {len(entries) - 1:,} more" if len(entries) > 1 else ""
        _log.info("%s %s%s: %.1f MB in %.1f s", what, one, more, size, seconds)


def _download(entry: FileEntry, path: Path, expected: ListedFile | None) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")

    def download() -> str:
        checksum = copies.download(entry.place, partial)
        size = partial.stat().st_size
        if size == entry.size and (expected is None or checksum == expected.sha256):
            partial.replace(path)
            return checksum
        raise DamagedError(
            f"{entry.place} is damaged: {_difference(entry, size, expected)}. Remove its folder, "
            "and make it again."
        )

    try:
        return attempts.retried(download)
    finally:
        partial.unlink(missing_ok=True)


def _difference(entry: FileEntry, size: int, expected: ListedFile | None) -> str:
    if size != entry.size or expected is None:
        return f"{size} of {entry.size} bytes came"
    return f"its SHA-256 is not the one in {file_lists.NAME}"


def _in_threads(function: Callable[[str], _Result], names: Iterable[str]) -> dict[str, _Result]:
    """Calls a function for each name, several at a time; the first error ends it."""
    with futures.ThreadPoolExecutor(_COPIES, thread_name_prefix="copy") as pool:
        tasks = {name: pool.submit(function, name) for name in names}
        try:
            for task in futures.as_completed(tasks.values()):
                task.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return {name: task.result() for name, task in tasks.items()}
