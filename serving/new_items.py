"""Vectors of items that nobody clicked yet, by the exported item tower."""

from collections.abc import Sequence

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
