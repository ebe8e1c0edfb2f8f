"""Keeps the versions that are served in step with the folders and the policies.

A new version is loaded and warm before an old one goes; one that cannot be
loaded ends with its error, and is tried again when its files have changed, or
after a while where it needs another process.
"""

import logging
import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from recall.errors import InputError
from serving.models.model_server import ModelServer
from serving.models.servable import LoadedModels, LoadLaterError, ModelSource
from serving.models.version_policy import LATEST, VersionPolicy
from serving.monitoring.metrics import Metrics
from serving.protocol.status import Code, ServingError

_LOGGER = logging.getLogger(__name__)

UNLOAD_WAIT_S = 60.0
"""Longest time a version is kept for requests that still use it. They end in any
case; a longer wait would hold up newer versions."""

_FIRST_RETRY_S, _LAST_RETRY_S = 1.0, 60.0
"""Between tries of a version that waits for another process: doubled every time."""

_TRANSIENT_CODES = {Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED}
"""Codes of another process that is absent or busy, and may answer the next time."""


class _Failure(NamedTuple):
    """Why a version is left alone.

    Attributes:
        stamp: Of its files when they could not be loaded.
        error: What was wrong.
        retry_at_s: On the monotonic clock, None for when the files change.
        delay_s: What was waited until then.
    """

    stamp: Hashable
    error: InputError
    retry_at_s: float | None
    delay_s: float


class VersionLoader:
    """Loads and unloads the versions of one source; used by one thread at a time.

    Attributes:
        model_server: Where its models are served; another one after an
            `exchange` of these models.
        source: Where its versions are.
    """

    def __init__(
        self,
        model_server: ModelServer,
        source: ModelSource,
        metrics: Metrics,
        *,
        policy: VersionPolicy = LATEST,
        labels: Mapping[str, int] | None = None,
        newest_labels: Iterable[str] = (),
    ):
        """Prepares a source; nothing is loaded yet.

        Args:
            model_server: Where its models are served.
            source: Where its versions are.
            metrics: Told of loads.
            policy: Which versions are served.
            labels: Version by label; each holds while its version is served.
            newest_labels: Labels that always name the newest version served.
        """
        self.model_server = model_server
        self.source = source
        self._policy = policy
        self._metrics = metrics
        self._newest_labels = tuple(newest_labels)
        self._labels = dict(labels or {})
        self._loaded: dict[int, LoadedModels] = {}
        self._failures: dict[int, _Failure] = {}

    @property
    def versions(self) -> list[int]:
        """Versions served, ascending."""
        return sorted(self._loaded)

    def newest_error(self) -> InputError | None:
        """What is wrong with the newest version that could not be loaded."""
        newest = max(self._failures, default=None)
        return None if newest is None else self._failures[newest].error

    def refresh(self) -> None:
        """Loads what the policy asks for, then unloads what it does not.

        With no version left to serve, those that are served stay: a folder
        that is empty by mistake must not end the service.
        """
        if chosen := self.load_beside(self._policy):
            self._apply_labels(chosen)
            self.unload_all_but(chosen)

    def load_beside(self, policy: VersionPolicy) -> set[int]:
        """Loads what a policy asks for, beside all that is served already.

        Returns:
            The versions it chooses among those that can be loaded.
        """
        # Each version once: one whose files are just being copied fails and changes, fails
        # and changes, and would hold up all others.
        tried: set[int] = set()
        # What is wanted is not asked again after all of it is loaded: a folder that is
        # removed in between would change the answer and end a version without a successor.
        while missing := (wanted := self._wanted(policy, tried)) - set(self._loaded):
            tried.add(newest := max(missing))
            self._load(newest)
        return wanted

    def serve(
        self, policy: VersionPolicy, labels: Mapping[str, int], chosen: Collection[int]
    ) -> None:
        """Takes another policy and its labels; nothing is unloaded yet.

        Args:
            policy: Which versions are served from now on.
            labels: Version by label, beside those of the newest version.
            chosen: What `load_beside` returned for the policy.
        """
        self._policy = policy
        self._labels = dict(labels)
        self._apply_labels(chosen)

    def unload_all_but(self, chosen: Collection[int]) -> None:
        """Unloads the other versions, which no label may name any more."""
        for version in self.versions:
            if version not in chosen:
                self._unload(version)

    def close(self, *, timeout_s: float = UNLOAD_WAIT_S) -> None:
        """Unloads everything."""
        for version in self.versions:
            self._unload(version, timeout_s=timeout_s)

    def _wanted(self, policy: VersionPolicy, tried: set[int]) -> set[int]:
        """Versions a policy chooses among those that can be loaded, as far as is known."""
        present = set(self.source.versions())
        self._failures = {v: f for v, f in self._failures.items() if v in present}
        left_alone = {v for v in self._failures if v in tried or self._is_left_alone(v)}
        return policy.choose(present - left_alone)

    def _is_left_alone(self, version: int) -> bool:
        failure = self._failures[version]
        waits = failure.retry_at_s is None or time.monotonic() < failure.retry_at_s
        return waits and failure.stamp == self.source.stamp(version)

    def _load(self, version: int) -> None:
        """Loads one version, or remembers why it cannot be loaded."""
        stamp = self.source.stamp(version)
        for name in self.source.names:
            self.model_server.announce(name, version)
        loaded: list[LoadedModels] = []

        def load() -> Mapping:
            loaded.append(self.source.load(version))
            return loaded[0].servables

        try:
            self.model_server.load_together(self.source.names, version, load)
        except Exception as error:
            self._give_up(version, stamp, error, is_transient=_is_transient(error, loaded))
            for models in loaded:
                models.close()
            return
        self._failures.pop(version, None)
        self._loaded[version] = loaded[0]
        self._count("loaded")

    def _give_up(
        self, version: int, stamp: Hashable, error: Exception, *, is_transient: bool
    ) -> None:
        """Remembers why a version is not served, without what it had loaded."""
        if isinstance(error, (InputError, ServingError)):
            _LOGGER.error("Version %d is not served: %s", version, error)
        else:
            _LOGGER.exception("Version %d is not served", version)
        previous = self._failures.get(version)
        delay_s = min(previous.delay_s * 2 if previous else _FIRST_RETRY_S, _LAST_RETRY_S)
        retry_at_s = time.monotonic() + delay_s if is_transient else None
        # A copy: the error itself holds the frames of the load, and they the model.
        self._failures[version] = _Failure(stamp, InputError(str(error)), retry_at_s, delay_s)
        self._count("failed")

    def _unload(self, version: int, *, timeout_s: float = UNLOAD_WAIT_S) -> None:
        self.model_server.unload(self.source.names, version, timeout_s=timeout_s)
        self._loaded.pop(version).close()
        self._count("unloaded")

    def _count(self, outcome: str) -> None:
        for name in self.source.names:
            self._metrics.count_load(name, outcome)

    def _apply_labels(self, versions: Collection[int]) -> None:
        """Gives every model its labels of these versions, and no others."""
        labels = {label: v for label, v in self._labels.items() if v in versions}
        labels.update(dict.fromkeys(self._newest_labels, max(versions, default=0)))
        for name in self.source.names:
            self.model_server.set_labels(name, labels)


def _is_transient(error: Exception, loaded: Sequence[LoadedModels]) -> bool:
    """Whether a load that failed may succeed although none of its files changes."""
    if isinstance(error, LoadLaterError):
        return True
    if not any(models.asks_others for models in loaded):
        return False
    return isinstance(error, ServingError) and error.code in _TRANSIENT_CODES
