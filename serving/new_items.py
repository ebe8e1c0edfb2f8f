"""Vectors of items by the exported item tower: of known ones, and of those nobody clicked yet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from serving import tensors
from serving.live_catalogue import EmbeddedItems, ItemEmbedder
from serving.remote_model import RemoteModel
from serving.saved_model import read_signature_defs
from serving.signatures import NEW_ITEMS_SIGNATURE
from serving.status import Code, ServingError

_BATCH = 1024
"""Items per call: 256 kB of vectors at 64 dimensions."""


class ItemTower(Protocol):
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
        """See `ItemTower`; tries again and raises as `RemoteModel.predict`."""
        outputs, _ = self._model.predict(inputs, signature_name=signature_name, timeout_s=timeout_s)
        return outputs


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


class TowerVectors(Protocol):
    """Vectors of items by an item tower."""

    def __call__(
        self, item_ids: Sequence[str], timeout_s: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Raw ids, in the time left -> `[n, dim]` vectors, `[n]` bool whether each is known."""


def item_vectors(item_tower: ItemTower, fingerprint: str) -> TowerVectors:
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
