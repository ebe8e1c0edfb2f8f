"""What a model server serves: loaded versions of models, and the states they go through."""

import enum
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from recall.errors import InputError
from serving.protocol.status import Code


class Servable(Protocol):
    """One loaded version of a model; who names it as a base has its defaults.

    Attributes:
        admin_signatures: Names of signatures that only bearers of the admin token may run.
    """

    name: str
    version: int
    signature_defs: Mapping[str, meta_graph_pb2.SignatureDef]
    admin_signatures: Collection[str] = ()

    def check_shapes(self, signature_name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuses inputs for their sizes before they are decoded; all sizes do by default.

        Raises:
            InputError: The signature takes no such sizes.
        """

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
        names: Of the models, which all have the same versions.
        folder: Where these are: a path, or a URL; for people.
    """

    names: tuple[str, ...]
    folder: str | Path

    def versions(self) -> list[int]:
        """Versions that are completely there."""

    def stamp(self, version: int) -> Hashable:
        """Changes when a file of a version is replaced, changed, added or removed."""

    def load(self, version: int) -> LoadedModels:
        """Reads a version into memory.

        Raises:
            InputError: It cannot be served.
        """


class LoadLaterError(InputError):
    """A version that may load later although none of its files changes."""


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
