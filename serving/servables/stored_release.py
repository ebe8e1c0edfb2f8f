"""A release in an object store as a source of versions: looked for there, served from copies.

While the store does not answer, what is served stays; a server that starts then serves the newest
version of which it has a copy.
"""

import contextlib
import logging
from collections.abc import Hashable
from pathlib import Path

from recall.errors import InputError
from serving.models.servable import LoadLaterError
from serving.release import release as releases
from serving.release import store_fetch, store_versions
from serving.servables.loaded_release import LoadedRelease
from serving.servables.release_source import ReleaseSource
from serving.stores.failures import LocalFileError, StoreAwayError

_LOGGER = logging.getLogger(__name__)


class StoredReleaseSource:
    """The versions below a URL, copied to a folder of this machine before they are loaded."""

    def __init__(self, serving_url: str, copies: ReleaseSource):
        """Watches a store.

        Args:
            serving_url: Folder of the releases, for example `s3://bucket/serving`.
            copies: The folder of the copies, which `store_fetch.open_cache` made.
        """
        self.names = copies.names
        self.folder = serving_url
        self._copies = copies
        self._published: list[int] | None = None
        self._stamps: dict[int, Hashable] = {}
        self._trouble: type[InputError] | None = None

    def versions(self) -> list[int]:
        """See `ModelSource`; what was listed last while the store does not answer."""
        try:
            self._published = store_versions.list_versions(self.folder)
        except InputError as error:
            self._say(error)
            known = self._published
            return releases.complete_versions(self._cache_dir) if known is None else known
        if self._trouble:
            _LOGGER.info("%s answers again.", self.folder)
            self._trouble = None
        return self._published

    def stamp(self, version: int) -> Hashable:
        """See `ModelSource`; the last one known while the store does not answer."""
        with contextlib.suppress(InputError):  # The next look at the versions tells of it.
            self._stamps[version] = store_versions.stamp(self.folder, version)
        return self._stamps.get(version)

    def load(self, version: int) -> LoadedRelease:
        """See `ModelSource`; copies the version first, where there is no whole copy.

        Raises:
            LoadLaterError: The store does not answer or this machine has no room, and there is
                no copy.
            InputError: The version is damaged in the store.
        """
        try:
            store_fetch.fetch(self.folder, version, self._cache_dir)
        except (StoreAwayError, LocalFileError) as error:
            if version not in releases.complete_versions(self._cache_dir):
                raise LoadLaterError(str(error)) from error
        loaded = self._copies.load(version)
        try:
            store_fetch.remove_copies(self._cache_dir, self._published or [version])
        except (InputError, OSError) as error:
            _LOGGER.warning("Old copies in %s stay: %s", self._cache_dir, error)
        return loaded

    @property
    def _cache_dir(self) -> Path:
        return Path(self._copies.folder)

    def _say(self, error: InputError) -> None:
        """Reports once what lasts for many looks; only its milliseconds may differ."""
        if type(error) is not self._trouble:
            _LOGGER.warning("%s What is served stays.", error)
        self._trouble = type(error)


def check(serving_url: str, cache_dir: Path) -> None:
    """Refuses a URL below which nothing can be served, before any door is opened.

    Raises:
        InputError: There is no version, or the store cannot be asked and there
            is no copy of one.
    """
    store_fetch.open_cache(serving_url, cache_dir)
    try:
        published = store_versions.list_versions(serving_url)
    except InputError:
        if not releases.complete_versions(cache_dir):
            raise
        return
    if not published:
        raise InputError(
            f"{serving_url} holds no release: there is no pointer in {store_versions.VERSIONS}/. "
            f"Run `recall push --serving={serving_url}` first, or check the URL."
        )
