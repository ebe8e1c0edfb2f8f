"""Sealed folders: a manifest with the SHA-256 of every file, and of itself.

Imports no TensorFlow. Exports, index bundles and pushed versions are sealed;
whoever reads one can tell a damaged or half-copied folder from a whole one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from recall.errors import InputError
from serving.release import storage

MANIFEST_NAME = "manifest.json"

FORMAT = 1
"""Raised when a reader of the old layout could not read the new one."""

_FILES, _CHECKSUM = "files", "checksum"


def seal(directory: str | os.PathLike, values: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the manifest over all files that `directory` holds now.

    Args:
        directory: Folder without a manifest.
        values: Plain values to record, for example the fingerprint.

    Returns:
        The manifest: `values` with `format`, `files` and `checksum`.
    """
    return write(directory, values, storage.sha256_of_tree(directory))


def write(
    directory: str | os.PathLike, values: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, Any]:
    """Writes a manifest whose checksums are already known; see `seal`."""
    manifest = build(values, files)
    storage.write_json(Path(directory) / MANIFEST_NAME, manifest)
    return manifest


def build(values: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of files whose checksums are known, to be written elsewhere."""
    manifest = {"format": FORMAT, **values, _FILES: dict(files)}
    manifest[_CHECKSUM] = _checksum(manifest)
    return manifest


def read(directory: str | os.PathLike) -> dict[str, Any]:
    """Reads the manifest of a sealed folder, without looking at its files.

    Raises:
        InputError: It is missing, damaged or of another format.
    """
    path = Path(directory) / MANIFEST_NAME
    manifest = storage.read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get(_FILES), dict):
        raise InputError(f"{path} is not a manifest. Make the folder again.")
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {manifest.get('format')!r}; this version reads format {FORMAT}. "
            "Make the folder again, or use the version of the software that made it."
        )
    if manifest.get(_CHECKSUM) != _checksum(manifest):
        raise InputError(
            f"{path} is damaged: its checksum does not match. Remove {directory} and make it again."
        )
    return manifest


def describe(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says beside its seal: everything but the checksums."""
    return {key: value for key, value in manifest.items() if key not in (_FILES, _CHECKSUM)}


def verify(directory: str | os.PathLike, manifest: Mapping[str, Any]) -> None:
    """Compares every file that `manifest` names with its checksum.

    Raises:
        InputError: A file is missing, unreadable, changed or truncated.
    """
    expected = manifest[_FILES]
    paths = [member(directory, name) for name in expected]
    try:
        actual = storage.sha256_of_files(paths)
    except OSError as error:
        raise InputError(f"Cannot read {error.filename}: {error.strerror}.") from error
    for path, checksum, found in zip(paths, expected.values(), actual, strict=True):
        if found != checksum:
            raise InputError(
                f"{path} is damaged: its SHA-256 is not the one in {MANIFEST_NAME}. "
                f"Remove {directory} and make or copy it again."
            )


def member(directory: str | os.PathLike, name: str) -> Path:
    """Path of a file named in a manifest.

    Raises:
        InputError: The name leads out of the folder.
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise InputError(f"The manifest of {directory} names the file {name!r} outside of it.")
    return Path(directory) / parts


def require_file(directory: str | os.PathLike, manifest: Mapping[str, Any], name: str) -> Path:
    """Path of a file that a reader needs and that the manifest must cover.

    Raises:
        InputError: The manifest does not name it.
    """
    if name not in manifest[_FILES]:
        raise InputError(f"The manifest of {directory} does not name {name}. Make it again.")
    return member(directory, name)


def load_array(directory: str | os.PathLike, manifest: Mapping[str, Any], name: str) -> np.ndarray:
    """An array of a sealed folder as a read-only memory map.

    Raises:
        InputError: It is missing, not covered by the manifest, or no array of
            plain numbers or bytes.
    """
    path = require_file(directory, manifest, name)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error


def _checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over everything in the manifest but the checksum itself."""
    content = {key: value for key, value in manifest.items() if key != _CHECKSUM}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
