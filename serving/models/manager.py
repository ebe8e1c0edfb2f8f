"""The models of a configuration: the release, others beside it, and their reload.

One thread looks for new versions of all of them; a reload takes its turn with
it, so that there is never more than one change at a time.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from recall.errors import InputError
from serving.models.config import ModelEntry, ServerConfig
from serving.models.loader import VersionLoader
from serving.models.model_server import ModelServer, unavailable_label
from serving.models.servable import ModelSource
from serving.models.sources import SavedModelSource
from serving.models.version_policy import LATEST
from serving.monitoring.metrics import Metrics
from serving.protocol.status import Code, ServingError

_LOGGER = logging.getLogger(__name__)

RELEASE_POLL_S = 1.0
"""TF Serving's default `file_system_poll_wait_seconds`."""

_RELEASE_DEFAULTS = ModelEntry(Path(), LATEST, {})
"""Of a release that is not listed. Its folder is that of `--release` in any case."""


class _Change(NamedTuple):
    """What a reload does to the release or a model.

    Attributes:
        loader: Of its versions.
        entry: Its policy and labels from now on.
        versions: What the policy chose; all are loaded.
    """

    loader: VersionLoader
    entry: ModelEntry
    versions: set[int]


class ModelManager:
    """Serves what a configuration says until it is stopped."""

    def __init__(
        self,
        model_server: ModelServer,
        release_source: ModelSource,
        metrics: Metrics,
        config: ServerConfig,
        *,
        newest_labels: Iterable[str] = (),
        poll_s: float = RELEASE_POLL_S,
    ):
        """Prepares the models; `start` loads them.

        Args:
            model_server: Where they are served.
            release_source: Where versions of the release are.
            metrics: Told of loads.
            config: Policies, labels and the models beside the release.
            newest_labels: Labels that always name the newest release served.
            poll_s: Seconds between looks for new versions; 0 looks once.
        """
        self._model_server = model_server
        self._metrics = metrics
        self._config = config
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._troubles: dict[str, str] = {}
        self._stopped = threading.Event()
        entry = _release_entry(config)
        self._release = VersionLoader(
            model_server,
            release_source,
            metrics,
            policy=entry.policy,
            labels=entry.labels,
            newest_labels=newest_labels,
        )
        self._models = {
            name: self._new_loader(name, entry, model_server)
            for name, entry in config.models.items()
        }
        self._thread = threading.Thread(target=self._poll, name="versions", daemon=True)

    def start(self) -> None:
        """Loads every model, then watches the folders.

        A model beside the release that has no version to serve is reported, and
        looked for again with every look at the folders; the others serve.

        Raises:
            InputError: The release has no version that can be served.
        """
        with self._lock:
            self._release.refresh()
            if not self._release.versions:
                raise self._release.newest_error() or _nothing_to_serve(self._release)
            self._refresh_all()
        if self._poll_s > 0:
            self._thread.start()

    def reload(self, config: ServerConfig) -> None:
        """Puts another configuration in the place of the present one.

        Returns when its models are available. Models that it does not list go,
        except those of the release, which fall back to the latest version.
        Everything is loaded first and goes last: nothing that is served before
        and after is missing in between, under its number or a label.

        Raises:
            ServingError: FAILED_PRECONDITION, a policy chooses no version that
                can be served, or a label names one that is not; what was served
                under the old policies and labels is still served. A model that
                was missing before, in the same folder, may still be missing.
        """
        with self._lock:
            new = {
                name: self._new_loader(name, entry, self._model_server.beside())
                for name, entry in config.models.items()
                if self._is_new(name, entry)
            }
            changes = self._prepare(config, new)
            # Nothing below can be refused any more.
            for change in changes:
                change.loader.serve(change.entry.policy, change.entry.labels, change.versions)
            gone = self._replace_models(config, new)
            for change in changes:
                change.loader.unload_all_but(change.versions)
            for name, loader in gone.items():
                loader.close()
                if name not in self._models:
                    self._model_server.forget(name)
                    self._troubles.pop(name, None)
        _LOGGER.info("The configuration of the models was replaced.")

    def stop(self, *, timeout_s: float) -> None:
        """Ends the watch and unloads every model."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            for loader in self._loaders():
                loader.close(timeout_s=timeout_s)

    def _loaders(self) -> list[VersionLoader]:
        return [self._release, *self._models.values()]

    def _new_loader(self, name: str, entry: ModelEntry, model_server: ModelServer) -> VersionLoader:
        source = SavedModelSource(name, entry.base_path, self._metrics)
        return VersionLoader(
            model_server, source, self._metrics, policy=entry.policy, labels=entry.labels
        )

    def _is_new(self, name: str, entry: ModelEntry) -> bool:
        """Whether a model is not served yet, or from another folder."""
        present = self._config.models.get(name)
        return present is None or present.base_path != entry.base_path

    def _prepare(self, config: ServerConfig, new: Mapping[str, VersionLoader]) -> list[_Change]:
        """Loads what a configuration asks for, beside what is served; or none of it.

        Args:
            config: What will be served.
            new: Loaders of its new models, which serve in no request's reach.

        Raises:
            ServingError: See `reload`.
        """
        loaders = {**self._models, **new}
        entries = [(self._release, _release_entry(config))]
        entries += [(loaders[name], entry) for name, entry in config.models.items()]
        missing = [loader for loader in self._models.values() if not loader.versions]
        try:
            return [
                _Change(loader, entry, _load(loader, entry, may_miss=loader in missing))
                for loader, entry in entries
            ]
        except Exception:
            for loader in new.values():
                loader.close()
            self._refresh_all()  # Unloads what the present policies do not ask for.
            raise

    def _replace_models(
        self, config: ServerConfig, new: Mapping[str, VersionLoader]
    ) -> dict[str, VersionLoader]:
        """Puts new models in their places; returns the loaders of those that have to go."""
        for name, loader in new.items():
            beside, loader.model_server = loader.model_server, self._model_server
            self._model_server.exchange(name, beside)
            if name in self._models:
                self._models[name].model_server = beside
        previous, loaders = self._models, {**self._models, **new}
        self._models = {name: loaders[name] for name in config.models}
        self._config = config
        return {n: loader for n, loader in previous.items() if loader is not self._models.get(n)}

    def _refresh_all(self) -> None:
        """Looks for changes; a folder that cannot be read does not hold up the others."""
        for loader in self._loaders():
            try:
                loader.refresh()
                missing = not loader.versions
                error = (loader.newest_error() or _nothing_to_serve(loader)) if missing else None
            except InputError as unreadable:
                error = unreadable
            except Exception:
                _LOGGER.exception("Cannot look for versions of %s", loader.source.names)
                continue
            if error is not None and not loader.versions:
                for name in loader.source.names:
                    self._model_server.report_missing(name, str(error))
            self._log(loader, None if error is None else str(error))

    def _log(self, loader: VersionLoader, trouble: str | None) -> None:
        """Says what is wrong with a model once, not with every look."""
        name = loader.source.names[0]
        if trouble is None:
            self._troubles.pop(name, None)
        elif self._troubles.get(name) != trouble:
            self._troubles[name] = trouble
            _LOGGER.error("Model %s: %s It is looked for again.", name, trouble)

    def _poll(self) -> None:
        """Looks for changes until the manager stops."""
        while not self._stopped.wait(self._poll_s):
            with self._lock:
                self._refresh_all()


def _release_entry(config: ServerConfig) -> ModelEntry:
    return config.release or _RELEASE_DEFAULTS


def _load(loader: VersionLoader, entry: ModelEntry, *, may_miss: bool) -> set[int]:
    """Loads what an entry asks for; returns the versions, which all its labels must be of."""
    versions = loader.load_beside(entry.policy)
    if not versions:
        if may_miss:
            return versions
        raise _not_served(loader)
    for version in entry.labels.values():
        if version not in versions:
            raise unavailable_label(loader.source.names[0], version)
    return versions


def _nothing_to_serve(loader: VersionLoader) -> InputError:
    names = ", ".join(loader.source.names)
    return InputError(
        f"There is no version of {names} to serve that the policy chooses; "
        f"found {loader.source.versions()} in {loader.source.folder}."
    )


def _not_served(loader: VersionLoader) -> ServingError:
    """The error of a reload that leads to no version."""
    reason = loader.newest_error() or _nothing_to_serve(loader)
    return ServingError(Code.FAILED_PRECONDITION, f"Some models did not become available: {reason}")
