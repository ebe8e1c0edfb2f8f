"""Where versions of models are found on disk: the release, or one SavedModel."""

import gc
import os
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Protocol

from serving import release as releases
from serving.loaded_release import LoadedRelease
from serving.metrics import Metrics
from serving.release import Release
from serving.saved_model import SavedModelServable
from serving.servable import Servable
from serving.version_folders import VersionFolders


class LoadedModels(Protocol):
    """Servables of one version that are dropped together.

    Attributes:
        servables: By name of the model.
        asks_others: Whether other processes have a part in the answers.
    """

    servables: Mapping[str, Servable]
    asks_others: bool

    def close(self) -> None:
        """Frees what they hold."""


class ModelSource(Protocol):
    """A folder with versions of models that change together.

    Attributes:
        names: The models.
        folder: Where their versions are.
    """

    names: tuple[str, ...]
    folder: Path

    def versions(self) -> list[int]:
        """Versions that are completely there."""

    def stamp(self, version: int) -> Hashable:
        """Changes when a file of a version is replaced, changed, added or removed."""

    def load(self, version: int) -> LoadedModels:
        """Reads a version into memory.

        Raises:
            InputError: It cannot be served.
        """


class ReleaseSource:
    """The `serving/` folder of a run: towers and index of one version."""

    def __init__(
        self,
        release_dir: Path,
        names: tuple[str, ...],
        load_release: Callable[[Release], LoadedRelease],
    ):
        """Watches a folder.

        Args:
            release_dir: Folder with `user_tower/`, `item_tower/`, `index/`.
            names: Models that `load_release` loads.
            load_release: Loads a verified release.
        """
        self.names = names
        self.folder = release_dir
        self._parts = [VersionFolders(release_dir / part) for part in releases.PARTS]
        self._load_release = load_release

    def versions(self) -> list[int]:
        """See `ModelSource`."""
        return sorted(set.intersection(*(set(part.find()) for part in self._parts)))

    def stamp(self, version: int) -> Hashable:
        """See `ModelSource`."""
        folders = [releases.part_dir(self.folder, part, version) for part in releases.PARTS]
        return tuple(map(_stamp_tree, folders))

    def load(self, version: int) -> LoadedRelease:
        """See `ModelSource`; every file is compared with its checksum first."""
        release = releases.read_release(self.folder, version)
        releases.verify(release)
        return self._load_release(release)


class SavedModelSource:
    """One SavedModel per version below a base path, as TF Serving reads them."""

    def __init__(self, name: str, base_path: Path, metrics: Metrics):
        self.names = (name,)
        self.folder = base_path
        self._folders = VersionFolders(base_path)
        self._metrics = metrics

    def versions(self) -> list[int]:
        """See `ModelSource`; a folder without `saved_model.pb` is not complete."""
        folders = self._folders.find()
        return sorted(v for v, folder in folders.items() if _has_saved_model(folder))

    def stamp(self, version: int) -> Hashable:
        """See `ModelSource`."""
        return _stamp_tree(self._folder_of(version))

    def load(self, version: int) -> "LoadedSavedModel":
        """See `ModelSource`."""
        folder = self._folder_of(version)
        return LoadedSavedModel(
            SavedModelServable(self.names[0], version, folder, metrics=self._metrics)
        )

    def _folder_of(self, version: int) -> Path:
        return self._folders.find().get(version, self.folder / str(version))


class LoadedSavedModel:
    """One SavedModel in memory."""

    asks_others = False

    def __init__(self, servable: SavedModelServable):
        self.servables: Mapping[str, Servable] = {servable.name: servable}

    def close(self) -> None:
        """Drops the model; see `LoadedRelease.close`."""
        self.servables = {}
        gc.collect()


def _has_saved_model(folder: Path) -> bool:
    """Whether a folder is complete; one that cannot be looked into is not."""
    try:
        return (folder / "saved_model.pb").is_file()
    except OSError:
        return False


def _stamp_tree(folder: Path) -> Hashable:
    """The stamps of a folder and of everything below it, by path."""
    paths = [os.fspath(folder)]
    for parent, folders, files in os.walk(folder):
        paths += [os.path.join(parent, name) for name in (*folders, *files)]
    return frozenset((path, _stamp(path)) for path in paths)


def _stamp(path: str) -> Hashable:
    """Identity, size and time of change of a file or folder, None where there is none.

    Not the time of modification: copies keep that of their original.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
