"""The push job: a blessed run becomes a published version, whole or not at all.

Imports no TensorFlow. Every part is copied and checked under a hidden name, and
only then renamed to the version's number, the user tower last: a reader never
meets half a folder, and a server that watches the user tower alone never meets
a version whose index is not there yet. In object stores: `store_push.py`.
"""

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.artifacts.records import RunPaths
from pipelines.progress import tasks
from pipelines.publishing import release_parts, store_push
from pipelines.publishing.release_losses import find_losses, refuse_losses
from pipelines.publishing.release_parts import ReleasePart
from recall.errors import InputError
from serving.release import folders, release, retention, storage
from serving.release import manifest as manifests
from serving.release.version_folders import MAX_VERSION
from serving.stores import urls

_LOCK_NAME = ".push.lock"

_log = logging.getLogger(__name__)


def run_push(
    run_dir: str | Path,
    serving_dir: str | Path | None = None,
    index_dir: str | Path | None = None,
    *,
    keep: int | None = None,
    allow_loss: bool = False,
) -> int:
    """Publishes the release of a run as a new version.

    Args:
        run_dir: Folder with `evaluation/`, `export/` and `index/`.
        serving_dir: Folder of the releases, or the URL of one in an object
            store; None means `serving/` in the run.
        index_dir: Another index of the same export, for example one of its
            shards; None means `index/` in the run.
        keep: Versions that stay, the new one among them; of the older ones
            those go that no server has loaded. None keeps all.
        allow_loss: Whether a release is published that lacks most of the
            items, categories or titles of the newest one.

    Returns:
        The version: the second of the clock, or one more than the newest
        version where that is not less.

    Raises:
        InputError: The model is not blessed, a part is missing or damaged, the
            parts are not of one export, too much of the newest version would be
            lost, or `serving_dir` cannot be written.
    """
    paths = RunPaths.under(run_dir)
    index_dir = Path(index_dir or paths.index)
    parts = release_parts.read_parts(paths.export, index_dir, paths.evaluation)
    parts = release_parts.with_card(parts, run_dir)
    if urls.is_url(serving_dir):
        return store_push.push(parts, serving_dir, index_dir, keep=keep, allow_loss=allow_loss)
    serving_dir = Path(serving_dir or paths.serving)
    with folders.locked_folder(serving_dir, _LOCK_NAME):
        for part in release.PARTS:
            folders.clear_leftovers(serving_dir / part)
        _check_losses(serving_dir, index_dir, allow_loss=allow_loss)
        version = _next_version(serving_dir, time.time)
        try:
            _publish(parts, serving_dir, version)
        except OSError as error:  # For example a full disk.
            raise InputError(
                f"Cannot publish version {version} to {serving_dir}: {error.strerror}. "
                "Nothing was published; make room there, or choose another folder."
            ) from error
        if keep is not None:
            _remove_old_versions(serving_dir, keep)
    return version


def published_version(run_dir: str | Path, serving_dir: str | Path | None = None) -> int | None:
    """The newest version, when it holds just what a push would publish now.

    Raises:
        InputError: The run cannot be published; see `run_push`.
    """
    paths = RunPaths.under(run_dir)
    parts = release_parts.read_parts(paths.export, paths.index, paths.evaluation)
    if urls.is_url(serving_dir):
        return store_push.published_version(parts, serving_dir)
    try:
        newest = release.latest_release(serving_dir or paths.serving)
        manifest_of = {
            release.INDEX: manifests.read(newest.index_dir),
            release.ITEM_TOWER: manifests.read(newest.item_tower_dir),
            release.USER_TOWER: manifests.read(newest.user_tower_dir),
        }
    except InputError:
        return None
    same = all(release_parts.copied_files(manifest_of[part.name]) == part.files for part in parts)
    return newest.version if same else None


def newest_version(serving_dir: str | Path) -> int:
    """The newest published version.

    Raises:
        InputError: There is none.
    """
    if not urls.is_url(serving_dir):
        return release.latest_release(serving_dir).version
    return store_push.newest_version(serving_dir)


def _check_losses(serving_dir: Path, index_dir: Path, *, allow_loss: bool) -> None:
    """Compares a release with the newest published one.

    Raises:
        InputError: It lacks too much of it.
    """
    try:
        newest = release.latest_release(serving_dir)
        losses = find_losses(newest.index_dir, index_dir)
    except InputError as error:
        if release.complete_versions(serving_dir):
            _log.warning("The release is not compared with the one before: %s", error)
        return
    refuse_losses(losses, f"version {newest.version} in {serving_dir}", allow_loss=allow_loss)


def _remove_old_versions(serving_dir: Path, keep: int) -> None:
    """Makes room; what fails here leaves the new version published."""
    try:
        removal = retention.remove_old_versions(serving_dir, keep)
    except OSError as error:
        _log.warning("Old versions in %s cannot be removed: %s.", serving_dir, error)
        return
    if removal.removed:
        versions = ", ".join(map(str, removal.removed))
        _log.info("Removed old versions in %s: %s", serving_dir, versions)
    if removal.in_use:
        versions = ", ".join(map(str, removal.in_use))
        _log.info(
            "Old versions in %s stay, they are loaded or cannot be locked: %s",
            serving_dir,
            versions,
        )


def _next_version(serving_dir: Path, now_s: Callable[[], float]) -> int:
    taken = [release.list_versions(serving_dir / part) for part in release.PARTS]
    newest = max((versions[-1] for versions in taken if versions), default=0)
    if newest == MAX_VERSION:
        raise InputError(
            f"{serving_dir} has version {newest}, and no number is larger. Remove that version."
        )
    return max(int(now_s()), newest + 1)


def _publish(parts: list[ReleasePart], serving_dir: Path, version: int) -> None:
    """Copies and checks every part, then renames them in the order of `parts`."""
    num_files = sum(len(part.files) for part in parts)
    with contextlib.ExitStack() as stack:
        task = stack.enter_context(tasks.open_task("copy", total=num_files, unit="files"))
        # Contexts close in reverse: the last one entered is renamed first.
        for part in reversed(parts):
            destination = serving_dir / part.name / str(version)
            staging = stack.enter_context(folders.atomic_directory(destination, replace=False))
            _copy_part(part, staging, task)


def _copy_part(part: ReleasePart, staging: Path, task: tasks.Task) -> None:
    """Copies the files of a part, counts them, and seals the copy.

    Raises:
        InputError: A file is missing or damaged.
    """
    for name, checksum in part.files.items():
        source, target = manifests.member(part.source, name), manifests.member(staging, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
        except FileNotFoundError as error:
            raise InputError(f"{source} is missing. {part.remedy}") from error
        if storage.sha256_of_file(target) != checksum:
            raise InputError(
                f"{source} is damaged: its SHA-256 is not the one in the manifest. Nothing was "
                f"published. {part.remedy}"
            )
        task.advance()
    written = {}
    for name, text in part.texts.items():
        (staging / name).write_text(text, encoding="utf-8")
        written[name] = storage.sha256_of_file(staging / name)
    manifests.write(staging, part.values, {**part.files, **written})
