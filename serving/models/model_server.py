"""The models of this process: which versions there are and what state they are in.

Knows neither gRPC nor HTTP, nor where versions come from; `loader`
decides which are loaded. States and error texts are TF Serving's.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from serving.models.servable import Servable, State, VersionStatus
from serving.protocol.status import Code, ServingError, invalid_argument

_LOGGER = logging.getLogger(__name__)

MAX_ENDED_VERSIONS = 20
"""Ended versions a model's status still lists, so that it does not grow with every swap."""


class _Version:
    """One version of one model; changed only under the server's lock."""

    def __init__(self):
        self.state = State.START
        self.error = (Code.OK, "")
        self.servable: Servable | None = None
        self.num_users = 0


class ModelServer:
    """Finds servables for requests, reports their states. Safe to use from several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._unused = threading.Condition(self._lock)
        self._versions: dict[str, dict[int, _Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._required: set[str] = set()
        self._missing: dict[str, str] = {}
        self._was_ready = False
        self._is_starting = False
        self._draining = False

    def beside(self) -> "ModelServer":
        """An empty server out of reach of requests, to load models in for `exchange`."""
        server = ModelServer()
        # Whoever uses a version when it moves tells the condition it knows that it is done.
        server._lock, server._unused = self._lock, self._unused
        return server

    def exchange(self, name: str, other: "ModelServer") -> None:
        """Gives and takes a model, all its versions and labels, in one step.

        Requests see one or the other; a version that is in use is not waited for.

        Args:
            name: Of the model; a server that does not know it gives nothing.
            other: From `beside`.
        """
        with self._lock:
            self._missing.pop(name, None)
            for mine, theirs in ((self._versions, other._versions), (self._labels, other._labels)):
                mine[name], theirs[name] = theirs.get(name, {}), mine.get(name, {})

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """In the block models are on their way that nobody has announced yet."""
        self._is_starting = True
        try:
            yield
        finally:
            self._is_starting = False

    def announce(self, name: str, version: int) -> None:
        """Makes a version known (START) before it is loaded.

        The process is not ready until all models announced before it was ready
        for the first time are available; later ones do not make it unready.
        """
        with self._lock:
            if not self._was_ready:
                self._required.add(name)
            self._missing.pop(name, None)
            versions = self._versions.setdefault(name, {})
            versions[version] = _Version()
            ended = sorted(v for v, entry in versions.items() if entry.state == State.END)
            for old in ended[:-MAX_ENDED_VERSIONS]:
                del versions[old]

    def load(self, name: str, version: int, loader: Callable[[], Servable]) -> Servable:
        """Loads one announced version; see `load_together`."""
        return self.load_together([name], version, lambda: {name: loader()})[name]

    def load_together(
        self, names: Sequence[str], version: int, loader: Callable[[], Mapping[str, Servable]]
    ) -> Mapping[str, Servable]:
        """Loads models of one version, warms them up, then makes all AVAILABLE at once.

        Args:
            names: Models that are announced with this version.
            version: Their version.
            loader: Makes the servables, by name.

        Raises:
            Exception: What the loader or a warm-up raised; the version of all
                models has then ended with that error.
        """
        self._set_state(names, version, State.LOADING)
        try:
            servables = loader()
            for servable in servables.values():
                servable.warm_up()
        except Exception as error:
            code = error.code if isinstance(error, ServingError) else Code.UNKNOWN
            self._set_state(names, version, State.END, error=(code, str(error)))
            raise
        self._set_state(names, version, State.AVAILABLE, servables=servables)
        return servables

    def unload(self, names: Sequence[str], version: int, *, timeout_s: float | None = None) -> None:
        """Takes a version of models out of service and waits until nobody uses it.

        Args:
            names: Models that go together; those not available stay as they are.
            version: Their version.
            timeout_s: Longest wait; requests that still run keep their servable.
        """
        with self._lock:
            entries = [self._versions.get(name, {}).get(version) for name in names]
        available = [
            name
            for name, entry in zip(names, entries, strict=True)
            if entry is not None and entry.state == State.AVAILABLE
        ]
        self._set_state(available, version, State.UNLOADING)
        with self._unused:
            leaving = [self._versions[name][version] for name in available]
            self._unused.wait_for(lambda: not any(e.num_users for e in leaving), timeout_s)
            for entry in leaving:
                entry.servable = None
        self._set_state(available, version, State.END)

    def set_labels(self, name: str, labels: Mapping[str, int]) -> None:
        """Replaces the labels by which requests may name versions of a model.

        Raises:
            ServingError: FAILED_PRECONDITION, a version is not available; the
                labels stay as they were.
        """
        with self._lock:
            versions = self._versions.get(name, {})
            for version in labels.values():
                if version not in versions or versions[version].state != State.AVAILABLE:
                    raise unavailable_label(name, version)
            self._labels[name] = dict(labels)

    def report_missing(self, name: str, reason: str) -> None:
        """Says why a model that should be served is not; it does not make the server unready.

        Its status says so until a version is announced.
        """
        with self._lock:
            self._missing[name] = reason
            self._required.discard(name)

    def knows(self, name: str) -> bool:
        """Whether there is a model of that name, in whatever state."""
        return name in self._versions or name in self._missing

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """The servable of a request; the highest available version by default.

        Raises:
            ServingError: INVALID_ARGUMENT without a name or for an unknown
                label, NOT_FOUND for an unknown model or version, UNAVAILABLE
                while the first version of a model is being loaded.
        """
        with self._lock:
            return self._find(name, version, label).servable

    @contextlib.contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[Servable]:
        """As `find`; the version is not unloaded before the block ends."""
        with self._lock:
            entry = self._find(name, version, label)
            entry.num_users += 1
            servable = entry.servable
        try:
            yield servable
        finally:
            del servable  # The generator may outlive its block.
            with self._unused:
                entry.num_users -= 1
                if not entry.num_users and entry.state != State.AVAILABLE:
                    self._unused.notify_all()

    def status(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> list[VersionStatus]:
        """States of one version or of all versions of a model, newest first.

        Raises:
            ServingError: INVALID_ARGUMENT without a name or for an unknown
                label, NOT_FOUND for an unknown model or version.
        """
        with self._lock:
            version = self._number_of(name, version, label)
            versions = self._versions.get(name, {})
            if version is not None and version not in versions:
                raise ServingError(
                    Code.NOT_FOUND, f"Could not find version {version} of model {name}"
                )
            if not versions:
                why = f": {self._missing[name]}" if name in self._missing else ""
                raise ServingError(
                    Code.NOT_FOUND, f"Could not find any versions of model {name}{why}"
                )
            chosen = sorted(versions, reverse=True) if version is None else [version]
            return [VersionStatus(v, versions[v].state, *versions[v].error) for v in chosen]

    def states(self) -> dict[str, dict[int, State]]:
        """State of every version of every model; of none where a model is missing."""
        with self._lock:
            known = {
                name: {version: entry.state for version, entry in versions.items()}
                for name, versions in self._versions.items()
            }
            return {**{name: {} for name in self._missing}, **known}

    def forget(self, name: str) -> None:
        """Drops a model whose versions have all ended, with its labels."""
        with self._lock:
            self._labels.pop(name, None)
            self._versions.pop(name, None)
            self._missing.pop(name, None)
            self._required.discard(name)

    def is_ready(self) -> bool:
        """Whether every required model has an available version and no drain began."""
        with self._lock:
            ready = bool(self._required) and all(
                any(entry.state == State.AVAILABLE for entry in self._versions[name].values())
                for name in self._required
            )
            self._was_ready = self._was_ready or ready
            return ready and not self._draining

    def drain(self) -> None:
        """Reports not ready from now on; requests are still answered."""
        self._draining = True

    def _find(self, name: str, version: int | None, label: str | None) -> _Version:
        """The available version a request asks for; the lock is held."""
        version = self._number_of(name, version, label)
        available = {
            number: entry
            for number, entry in self._versions.get(name, {}).items()
            if entry.state == State.AVAILABLE
        }
        chosen = max(available, default=None) if version is None else version
        if chosen is None and self._is_coming(name):
            # Before its models are loaded TF Serving cannot be reached, which is the same code.
            raise ServingError(Code.UNAVAILABLE, f"{name} is being loaded; try again later.")
        if chosen not in available:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return available[chosen]

    def _is_coming(self, name: str) -> bool:
        """Whether a version is being loaded, or models are yet to come; the lock is held."""
        if self._is_starting:
            return True
        versions = self._versions.get(name, {}).values()
        return any(entry.state in (State.START, State.LOADING) for entry in versions)

    def _number_of(self, name: str, version: int | None, label: str | None) -> int | None:
        """The version number a request asks for, None for the latest."""
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        if label is None:
            return version
        labels = self._labels.get(name, {})
        if label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return labels[label]

    def _set_state(
        self,
        names: Sequence[str],
        version: int,
        state: State,
        *,
        error: tuple[Code, str] = (Code.OK, ""),
        servables: Mapping[str, Servable] | None = None,
    ) -> None:
        """Changes the state of a version of several models in one step."""
        with self._lock:
            for name in names:
                entry = self._versions[name][version]
                entry.state, entry.error = state, error
                if servables is not None:
                    entry.servable = servables[name]
        for name in names:
            _LOGGER.info("Model %s version %d: %s", name, version, state.name)


def unavailable_label(name: str, version: int) -> ServingError:
    """The error of a label for a version that does not serve."""
    return ServingError(
        Code.FAILED_PRECONDITION,
        f"Request to assign label to version {version} of model {name}, "
        "which is not currently available for inference",
    )
