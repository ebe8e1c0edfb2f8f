"""Where the release of a server is: a folder here, or a store with a folder of copies here."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from serving.models.servable import ModelSource
from serving.release import paths, store_fetch
from serving.release import release as releases
from serving.release.release import Release
from serving.servables import stored_release
from serving.servables.loaded_release import LoadedRelease
from serving.servables.release_source import ReleaseSource
from serving.servables.stored_release import StoredReleaseSource
from serving.stores import urls


class ReleasePlace(NamedTuple):
    """The place of a release.

    Attributes:
        folder: Folder with `user_tower/`, `item_tower/`, `index/`; also where
            changes of live items are kept.
        url: Of the release whose copies are in it, "" where it is no copy.
    """

    folder: Path
    url: str = ""

    def source(
        self, names: tuple[str, ...], load_release: Callable[[Release], LoadedRelease]
    ) -> ModelSource:
        """Its versions; see `ReleaseSource`."""
        source = ReleaseSource(self.folder, names, load_release)
        return StoredReleaseSource(self.url, source) if self.url else source


def open_place(
    release_dir: str | os.PathLike, cache_dir: str | os.PathLike | None = None
) -> ReleasePlace:
    """Looks whether a place has a release.

    Args:
        release_dir: The folder, or a URL of a store.
        cache_dir: Folder for copies of a store's; None takes one in the cache of the user.

    Raises:
        InputError: There is no release, or the store cannot be asked.
    """
    if not urls.is_url(release_dir):
        releases.latest_release(release_dir)
        return ReleasePlace(Path(release_dir))
    url = urls.parse(release_dir, "--release")
    cache_dir = cache_dir or store_fetch.default_cache(url, paths.cache_home())
    stored_release.check(url, Path(cache_dir))
    return ReleasePlace(Path(cache_dir), url)
