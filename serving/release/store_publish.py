"""Publishing a release in an object store: a number of one's own, the files, the pointer last.

Imports no TensorFlow. `store_versions.py` shows the layout. A store has neither renames nor locks,
and not all of them write on a condition. So a publisher writes its claim of a number, then lists
the claims: whoever sees another one goes on to a higher number. Of two at least the later lister
sees both, because what is written is listed at once (S3 since 2020, Google Cloud Storage, HDFS). A
number thus has one writer, and its files never mix.
"""

import contextlib
import hashlib
import json
import random
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

from recall.errors import InputError
from serving.release import manifest as manifests
from serving.release import release, store_versions
from serving.release.store_versions import VERSIONS, part_url, pointer_url
from serving.release.version_folders import MAX_VERSION
from serving.stores import copies, files, urls
from serving.stores.files import FileEntry

LEFTOVER_AGE_S = 6 * 3600.0
"""Files without a pointer are of a killed publisher when none was written for so long: one that
is at work writes one after the other, and no single file takes hours."""

_UPLOADS = 4
"""Files at a time; each has parts of several MiB in memory."""

_MAX_CLAIMS = 50
"""Numbers tried; publishers that meet go apart by chance."""

_OF_VERSION = re.compile(r"(\d{1,19})(?:\.json|\.[0-9a-f]{8}\.claim)?")


class PartFiles(NamedTuple):
    """One part of a release to be written.

    Attributes:
        name: `index`, `item_tower` or `user_tower`.
        files: Local file and its SHA-256 by name.
        texts: Files that are no copies: content by name.
        manifest: What seals them, see `manifest.build`.
        remedy: What to do when a local file is missing or damaged.
    """

    name: str
    files: Mapping[str, tuple[Path, str]]
    texts: Mapping[str, bytes]
    manifest: Mapping[str, Any]
    remedy: str


class Claim(NamedTuple):
    """The right to write a version.

    Attributes:
        serving_url: Folder of the releases.
        version: The number.
        url: Of the claim itself.
    """

    serving_url: str
    version: int
    url: str


@contextlib.contextmanager
def claimed_version(serving_url: str, now_s: Callable[[], float]) -> Iterator[Claim]:
    """Yields a number that nobody else writes; what the block wrote goes when it raises.

    Args:
        serving_url: Folder of the releases.
        now_s: Clock in seconds: a version is its time, or a higher number.

    Raises:
        InputError: The store cannot be asked or written to.
    """
    claim = _claim(serving_url, now_s)
    try:
        yield claim
    except BaseException:
        with contextlib.suppress(InputError):  # It stays a leftover, without a pointer.
            files.remove_files([pointer_url(serving_url, claim.version)])
            _remove_files_of(serving_url, claim.version)
            files.remove_files([claim.url])
        raise
    with contextlib.suppress(InputError):
        files.remove_files([claim.url])


def publish(
    claim: Claim, parts: Sequence[PartFiles], advance: Callable[[], None] = lambda: None
) -> None:
    """Writes the parts, then their manifests, then the pointer.

    Args:
        claim: Of the version.
        parts: In the order of publication.
        advance: Called after every file.

    Raises:
        InputError: A local file is damaged, the store refuses one, or another
            publisher took this one for dead; nothing is published then.
    """
    with futures.ThreadPoolExecutor(_UPLOADS, thread_name_prefix="upload") as pool:
        tasks = [
            pool.submit(_upload, claim, part, name, advance)
            for part in parts
            for name in part.files
        ]
        try:
            for task in futures.as_completed(tasks):
                task.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    for part in parts:
        folder = part_url(claim.serving_url, part.name, claim.version)
        for name, text in part.texts.items():
            files.write_bytes(urls.join(folder, name), text)
        files.write_bytes(urls.join(folder, manifests.MANIFEST_NAME), _to_json(part.manifest))
    _check_complete(claim, parts)
    sums = {part.name: sha256(_to_json(part.manifest)) for part in parts}
    values = {"format": store_versions.FORMAT, "version": claim.version, "manifests": sums}
    files.write_bytes(pointer_url(claim.serving_url, claim.version), _to_json(values))


