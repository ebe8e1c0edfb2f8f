"""Where user vectors come from: a SavedModel in this process, or TF Serving.

Both sources keep one contract (`UserVectorSource`). TensorFlow and gRPC are
imported when a source is made, so that the recall service needs neither.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from serving.client_tls import NO_TLS, ClientTls
from serving.release import USER_TOWER
from serving.rotating_channel import RotatingTls
from serving.status import Code, ServingError

HISTORY_INPUT = "history_item_ids"
OUTPUT_NAMES = ("user_vectors", "interest_weights", "num_known", "num_unknown", "fingerprint")


class UserVectors(NamedTuple):
    """What the user tower says about a batch of histories.

    Attributes:
        user_vectors: `[batch, num_interests, dim]` float32.
        interest_weights: `[batch, num_interests]` float32, each row sums to 1.
        num_known: `[batch]` int, ids of the history that are items.
        num_unknown: `[batch]` int, ids of the history that are not.
        fingerprint: The embedding space, as exported.
        model_version: Version of the user tower that answered.
    """

    user_vectors: np.ndarray
    interest_weights: np.ndarray
    num_known: np.ndarray
    num_unknown: np.ndarray
    fingerprint: str
    model_version: int


class UserVectorSource(Protocol):
    """Turns histories into user vectors; safe to call from several threads."""

    def compute(
        self, histories: Sequence[Sequence[str]], *, timeout_s: float | None = None
    ) -> UserVectors:
        """User vectors of at least one history of raw item ids, oldest first."""


class PredictUserVectors:
    """The user tower behind a function in this process."""

    def __init__(
        self, predict: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]], version: int
    ):
        """Wraps a user tower that is already loaded.

        Args:
            predict: Inputs of `serving_default` by name -> outputs by name.
            version: Version reported in answers.
        """
        self._predict = predict
        self._version = version

    def compute(
        self, histories: Sequence[Sequence[str]], *, timeout_s: float | None = None
    ) -> UserVectors:
        """See `UserVectorSource`; a running step is not interrupted."""
        from serving.tensors import pad_strings

        outputs = self._predict({HISTORY_INPUT: pad_strings(histories)})
        return parse_outputs(outputs, len(histories), self._version)


class SavedModelUserVectors(PredictUserVectors):
    """The user tower of a folder, loaded into this process."""

    def __init__(self, user_tower_dir: str | os.PathLike, *, version: int = 0):
        """Loads the exported user tower.

        Args:
            user_tower_dir: Folder of the SavedModel.
            version: Version reported in answers.

        Raises:
            InputError: The folder holds no user tower that can be loaded.
        """
        from serving.saved_model import SavedModelServable

        servable = SavedModelServable(USER_TOWER, version, user_tower_dir)
        super().__init__(servable.predict_default, version)


class TfServingUserVectors:
    """The user tower behind the address of a TF Serving; keeps one connection."""

    def __init__(
        self,
        address: str,
        model_name: str = USER_TOWER,
        *,
        version: int | None = None,
        tls: ClientTls | RotatingTls = NO_TLS,
    ):
        """Prepares the connection; nothing is sent yet.

        Args:
            address: `host:port` of its gRPC door.
            model_name: Name it serves the user tower under.
            version: The only version that may answer; None lets the newest.
            tls: Certificates.

        Raises:
            InputError: A certificate cannot be used.
        """
        from serving.remote_model import RemoteModel

        self._model = RemoteModel(address, model_name, version=version, tls=tls)

    def compute(
        self, histories: Sequence[Sequence[str]], *, timeout_s: float | None = None
    ) -> UserVectors:
        """See `UserVectorSource`; tries again and raises as `RemoteModel.predict`."""
        from serving.tensors import pad_strings

        inputs = {HISTORY_INPUT: pad_strings(histories)}
        outputs, version = self._model.predict(inputs, timeout_s=timeout_s)
        return parse_outputs(outputs, len(histories), version)

    def close(self) -> None:
        """Closes the connection."""
        self._model.close()


def parse_outputs(
    outputs: Mapping[str, np.ndarray], batch_size: int, model_version: int
) -> UserVectors:
    """Checks the outputs of a user tower and puts them into a `UserVectors`.

    Raises:
        ServingError: An output is missing or has a wrong shape.
    """
    missing = [name for name in OUTPUT_NAMES if name not in outputs]
    if missing:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"The user tower has no output `{missing[0]}`. Export it again with `recall export`.",
        )
    vectors, weights, num_known, num_unknown, fingerprints = (outputs[n] for n in OUTPUT_NAMES)
    batch_and_rank = [(batch_size, rank) for rank in (3, 2, 1, 1, 1)]
    shapes = [(len(outputs[n]), outputs[n].ndim) for n in OUTPUT_NAMES if outputs[n].ndim]
    if shapes != batch_and_rank:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"The user tower answered {batch_size} histories with outputs of the shapes "
            f"{[list(outputs[n].shape) for n in OUTPUT_NAMES]}.",
        )
    fingerprint = fingerprints[0]
    return UserVectors(
        vectors,
        weights,
        num_known,
        num_unknown,
        fingerprint.decode() if isinstance(fingerprint, bytes) else str(fingerprint),
        int(model_version),
    )
