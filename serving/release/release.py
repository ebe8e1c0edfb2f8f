"""Published releases: versions of the towers and the index that belong together.

Imports no TensorFlow. A release is one integer that names a folder below each
of `user_tower/`, `item_tower/` and `index/`, all with one fingerprint.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from recall.errors import InputError
from serving.release import manifest as manifests
from serving.release.version_folders import find_versions

INDEX, ITEM_TOWER, USER_TOWER = "index", "item_tower", "user_tower"
"""Folders of a release; the towers' are also their names as models."""

PARTS = (INDEX, ITEM_TOWER, USER_TOWER)
"""In the order of publication: a server that watches the user tower alone then
finds the index of the same version in its place."""


class Release(NamedTuple):
    """One published version.

    Attributes:
        version: The integer that names its folders.
        user_tower_dir: SavedModel.
        item_tower_dir: SavedModel.
        index_dir: Index bundle.
        fingerprint: Embedding space of all three.
    """

    version: int
    user_tower_dir: Path
    item_tower_dir: Path
    index_dir: Path
    fingerprint: str


def list_versions(parent: str | os.PathLike) -> list[int]:
    """Versions below a part's folder, ascending; see `version_folders.find_versions`."""
    return sorted(find_versions(parent).folders)


def complete_versions(serving_dir: str | os.PathLike) -> list[int]:
    """Versions that every part has, ascending."""
    versions = [set(list_versions(Path(serving_dir) / part)) for part in PARTS]
    return sorted(set.intersection(*versions))


def part_dir(serving_dir: str | os.PathLike, part: str, version: int) -> Path:
    """Folder of a part of a version, also where it is not there yet."""
    parent = Path(serving_dir) / part
    return find_versions(parent).folders.get(version, parent / str(version))


def read_release(serving_dir: str | os.PathLike, version: int) -> Release:
    """One published version; `verify` compares its files with their checksums.

    Raises:
        InputError: A part or its manifest is missing or damaged, or the
            fingerprints differ.
    """
    folders = {part: part_dir(serving_dir, part, version) for part in PARTS}
    found = {part: _fingerprint(folder) for part, folder in folders.items()}
    if len(set(found.values())) != 1:
        listed = ", ".join(f"{part} {fingerprint}" for part, fingerprint in found.items())
        raise InputError(
            f"Version {version} in {serving_dir} mixes exports: {listed}. Run `recall push` again."
        )
    return Release(
        version,
        folders[USER_TOWER],
        folders[ITEM_TOWER],
        folders[INDEX],
        found[INDEX],
    )


def latest_release(serving_dir: str | os.PathLike) -> Release:
    """The newest version that is complete and of one fingerprint.

    Raises:
        InputError: There is none; the text says what is wrong with the newest.
    """
    if not Path(serving_dir).is_dir():
        raise InputError(f"{serving_dir} is no folder. Run `recall push` first.")
    newest_error, looked_at = None, None
    # Once more while versions come and go: all that were listed may be removed by now.
    while looked_at != (looked_at := complete_versions(serving_dir)):
        newest_error = None
        for version in reversed(looked_at):
            try:
                return read_release(serving_dir, version)
            except InputError as error:
                newest_error = newest_error or error
    if newest_error is not None:
        raise newest_error
    inner = Path(serving_dir) / "serving"
    hint = f"Did you mean {inner}?" if inner.is_dir() else "Run `recall push` first."
    raise InputError(
        f"{serving_dir} holds no release: no version that user_tower/, item_tower/ and index/ "
        f"share. Only a blessed model is published. {hint}"
    )


def verify(release: Release) -> None:
    """Compares every file of a release with its checksum.

    Raises:
        InputError: A file is missing or damaged.
    """
    for folder in (release.index_dir, release.item_tower_dir, release.user_tower_dir):
        manifests.verify(folder, manifests.read(folder))


def _fingerprint(folder: Path) -> Any:
    fingerprint = manifests.read(folder).get("fingerprint")
    if not fingerprint:
        raise InputError(f"The manifest of {folder} has no fingerprint. Run `recall push` again.")
    return fingerprint
