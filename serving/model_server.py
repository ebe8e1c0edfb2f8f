"""The models of this process: which versions there are and what state they are in.

Knows neither gRPC nor HTTP. One version per model is loaded at start; states
and error texts are TF Serving's.
"""

import enum
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.status import Code, ServingError, invalid_argument

_LOGGER = logging.getLogger(__name__)


class Servable(Protocol):
    """One loaded version of a model."""

    name: str
    version: int
    signature_defs: Mapping[str, meta_graph_pb2.SignatureDef]

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a signature; errors are `ServingError` or `InputError`."""

    def warm_up(self) -> None:
        """Runs what a first request would otherwise wait for."""


class State(enum.IntEnum):
    """States of a version, numbered as in `ModelVersionStatus`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class VersionStatus(NamedTuple):
    """State of one version, and the error that ended it."""

    version: int
    state: State
    code: Code
    message: str


class _Version:
    """One version; changed only under the server's lock."""

    def __init__(self):
        self.state = State.START
        self.error = (Code.OK, "")
        self.servable: Servable | None = None


class ModelServer:
    """Loads servables, finds them for requests, reports their states.

    Safe to use from several threads.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._versions: dict[str, dict[int, _Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._draining = False

    def announce(self, name: str, version: int) -> None:
        """Makes a version known (START) before it is loaded.

        The process is not ready until every announced version is available.
        """
        with self._lock:
            self._versions.setdefault(name, {})[version] = _Version()

    def load(self, name: str, version: int, loader: Callable[[], Servable]) -> Servable:
        """Loads an announced version and warms it up; then it is AVAILABLE.

        Args:
            name: Name of the model.
            version: Version of the model.
            loader: Makes the servable.

        Raises:
            Exception: What the loader or the warm-up raised; the version has
                then ended with that error.
        """
        self._set_state(name, version, State.LOADING)
        try:
            servable = loader()
            servable.warm_up()
        except Exception as error:
            code = error.code if isinstance(error, ServingError) else Code.UNKNOWN
            with self._lock:
                self._versions[name][version].error = (code, str(error))
            self._set_state(name, version, State.END)
            raise
        with self._lock:
            self._versions[name][version].servable = servable
        self._set_state(name, version, State.AVAILABLE)
        return servable

    def unload(self) -> None:
        """Ends every version; requests that run keep their servable."""
        for name, versions in list(self._versions.items()):
            for version, entry in list(versions.items()):
                if entry.state == State.AVAILABLE:
                    self._set_state(name, version, State.UNLOADING)
                    with self._lock:
                        entry.servable = None
                    self._set_state(name, version, State.END)

    def assign_label(self, name: str, label: str, version: int) -> None:
        """Lets requests name a version by a label, for example `stable`.

        Raises:
            ServingError: FAILED_PRECONDITION, the version is not available.
        """
        with self._lock:
            entry = self._versions.get(name, {}).get(version)
            if entry is None or entry.state != State.AVAILABLE:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {name}, "
                    "which is not currently available for inference",
                )
            self._labels.setdefault(name, {})[label] = version

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """The servable of a request; the highest available version by default.

        Raises:
            ServingError: INVALID_ARGUMENT without a name or for an unknown
                label, NOT_FOUND for an unknown model or version.
        """
        with self._lock:
            version = self._number_of(name, version, label)
            available = {
                number: entry.servable
                for number, entry in self._versions.get(name, {}).items()
                if entry.state == State.AVAILABLE and entry.servable is not None
            }
        chosen = max(available, default=None) if version is None else version
        if chosen not in available:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        return available[chosen]

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
                raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
            chosen = sorted(versions, reverse=True) if version is None else [version]
            return [VersionStatus(v, versions[v].state, *versions[v].error) for v in chosen]

    def states(self) -> dict[str, dict[int, State]]:
        """State of every version of every model."""
        with self._lock:
            return {
                name: {version: entry.state for version, entry in versions.items()}
                for name, versions in self._versions.items()
            }

    def is_ready(self) -> bool:
        """Whether every announced version is available and no drain began."""
        states = [state for versions in self.states().values() for state in versions.values()]
        return bool(states) and not self._draining and set(states) == {State.AVAILABLE}

    def drain(self) -> None:
        """Reports not ready from now on; requests are still answered."""
        self._draining = True

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

    def _set_state(self, name: str, version: int, state: State) -> None:
        with self._lock:
            self._versions[name][version].state = state
        _LOGGER.info("Model %s version %d: %s", name, version, state.name)
