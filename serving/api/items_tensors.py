"""The Predict signatures of live items: which inputs there are and what they mean."""

from collections.abc import Mapping

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.api.item_changes import ItemUpsert
from serving.protocol import signatures
from serving.protocol.status import invalid_argument

UPSERT, DELETE, STATUS = "upsert", "delete", "status"

_ITEM_IDS = {"item_ids": (types_pb2.DT_STRING, (-1,))}

_INPUTS = {
    UPSERT: {
        **_ITEM_IDS,
        "categories": (types_pb2.DT_STRING, (-1, -1)),
        "titles": (types_pb2.DT_STRING, (-1,)),
        "vectors": (types_pb2.DT_FLOAT, (-1, -1)),
    },
    DELETE: _ITEM_IDS,
    STATUS: {},
}
"""`categories` are padded with "". A row of "", a title "" or a vector of NaN says
nothing, as no rows at all do: what the release knows of the item then stays."""

_DEFAULTS = {
    "categories": np.empty((0, 0), dtype=object),
    "titles": np.empty(0, dtype=object),
    "vectors": np.empty((0, 0), dtype=np.float32),
}

_OUTPUTS = {
    UPSERT: ("sequence", "num_items", "num_changed"),
    DELETE: ("sequence", "num_items", "num_changed"),
    STATUS: ("sequence", "num_upserted", "num_deleted"),
}
"""All are one int64."""


def signature_defs() -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures as clients may ask for them, with defaults of optional inputs."""
    return {
        name: signatures.signature_def(
            inputs, dict.fromkeys(_OUTPUTS[name], (types_pb2.DT_INT64, ())), _DEFAULTS
        )
        for name, inputs in _INPUTS.items()
    }


def parse_item_ids(inputs: Mapping[str, np.ndarray]) -> list[str]:
    """The raw ids of the inputs.

    Raises:
        ServingError: INVALID_ARGUMENT, one is not UTF-8.
    """
    return _texts("item_ids", inputs["item_ids"])


def parse_upserts(inputs: Mapping[str, np.ndarray]) -> list[ItemUpsert]:
    """Rows of the inputs -> items.

    Raises:
        ServingError: INVALID_ARGUMENT, a text is not UTF-8, or the rows do not fit together.
    """
    item_ids = parse_item_ids(inputs)
    for name in _DEFAULTS:
        if len(inputs[name]) not in (0, len(item_ids)):
            raise invalid_argument(
                f"{name} has {len(inputs[name])} rows, item_ids {len(item_ids)}. "
                "Send one row for each item, or none."
            )
    size = len(item_ids)
    columns = (
        [tuple(filter(None, _texts("categories", row))) for row in inputs["categories"]]
        or [()] * size,
        _texts("titles", inputs["titles"]) or [""] * size,
        [None if np.isnan(row).all() else row for row in inputs["vectors"]] or [None] * size,
    )
    return [ItemUpsert(*item) for item in zip(item_ids, *columns, strict=True)]


def _texts(name: str, values: np.ndarray) -> list[str]:
    try:
        return [value.decode() for value in values.tolist()]
    except UnicodeDecodeError as error:
        raise invalid_argument(f"{name} holds a text that is not valid UTF-8.") from error
