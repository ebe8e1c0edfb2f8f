"""Vectors of items by the exported item tower: of known ones, and of those nobody clicked yet."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving import tensors
from serving.client_tls import NO_TLS, ClientTls
from serving.live_catalogue import EmbeddedItems, ItemEmbedder
from serving.release import ITEM_TOWER
from serving.saved_model import read_signature_defs
from serving.signatures import NEW_ITEMS_SIGNATURE
from serving.status import Code, ServingError

_BATCH = 1024
"""Items per call: 256 kB of vectors at 64 dimensions."""


_REMOTE_TIMEOUT_S = 5.0
"""Longest wait for an item tower elsewhere."""


class ItemTower(Protocol):
    """An item tower, in this process or elsewhere."""

    signature_defs: Mapping[str, Any]

    def predict(
        self, signature_name: str, inputs: Mapping[str, np.ndarray]
    ) -> Mapping[str, np.ndarray]:
        """Runs a signature; all outputs by name."""


class RemoteItemTower:
    """The item tower behind the address of a TF Serving; keeps one connection."""

    def __init__(self, address: str, item_tower_dir: Path, *, tls: ClientTls = NO_TLS):
        """Prepares the connection; nothing is sent yet.

        Args:
            address: `host:port` of its gRPC door.
            item_tower_dir: The same tower in the release; read for its
                signatures alone.
            tls: Certificates.

        Raises:
            InputError: A certificate cannot be used.
        """
        self.signature_defs = read_signature_defs(item_tower_dir)
        self._address = address
        self._tls = tls
        self._channel = tls.open_channel(address)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(
        self, signature_name: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """See `ItemTower`.

        Raises:
            ServingError: The remote error, with its code.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = ITEM_TOWER
        request.model_spec.signature_name = signature_name
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tensors.to_proto(value))
        try:
            response = self._stub.Predict(request, timeout=_REMOTE_TIMEOUT_S)
        except grpc.RpcError as error:
            reason = self._tls.find_cause(error.details()) or error.details()
            raise ServingError(
                Code(error.code().value[0]),
                f"Item tower `{ITEM_TOWER}` at {self._address}: {reason}",
            ) from error
        return {name: tensors.to_numpy(proto, name) for name, proto in response.outputs.items()}

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()


def item_embedder(item_tower: ItemTower) -> ItemEmbedder | None:
    """Categories -> vectors by an item tower; None where its model has no categories."""
    if NEW_ITEMS_SIGNATURE not in item_tower.signature_defs:
        return None

    def embed(categories: Sequence[tuple[str, ...]]) -> EmbeddedItems:
        parts = [
            item_tower.predict(
                NEW_ITEMS_SIGNATURE,
                {"categories": tensors.pad_strings(categories[start : start + _BATCH])},
            )
            for start in range(0, len(categories), _BATCH)
        ]
        return EmbeddedItems(
            np.concatenate([part["item_vectors"] for part in parts]),
            np.concatenate([part["num_known"] for part in parts]),
            parts[0]["fingerprint"][0].decode(),
        )

    return embed


def item_vectors(item_tower: ItemTower) -> Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]:
    """Raw ids -> `[n, dim]` vectors, `[n]` bool whether known; by an item tower."""

    def embed(item_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        outputs = item_tower.predict("", {"item_ids": tensors.pad_strings([item_ids])[0]})
        return outputs["item_vectors"], outputs["is_known"]

    return embed
