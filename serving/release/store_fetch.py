"""Versions of a release copied from an object store to a folder of this machine, and checked.

Imports no TensorFlow. The pointer of a version has the SHA-256 of each part's manifest, and that
the one of every file: what does not fit is downloaded again, and never served. The folder is laid
out as one that `recall push` writes, and several servers may share it.
"""

import contextlib
import hashlib
import logging
import shutil
import time
from collections.abc import Collection, Iterator
from concurrent import futures
from pathlib import Path

from recall.errors import InputError
from serving.release import folders, paths, release, retention, storage, store_versions
from serving.release import manifest as manifests
from serving.stores import attempts, copies, urls
from serving.stores.failures import DamagedError

_LOCK_NAME = ".fetch.lock"

_OF_A_NEW_VOLUME = "lost+found"

_ORIGIN_NAME = "origin.json"
"""Which release the folder holds copies of."""

_DOWNLOADS = 8
"""Files at a time: most are small, and a round trip each."""

KEPT_VERSIONS = 2
"""Copies that stay beside those in use: the newest, and the one to go back to."""

_log = logging.getLogger(__name__)


def default_cache(serving_url: str, cache_home: Path) -> Path:
    """Where copies of a release lie unless another folder is named: one folder for each URL."""
    digest = hashlib.sha256(serving_url.encode()).hexdigest()[:16]
    return cache_home / "releases" / f"{urls.name_of(serving_url)}-{digest}"


def open_cache(serving_url: str, cache_dir: Path) -> None:
    """Makes the folder for copies of a release.

    Raises:
        InputError: It cannot be written to, or has copies of another release.
    """
    origin = cache_dir / _ORIGIN_NAME
    with _locked(cache_dir):
        for part in release.PARTS:  # Of a server that was killed while it copied.
            folders.clear_leftovers(cache_dir / part)
        if origin.exists():
            found = storage.read_json(origin).get("release")
            if found != serving_url:
                raise InputError(
                    f"{cache_dir} has copies of {found}, not of {serving_url}. Name another folder "
                    "with --release_cache."
                )
            return
        names = sorted(path.name for path in cache_dir.iterdir() if not path.name.startswith("."))
        if others := [name for name in names if name != _OF_A_NEW_VOLUME]:
            raise InputError(
                f"{cache_dir} holds other files ({others[0]}). "
                "Name a new folder with --release_cache."
            )
        storage.write_json(origin, {"release": serving_url})


def fetch(serving_url: str, version: int, cache_dir: Path) -> None:
    """Makes sure that a version lies in the folder, whole and undamaged.

    Raises:
        StoreAwayError: The store does not answer.
        InputError: A file in the store is damaged or was just removed, or the disk is full.
    """
    with _locked(cache_dir):
        pointer = attempts.retried(lambda: store_versions.read_pointer(serving_url, version))
        for part in release.PARTS:  # The user tower comes last, as in a publication.
            folder = cache_dir / part / str(version)
            if not _is_whole(folder, pointer.manifests[part]):
                url = store_versions.part_url(serving_url, part, version)
                _fetch_part(url, pointer.manifests[part], folder)


def fetch_newest(serving_url: str) -> Path:
    """A folder of releases with the newest published version, in the cache of the user.

    Raises:
        InputError: There is none, it is damaged, or the store cannot be asked.
    """
    published = store_versions.list_versions(serving_url)
    if not published:
        raise InputError(
            f"{serving_url} holds no release. Run `recall push --serving={serving_url}` first."
        )
    folder = default_cache(serving_url, paths.cache_home())
    open_cache(serving_url, folder)
    remove_copies(folder, published)
    fetch(serving_url, published[-1], folder)
    newest = release.complete_versions(folder)[-1]
    if newest > published[-1] and newest not in store_versions.list_versions(serving_url):
        raise InputError(
            f"Version {newest} was withdrawn from {serving_url}, but a process of this machine has "
            "it loaded. Try again when it has let it go, or set XDG_CACHE_HOME to another folder."
        )
    return folder


def remove_copies(cache_dir: Path, published: list[int]) -> None:
    """Removes copies that are neither in use nor among the newest that are still published."""
    kept = set(published[-KEPT_VERSIONS:])
    with _locked(cache_dir):
        cached = {v for part in release.PARTS for v in release.list_versions(cache_dir / part)}
        removed = retention.remove_versions(cache_dir, sorted(cached - kept)).removed
    if removed:
        listed = ", ".join(map(str, removed))
        _log.info("Removed copies of versions in %s: %s", cache_dir, listed)


def fetch_files(
    serving_url: str, version: int, part: str, folder: Path, names: Collection[str] | None = None
) -> None:
    """Downloads the manifest of a part, and files that it names.

    Args:
        serving_url: Folder of the releases.
        version: A published one.
        part: `index`, `item_tower` or `user_tower`.
        folder: Where they are written to; made where it is missing.
        names: Of the files, those that the manifest has; None means all.

    Raises:
        InputError: See `fetch`.
    """
    checksum = store_versions.read_pointer(serving_url, version).manifests[part]
    url = store_versions.part_url(serving_url, part, version)
    _download_part(url, checksum, folder, names)


def _fetch_part(url: str, checksum: str, folder: Path) -> None:
    """Downloads one part; it appears when all of it is there."""
    start = time.monotonic()
    folders.clear_leftovers(folder.parent, folder.name)
    with folders.atomic_directory(folder) as staging:
        size = _download_part(url, checksum, staging, None)
    _log.info("Fetched %s: %.1f MB in %.1f s", url, size / 1e6, time.monotonic() - start)


def _download_part(url: str, checksum: str, folder: Path, names: Collection[str] | None) -> int:
    """Downloads the manifest and the files it names, several at a time; their bytes."""
    manifest_name = manifests.MANIFEST_NAME
    _download(urls.join(url, manifest_name), folder / manifest_name, checksum)
    expected = manifests.read(folder)["files"]
    wanted = expected if names is None else [name for name in names if name in expected]
    with futures.ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="download") as pool:
        tasks = [
            pool.submit(
                _download, urls.join(url, name), manifests.member(folder, name), expected[name]
            )
            for name in wanted
        ]
        try:
            return sum(task.result() for task in futures.as_completed(tasks))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _download(url: str, path: Path, checksum: str) -> int:
    """Downloads a file until it is what it should be, a few times; its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def download() -> int:
        if copies.download(url, path) == checksum:
            return path.stat().st_size
        raise DamagedError(
            f"{url} is damaged: its SHA-256 is not the one that was published "
            f"({path.stat().st_size} bytes came). Publish the release again."
        )

    return attempts.retried(download)


def _is_whole(folder: Path, checksum: str) -> bool:
    """Whether a part is there as it was published; a damaged one goes."""
    if not folder.exists():
        return False
    try:
        if storage.sha256_of_file(folder / manifests.MANIFEST_NAME) == checksum:
            manifests.verify(folder, manifests.read(folder))
            return True
        reason = "it is not what was published"
    except (InputError, OSError) as error:
        reason = str(error)
    _log.warning("The copy %s is fetched again: %s", folder, reason)
    shutil.rmtree(folder, ignore_errors=True)
    return False


@contextlib.contextmanager
def _locked(cache_dir: Path) -> Iterator[None]:
    """One server at a time; another one finds what this one fetched."""
    with folders.locked_folder(cache_dir, _LOCK_NAME):
        yield
