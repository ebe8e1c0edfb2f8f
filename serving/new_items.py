"""Vectors of items by the exported item tower: of known ones, and of those nobody clicked yet."""

from collections.abc import Callable, Sequence

import numpy as np

from serving import tensors
from serving.live_catalogue import EmbeddedItems, ItemEmbedder
from serving.model_server import Servable
from serving.signatures import NEW_ITEMS_SIGNATURE

_BATCH = 1024
"""Items per call: 256 kB of vectors at 64 dimensions."""


def item_embedder(item_tower: Servable) -> ItemEmbedder | None:
    """Categories -> vectors by a loaded item tower; None where its model has no categories."""
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


def item_vectors(item_tower: Servable) -> Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]:
    """Raw ids -> `[n, dim]` vectors, `[n]` bool whether known; by a loaded item tower."""

    def embed(item_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        outputs = item_tower.predict("", {"item_ids": tensors.pad_strings([item_ids])[0]})
        return outputs["item_vectors"], outputs["is_known"]

    return embed
