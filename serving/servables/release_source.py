"""The release as a source of versions: towers, recall service and live items change together."""

from collections.abc import Callable, Hashable
from pathlib import Path

from serving.api import item_changes, recall_request
from serving.release import release as releases
from serving.release.release import ITEM_TOWER, USER_TOWER, Release
from serving.release.version_folders import VersionFolders, stamp_tree
from serving.servables.loaded_release import LoadedRelease

TOWERS = (USER_TOWER, ITEM_TOWER)

RELEASE_MODELS = (*TOWERS, recall_request.RECALL_MODEL, item_changes.ITEMS_MODEL)
"""Models that come from `--release` and change versions together."""


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
        return tuple(map(stamp_tree, folders))

    def load(self, version: int) -> LoadedRelease:
        """See `ModelSource`; every file is compared with its checksum first."""
        release = releases.read_release(self.folder, version)
        releases.verify(release)
        return self._load_release(release)
