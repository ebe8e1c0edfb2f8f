"""The towers of a release, in this process or behind the address of a TF Serving.

The user tower has vectors for histories, the item tower for known items and for those
nobody clicked yet.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from serving.models.saved_model import SavedModelServable, read_signature_defs
from serving.network.client_tls import NO_TLS, ClientTls
from serving.network.rotating_channel import RotatingTls
from serving.protocol import tensors
from serving.protocol.signatures import CONTEXT_SIGNATURE
from serving.protocol.status import Code, ServingError
from serving.release.release import USER_TOWER
from serving.retrieval.user_vectors import UserVectors, parse_user_vectors
from serving.servables.feature_values import ValueCounter
from serving.servables.remote_model import RemoteModel
from serving.servables.user_context import HISTORY_INPUT, Context, UserContext
from serving.sharding.vectors import TowerVectors


class ServedItemTower(Protocol):
    """An item tower, in this process or elsewhere."""

    signature_defs: Mapping[str, Any]

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        timeout_s: float | None = None,
    ) -> Mapping[str, np.ndarray]:
        """Runs a signature in the time left; all outputs by name."""


class RemoteItemTower:
    """The item tower behind the address of a TF Serving."""

    def __init__(self, model: RemoteModel, item_tower_dir: Path):
        """Sends nothing yet.

        Args:
            model: The connection, which whoever opened it closes.
            item_tower_dir: The same tower in the release; read for its
                signatures alone.
        """
        self.signature_defs = read_signature_defs(item_tower_dir)
        self._model = model

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """See `ServedItemTower`; tries again and raises as `RemoteModel.predict`."""
        outputs, _ = self._model.predict(inputs, signature_name=signature_name, timeout_s=timeout_s)
        return outputs


def item_vectors(item_tower: ServedItemTower, fingerprint: str) -> TowerVectors:
    """A function that has the vectors of items from an item tower.

    Args:
        item_tower: Where vectors come from.
        fingerprint: The embedding space they must lie in; else the function
            raises a `ServingError`, UNAVAILABLE.
    """

    def embed(
        item_ids: Sequence[str], timeout_s: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        inputs = {"item_ids": tensors.pad_strings([item_ids])[0]}
        outputs = item_tower.predict("", inputs, timeout_s=timeout_s)
        answered = outputs["fingerprint"][0].decode()
        if answered != fingerprint:
            raise ServingError(
                Code.UNAVAILABLE,
                f"The item tower answers from embedding space {answered}, the release holds "
                f"{fingerprint}. Serve both from one release.",
            )
        return outputs["item_vectors"], outputs["is_known"]

    return embed


class PredictUserVectors:
    """The user tower behind a function in this process."""

    def __init__(
        self,
        predict: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]],
        version: int,
        servable: SavedModelServable | None = None,
        values: ValueCounter | None = None,
    ):
        """Wraps a user tower that is already loaded.

        Args:
            predict: Inputs of `serving_default` by name -> outputs by name.
            version: Version reported in answers.
            servable: The same tower with all its signatures; None: histories are all that
                it takes.
            values: Told of the values of features that requests give.
        """
        self._predict = predict
        self._values = values
        self._version = version
        self._servable = servable
        signature_defs = {} if servable is None else servable.signature_defs
        self._context = UserContext(signature_defs.get(CONTEXT_SIGNATURE))

    def check_context(self, history: Sequence[str], context: Context) -> None:
        """Refuses what a request says beside its history and makes no sense.

        Raises:
            InputError: A name is not known, or a value is of another kind.
        """
        self._context.build([history], [context])

    def compute(
        self,
        histories: Sequence[Sequence[str]],
        *,
        contexts: Sequence[Context | None] = (),
        timeout_s: float | None = None,
    ) -> UserVectors:
        """See `UserVectorSource`; a running step is not interrupted."""
        inputs = {HISTORY_INPUT: tensors.pad_strings(histories)}
        more = self._context.build(histories, contexts) if contexts else {}
        if more:
            outputs = self._servable.predict(CONTEXT_SIGNATURE, inputs | more)
            _count(self._values, outputs)
        else:
            outputs = self._predict(inputs)
        return parse_user_vectors(outputs, len(histories), self._version)


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
        servable = SavedModelServable(USER_TOWER, version, user_tower_dir)
        super().__init__(servable.predict_default, version, servable)


class TfServingUserVectors:
    """The user tower behind the address of a TF Serving; keeps one connection."""

    def __init__(
        self,
        address: str,
        model_name: str = USER_TOWER,
        *,
        version: int | None = None,
        tls: ClientTls | RotatingTls = NO_TLS,
        signature_defs: Mapping[str, Any] | None = None,
        values: ValueCounter | None = None,
    ):
        """Prepares the connection; nothing is sent yet.

        Args:
            address: `host:port` of its gRPC door.
            model_name: Name it serves the user tower under.
            version: The only version that may answer; None lets the newest.
            tls: Certificates.
            signature_defs: Of the tower.
            values: As for `PredictUserVectors`.

        Raises:
            InputError: A certificate cannot be used.
        """
        self._context = UserContext((signature_defs or {}).get(CONTEXT_SIGNATURE))
        self._values = values
        self._model = RemoteModel(address, model_name, version=version, tls=tls)

    def compute(
        self,
        histories: Sequence[Sequence[str]],
        *,
        contexts: Sequence[Context | None] = (),
        timeout_s: float | None = None,
    ) -> UserVectors:
        """See `UserVectorSource`; tries again and raises as `RemoteModel.predict`."""
        more = self._context.build(histories, contexts) if contexts else {}
        inputs = {HISTORY_INPUT: tensors.pad_strings(histories), **more}
        signature_name = CONTEXT_SIGNATURE if more else ""
        outputs, version = self._model.predict(
            inputs, signature_name=signature_name, timeout_s=timeout_s
        )
        if more:
            _count(self._values, outputs)
        return parse_user_vectors(outputs, len(histories), version)

    def close(self) -> None:
        """Closes the connection."""
        self._model.close()


def _count(values: ValueCounter | None, outputs: Mapping[str, np.ndarray]) -> None:
    if values is not None:
        values.count(outputs)