def remove_old_versions(serving_url: str, keep: int) -> list[int]:
    """Removes all but the newest versions; servers have copies of those they serve.

    Args:
        serving_url: Folder of the releases.
        keep: Published versions that stay, >= 1.

    Returns:
        The versions that are gone: no reader finds them from their pointer on.

    Raises:
        InputError: The store refuses it.
    """
    old = store_versions.list_versions(serving_url)[:-keep]
    for version in old:
        files.remove_files([pointer_url(serving_url, version)])
        _remove_files_of(serving_url, version)
    return old


def remove_leftovers(claim: Claim, age_s: float = LEFTOVER_AGE_S) -> list[int]:
    """Removes files of versions that were never published, or were removed by half.

    Args:
        claim: Of the caller; its time is what others are compared with, so that
            no clock of another machine counts.
        age_s: Seconds since their last file was written, from which on.

    Returns:
        The numbers that are free again.

    Raises:
        InputError: The store refuses it.
    """
    found = _by_version(claim.serving_url)
    published = set(store_versions.list_versions(claim.serving_url))
    own = max(entry.changed_ns for entry in found[claim.version])
    old = [
        version
        for version, entries in found.items()
        if version not in (*published, claim.version)
        and own - max(entry.changed_ns for entry in entries) > age_s * 1e9
    ]
    for version in old:
        # The claim first: its owner, should it live after all, looks for it before the pointer.
        claims = [e.place for e in found[version] if e.place.endswith(".claim")]
        files.remove_files(claims)
        _remove_files_of(claim.serving_url, version)
    return sorted(old)


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def _claim(serving_url: str, now_s: Callable[[], float]) -> Claim:
    """Finds a number that nobody else has or wants."""
    newest = max(_by_version(serving_url), default=0)
    version = max(int(now_s()), newest + 1)
    for _ in range(_MAX_CLAIMS):
        if version > MAX_VERSION:
            raise InputError(
                f"{serving_url} has version {newest}, and no number is larger. Remove that version."
            )
        name = f"{version}.{uuid.uuid4().hex[:8]}.claim"
        claim = Claim(serving_url, version, urls.join(serving_url, VERSIONS, name))
        files.write_bytes(claim.url, b"A publisher is at work, or was killed.\n")
        names = files.list_names(urls.join(serving_url, VERSIONS))
        if [n for n in names if n.startswith(f"{version}.")] == [name]:
            return claim
        files.remove_files([claim.url])
        version += random.randint(1, 8)
    raise InputError(f"Too many publishers write to {serving_url} at a time. Try again.")


def _by_version(serving_url: str) -> dict[int, list[FileEntry]]:
    """All files of the folder by the version that they belong to."""
    found: dict[int, list[FileEntry]] = {}
    for entry in files.list_files(serving_url):
        folder, _, rest = urls.relative(entry.place, serving_url).partition("/")
        match = _OF_VERSION.fullmatch(rest.partition("/")[0])
        if match and folder in (VERSIONS, *release.PARTS):
            found.setdefault(int(match[1]), []).append(entry)
    return found


def _upload(claim: Claim, part: PartFiles, name: str, advance: Callable[[], None]) -> None:
    path, checksum = part.files[name]
    if not path.exists():
        raise InputError(f"{path} is missing. {part.remedy}")
    url = urls.join(part_url(claim.serving_url, part.name, claim.version), name)
    if copies.upload(path, url) != checksum:
        raise InputError(
            f"{path} is damaged: its SHA-256 is not the one in the manifest. Nothing was "
            f"published. {part.remedy}"
        )
    advance()


def _check_complete(claim: Claim, parts: Sequence[PartFiles]) -> None:
    """Refuses what somebody else has removed: a publisher that slept for hours looks dead."""
    found = {e.place: e.size for e in _by_version(claim.serving_url).get(claim.version, [])}
    wanted = {claim.url}
    for part in parts:
        folder = part_url(claim.serving_url, part.name, claim.version)
        wanted.update(urls.join(folder, name) for name in (*part.files, *part.texts))
        for name, (path, _) in part.files.items():
            url = urls.join(folder, name)
            if url in found and found[url] != path.stat().st_size:
                raise InputError(
                    f"{url} has {found[url]} bytes, {path} has {path.stat().st_size}. Nothing was "
                    "published; try again."
                )
    if missing := sorted(wanted - set(found)):
        raise InputError(
            f"{missing[0]} was removed by somebody else before the version was complete. Nothing "
            "was published; try again."
        )


def _remove_files_of(serving_url: str, version: int) -> None:
    for part in reversed(release.PARTS):
        files.remove_folder(part_url(serving_url, part, version))


def _to_json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
