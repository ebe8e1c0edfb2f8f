"""The models of a configuration: the release, others beside it, and their reload.

One thread looks for new versions of all of them; a reload takes its turn with
it, so that there is never more than one change at a time.
"""

import logging
import threading
from collections.abc import Iterable

from recall.errors import InputError
from serving.metrics import Metrics
from serving.model_config import ModelEntry, ServerConfig
from serving.model_server import ModelServer
from serving.model_sources import ModelSource, SavedModelSource
from serving.status import Code, ServingError
from serving.version_loader import VersionLoader
from serving.version_policy import LATEST, VersionPolicy

_LOGGER = logging.getLogger(__name__)

POLL_S = 1.0
"""TF Serving's default `file_system_poll_wait_seconds`."""


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
        poll_s: float = POLL_S,
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
        self._stopped = threading.Event()
        self._release = VersionLoader(
            model_server, release_source, metrics, newest_labels=newest_labels
        )
        self._release.policy = _policy_of(config)
        self._models = {name: self._new_loader(name, e) for name, e in config.models.items()}
        self._thread = threading.Thread(target=self._poll, name="versions", daemon=True)

    def start(self) -> None:
        """Loads every model, then watches the folders.

        Raises:
            InputError: A model has no version that can be served.
        """
        with self._lock:
            for loader in self._loaders():
                loader.refresh()
                if not loader.versions:
                    raise loader.newest_error() or _nothing_to_serve(loader)
            self._set_labels(self._config, strict=False)
        if self._poll_s > 0:
            self._thread.start()

    def reload(self, config: ServerConfig) -> None:
        """Puts another configuration in the place of the present one.

        Returns when its models are available. Models that it does not list go,
        except those of the release, which fall back to the latest version.

        Raises:
            ServingError: FAILED_PRECONDITION, a policy chooses no version that
                can be served, or a label names one that is not; what was served
                under the old policy is still served.
        """
        with self._lock:
            self._change_policy(self._release, _policy_of(config))
            for name in set(self._models) - set(config.models):
                self._models.pop(name).close()
                self._model_server.forget(name)
            for name, entry in config.models.items():
                self._reload_model(name, entry)
            self._set_labels(config, strict=True)
            self._config = config
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

    def _new_loader(self, name: str, entry: ModelEntry) -> VersionLoader:
        source = SavedModelSource(name, entry.base_path, self._metrics)
        return VersionLoader(self._model_server, source, self._metrics, policy=entry.policy)

    def _reload_model(self, name: str, entry: ModelEntry) -> None:
        """Adds a model, or gives it another policy or folder."""
        if name in self._models:
            loader = self._models[name]
            loader.source = SavedModelSource(name, entry.base_path, self._metrics)
            self._change_policy(loader, entry.policy)
            return
        loader = self._new_loader(name, entry)
        loader.refresh()
        if not loader.versions:
            self._model_server.forget(name)
            raise _not_served(loader)
        self._models[name] = loader

    def _change_policy(self, loader: VersionLoader, policy: VersionPolicy) -> None:
        """Serves under another policy, or again under the old one."""
        previous, loader.policy = loader.policy, policy
        loader.refresh()
        if not loader.serves_its_policy():
            error = _not_served(loader)
            loader.policy = previous
            loader.refresh()
            raise error

    def _set_labels(self, config: ServerConfig, *, strict: bool) -> None:
        """Gives every model the labels of a configuration, or changes none."""
        labels = [(self._release, config.release.labels if config.release else {})]
        labels += [(self._models[name], entry.labels) for name, entry in config.models.items()]
        if strict:
            for loader, wanted in labels:
                loader.check_labels(wanted)
        for loader, wanted in labels:
            loader.set_labels(wanted)

    def _poll(self) -> None:
        """Looks for changes until the manager stops."""
        while not self._stopped.wait(self._poll_s):
            with self._lock:
                for loader in self._loaders():
                    try:
                        loader.refresh()
                    except Exception:
                        _LOGGER.exception("Cannot look for versions of %s", loader.source.names)


def _policy_of(config: ServerConfig) -> VersionPolicy:
    return config.release.policy if config.release else LATEST


def _nothing_to_serve(loader: VersionLoader) -> InputError:
    names = ", ".join(loader.source.names)
    return InputError(
        f"There is no version of {names} to serve that the policy chooses; "
        f"found {loader.source.versions()}."
    )


def _not_served(loader: VersionLoader) -> ServingError:
    """The error of a reload that leads to no version."""
    reason = loader.newest_error() or _nothing_to_serve(loader)
    return ServingError(Code.FAILED_PRECONDITION, f"Some models did not become available: {reason}")
