"""The push job where the releases are in an object store: files first, a pointer to them last.

Imports no TensorFlow. `serving/release/store_publish.py` says why no reader meets half a version.
"""

import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.progress import tasks
from pipelines.publishing import release_parts
from pipelines.publishing.release_losses import find_losses, refuse_losses
from pipelines.publishing.release_parts import ReleasePart
from recall.errors import InputError
from serving.index.bundle import ITEMS_NAME
from serving.release import manifest as manifests
from serving.release import release, store_fetch, store_publish, store_versions
from serving.release.store_publish import PartFiles

_log = logging.getLogger(__name__)


def push(
    parts: Sequence[ReleasePart],
    serving_url: str,
    index_dir: Path,
    *,
    keep: int | None,
    allow_loss: bool,
) -> int:
    """Publishes the parts as a new version; see `push.run_push`.

    Args:
        parts: In the order of publication.
        serving_url: Folder of the releases, for example `s3://bucket/serving`.
        index_dir: Where the index of the release lies.
        keep: Versions that stay, None for all.
        allow_loss: Whether much of the newest version may be lost.

    Returns:
        The version.

    Raises:
        InputError: A file is damaged, too much would be lost, or the store
            refuses it; nothing is published then.
    """
    _check_losses(serving_url, index_dir, allow_loss=allow_loss)
    num_files = sum(len(part.files) for part in parts)
    with store_publish.claimed_version(serving_url, time.time) as claim:
        _clear_leftovers(claim)
        with tasks.open_task("upload", total=num_files, unit="files") as task:
            store_publish.publish(claim, [_to_be_written(part) for part in parts], task.advance)
    if keep is not None:
        _remove_old_versions(serving_url, keep)
    return claim.version


def published_version(parts: Sequence[ReleasePart], serving_url: str) -> int | None:
    """The newest version, when it holds just these parts.

    Raises:
        InputError: The store cannot be asked.
    """
    published = store_versions.list_versions(serving_url)
    if not published:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="recall-") as folder:
            for part in parts:
                copy = Path(folder) / part.name
                store_fetch.fetch_files(serving_url, published[-1], part.name, copy, names=())
                if release_parts.copied_files(manifests.read(copy)) != part.files:
                    return None
    except InputError:
        return None
    return published[-1]


def newest_version(serving_url: str) -> int:
    """The newest published version.

    Raises:
        InputError: There is none, or the store cannot be asked.
    """
    published = store_versions.list_versions(serving_url)
    if not published:
        raise InputError(f"{serving_url} holds no release. Run `recall push` first.")
    return published[-1]


def _check_losses(serving_url: str, index_dir: Path, *, allow_loss: bool) -> None:
    """Compares a release with the newest published one, of which only the items are fetched."""
    published = store_versions.list_versions(serving_url)
    if not published:
        return
    with tempfile.TemporaryDirectory(prefix="recall-") as folder:
        try:
            copy = Path(folder) / release.INDEX
            store_fetch.fetch_files(
                serving_url, published[-1], release.INDEX, copy, names=(ITEMS_NAME,)
            )
            losses = find_losses(copy, index_dir)
        except InputError as error:
            _log.warning("The release is not compared with the one before: %s", error)
            return
    refuse_losses(losses, f"version {published[-1]} in {serving_url}", allow_loss=allow_loss)


def _clear_leftovers(claim: store_publish.Claim) -> None:
    try:
        if removed := store_publish.remove_leftovers(claim):
            listed = ", ".join(map(str, removed))
            _log.info("Removed what killed publishers left in %s: %s", claim.serving_url, listed)
    except InputError as error:  # For example no right to remove; they are harmless.
        _log.warning("What killed publishers left stays: %s", error)


def _remove_old_versions(serving_url: str, keep: int) -> None:
    """Makes room; what fails here leaves the new version published."""
    try:
        if removed := store_publish.remove_old_versions(serving_url, keep):
            listed = ", ".join(map(str, removed))
            _log.info("Removed old versions in %s: %s", serving_url, listed)
    except InputError as error:
        _log.warning("Old versions in %s stay: %s", serving_url, error)


def _to_be_written(part: ReleasePart) -> PartFiles:
    """A part with its manifest, whose checksums the upload is compared with."""
    texts = {name: text.encode() for name, text in part.texts.items()}
    sums = {**part.files, **{name: store_publish.sha256(text) for name, text in texts.items()}}
    return PartFiles(
        part.name,
        {name: (manifests.member(part.source, name), sum_) for name, sum_ in part.files.items()},
        texts,
        manifests.build(part.values, sums),
        part.remedy,
    )
