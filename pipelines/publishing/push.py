"""The push job: a blessed run becomes a published version, whole or not at all.

Imports no TensorFlow. Every part is copied and checked under a hidden name, and
only then renamed to the version's number, the user tower last: a reader never
meets half a folder, and a server that watches the user tower alone never meets
a version whose index is not there yet.
"""

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from pipelines.evaluation import blessing
from pipelines.evaluation.blessing import BLESSED, NOT_BLESSED
from pipelines.progress import tasks
from pipelines.publishing.release_losses import REFUSED_SHARE, find_losses
from pipelines.reporting import model_card
from recall.errors import InputError
from serving.release import folders, release, retention, storage
from serving.release import manifest as manifests
from serving.release.version_folders import MAX_VERSION

_LOCK_NAME = ".push.lock"

_log = logging.getLogger(__name__)


class _Part(NamedTuple):
    """One folder of a release: where it comes from and what it holds.

    Attributes:
        name: `index`, `item_tower` or `user_tower`.
        source: Folder the files are copied from.
        files: Path within `source` -> SHA-256.
        values: What its manifest says beside the files.
        texts: Files that are written, not copied: name -> content.
    """

    name: str
    source: Path
    files: Mapping[str, str]
    values: Mapping[str, Any]
    texts: Mapping[str, str] = MappingProxyType({})

    @property
    def remedy(self) -> str:
        """What to do when one of its files is damaged."""
        if self.name == release.INDEX:
            return records.how_to_renew(self.source, "index")
        return records.how_to_renew(self.source.parent, "export")


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
        serving_dir: Folder of the releases; None means `serving/` in the run.
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
    index_dir, serving_dir = Path(index_dir or paths.index), Path(serving_dir or paths.serving)
    parts = _with_card(_read_parts(paths.export, index_dir, paths.evaluation), run_dir)
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
    parts = _read_parts(paths.export, paths.index, paths.evaluation)
    try:
        newest = release.latest_release(serving_dir or paths.serving)
        manifest_of = {
            release.INDEX: manifests.read(newest.index_dir),
            release.ITEM_TOWER: manifests.read(newest.item_tower_dir),
            release.USER_TOWER: manifests.read(newest.user_tower_dir),
        }
    except InputError:
        return None
    same = all(_copied_files(manifest_of[part.name]) == part.files for part in parts)
    return newest.version if same else None


def _copied_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Checksums by name without the card's: releases of earlier versions have none."""
    return {name: sum_ for name, sum_ in manifest["files"].items() if name not in model_card.NAMES}


def require_blessed(evaluation_dir: str | Path) -> None:
    """Refuses an evaluation that did not end in a blessing.

    Raises:
        InputError: It is missing, unfinished or not blessed.
    """
    records.require(evaluation_dir, "evaluate")
    folder = Path(evaluation_dir)
    if (folder / NOT_BLESSED).exists() or not (folder / BLESSED).exists():
        raise InputError(f"The model is not blessed: {_refusal(folder)}.")


def _refusal(evaluation_dir: Path) -> str:
    """Why an evaluation is not blessed, and the remedy."""
    path = evaluation_dir / records.REPORT_NAME
    verdict = storage.read_json(path).get("blessing", {}) if path.exists() else {}
    if (evaluation_dir / BLESSED).exists() or verdict.get("blessed", False):
        return f"{evaluation_dir} contradicts itself. Remove it and run `recall evaluate` again"
    return blessing.describe_refusal(verdict)


def _read_parts(
    export_dir: str | Path, index_dir: str | Path, evaluation_dir: str | Path
) -> list[_Part]:
    """The parts in the order of publication, checked to belong together."""
    require_blessed(evaluation_dir)
    records.require(export_dir, "export")
    records.require(index_dir, "index")
    export, index = manifests.read(export_dir), manifests.read(index_dir)
    if export["fingerprint"] != index["fingerprint"]:
        raise InputError(
            f"{index_dir} (fingerprint {index['fingerprint']}) was not built from {export_dir} "
            f"(fingerprint {export['fingerprint']}). Run `recall index` again."
        )
    _require_same_model(export_dir, evaluation_dir)
    return [
        _Part(release.INDEX, Path(index_dir), index["files"], _values(index)),
        *(_tower_part(name, Path(export_dir), export) for name in release.PARTS[1:]),
    ]


def _with_card(parts: list[_Part], run_dir: str | Path) -> list[_Part]:
    """The parts, with the model card beside the user tower, which is what people call the model."""
    card = model_card.texts_of(run_dir)
    return [
        part._replace(texts=card) if part.name == release.USER_TOWER else part for part in parts
    ]


def _require_same_model(export_dir: str | Path, evaluation_dir: str | Path) -> None:
    """The blessing must be of the model that was exported."""
    exported = records.require(export_dir, "export")["inputs"].get("model")
    evaluated = records.require(evaluation_dir, "evaluate")["inputs"].get("model")
    if exported != evaluated:
        raise InputError(
            f"{evaluation_dir} judged another model than {export_dir} holds. "
            "Run `recall evaluate` and `recall export` on the same model."
        )


def _tower_part(name: str, export_dir: Path, manifest: Mapping[str, Any]) -> _Part:
    """The files of one tower, named from its own folder."""
    manifests.require_file(export_dir, manifest, f"{name}/saved_model.pb")
    prefix = f"{name}/"
    files = {
        path.removeprefix(prefix): checksum
        for path, checksum in manifest["files"].items()
        if path.startswith(prefix)
    }
    return _Part(name, export_dir / name, files, _values(manifest))


def _values(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What was recorded when a folder was sealed."""
    return {key: value for key, value in manifests.describe(manifest).items() if key != "format"}


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
    if not losses:
        return
    text = "; ".join(loss.text for loss in losses)
    said = f"Compared with version {newest.version} in {serving_dir} the release loses: {text}"
    if allow_loss or max(loss.share for loss in losses) < REFUSED_SHARE:
        _log.warning("%s.", said)
        return
    raise InputError(
        f"{said}. Nothing was published. Check the log and the items file of the run, or pass "
        "--allow_loss to publish it all the same."
    )


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


def _publish(parts: list[_Part], serving_dir: Path, version: int) -> None:
    """Copies and checks every part, then renames them in the order of `parts`."""
    num_files = sum(len(part.files) for part in parts)
    with contextlib.ExitStack() as stack:
        task = stack.enter_context(tasks.open_task("copy", total=num_files, unit="files"))
        # Contexts close in reverse: the last one entered is renamed first.
        for part in reversed(parts):
            destination = serving_dir / part.name / str(version)
            staging = stack.enter_context(folders.atomic_directory(destination, replace=False))
            _copy_part(part, staging, task)


def _copy_part(part: _Part, staging: Path, task: tasks.Task) -> None:
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
