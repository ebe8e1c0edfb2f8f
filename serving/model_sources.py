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
    """

    names: tuple[str, ...]

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
        self._dir = release_dir
        self._load_release = load_release

    def versions(self) -> list[int]:
        """See `ModelSource`."""
        return releases.complete_versions(self._dir)

    def stamp(self, version: int) -> Hashable:
        """See `ModelSource`."""
        return tuple(_stamp_tree(self._dir / part / str(version)) for part in releases.PARTS)

    def load(self, version: int) -> LoadedRelease:
        """See `ModelSource`; every file is compared with its checksum first."""
        release = releases.read_release(self._dir, version)
        releases.verify(release)
        return self._load_release(release)


class SavedModelSource:
    """One SavedModel per version below a base path, as TF Serving reads them."""

    def __init__(self, name: str, base_path: Path, metrics: Metrics):
        self.names = (name,)
        self._base_path = base_path
        self._metrics = metrics

    def versions(self) -> list[int]:
        """See `ModelSource`; a folder without `saved_model.pb` is not complete."""
        return [
            version
            for version in releases.list_versions(self._base_path)
            if (self._base_path / str(version) / "saved_model.pb").is_file()
        ]

    def stamp(self, version: int) -> Hashable:
        """See `ModelSource`."""
        return _stamp_tree(self._base_path / str(version))

    def load(self, version: int) -> "LoadedSavedModel":
        """See `ModelSource`."""
        folder = self._base_path / str(version)
        return LoadedSavedModel(
            SavedModelServable(self.names[0], version, folder, metrics=self._metrics)
        )


class LoadedSavedModel:
    """One SavedModel in memory."""

    asks_others = False

    def __init__(self, servable: SavedModelServable):
        self.servables: Mapping[str, Servable] = {servable.name: servable}

    def close(self) -> None:
        """Drops the model; see `LoadedRelease.close`."""
        self.servables = {}
        gc.collect()


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
