"""Where the versions of a model are found on disk: SavedModels as TF Serving reads them."""

import gc
from collections.abc import Hashable, Mapping
from pathlib import Path

from serving.models.saved_model import SavedModelServable
from serving.models.servable import Servable
from serving.monitoring.metrics import Metrics
from serving.release.version_folders import VersionFolders, stamp_tree


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
        return stamp_tree(self._folder_of(version))

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
