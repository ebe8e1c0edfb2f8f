"""Live items as a model of TF Serving's Predict API, with three signatures.

`upsert` and `delete` change the catalogue and need the admin token where the
server has one; `status` says how many changes there are.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from tensorflow.core.framework import tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from recall.errors import InputError
from serving import signatures, tensors
from serving.item_changes import MAX_CHANGES, MODEL_NAME, ItemUpsert
from serving.live_items import LiveItems
from serving.sharded_items import ShardedItems
from serving.status import invalid_argument

UPSERT, DELETE, STATUS = "upsert", "delete", "status"

_ITEM_IDS = ("item_ids", types_pb2.DT_STRING, (-1,))
_INPUTS = {
    UPSERT: (
        _ITEM_IDS,
        ("categories", types_pb2.DT_STRING, (-1, -1)),
        ("titles", types_pb2.DT_STRING, (-1,)),
        ("vectors", types_pb2.DT_FLOAT, (-1, -1)),
    ),
    DELETE: (_ITEM_IDS,),
    STATUS: (),
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


class ItemsServable:
    """See `servable.Servable`."""

    admin_signatures = (UPSERT, DELETE)

    def __init__(self, live_items: LiveItems | ShardedItems, version: int):
        """Wraps the live items of a server; `version` is the release's."""
        self.name = MODEL_NAME
        self.version = version
        self.live_items = live_items
        self.signature_defs = {name: _signature_def(name) for name in _INPUTS}

    def check_shapes(self, signature_name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuses more changes than one call may make, before they are decoded.

        Raises:
            InputError: There are more.
        """
        size = max((shape[0] for shape in shapes.values()), default=0)
        if size > MAX_CHANGES:
            raise InputError(f"One call changes 1 to {MAX_CHANGES} items, received {size}.")

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Makes a change and acknowledges it, or tells the status.

        Args:
            signature_name: `upsert`, `delete` or `status`.
            inputs: `item_ids [n]`; for an upsert optionally `categories
                [n, width]`, `titles [n]` and `vectors [n, dim]`.
            output_filter: Outputs wanted; none means all.
            timeout_s: Not looked at: a change is made or refused in milliseconds.

        Returns:
            Outputs by name, each one int64.

        Raises:
            InputError: An item is not valid, or no vector can be had for it.
            ServingError: The request does not fit the signature, or the change
                cannot be written.
        """
        signature = signatures.find_signature(self.signature_defs, signature_name)
        complete = signatures.check_inputs(signature, inputs)
        selected = signatures.select_outputs(signature, output_filter)
        if signature_name == UPSERT:
            items = _parse_upserts(complete)
            answer = self.live_items.upsert(items, version=self.version)._asdict()
        elif signature_name == DELETE:
            item_ids = _texts("item_ids", complete["item_ids"])
            answer = self.live_items.delete(item_ids, version=self.version)._asdict()
        else:
            answer = self.live_items.status()
        return {name: np.asarray(answer[name], np.int64) for name in selected}

    def warm_up(self) -> None:
        """Nothing waits: a change runs no graph but the item tower's."""
        self.live_items.status()


def _signature_def(name: str) -> meta_graph_pb2.SignatureDef:
    """A signature, with defaults for the optional inputs."""
    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for input_name, dtype, shape in _INPUTS[name]:
        signature.inputs[input_name].CopyFrom(_tensor_info(input_name, dtype, shape))
        if input_name in _DEFAULTS:
            signature.defaults[input_name].CopyFrom(tensors.to_proto(_DEFAULTS[input_name]))
    for output_name in _OUTPUTS[name]:
        info = _tensor_info(output_name, types_pb2.DT_INT64, ())
        signature.outputs[output_name].CopyFrom(info)
    return signature


def _tensor_info(name: str, dtype: int, shape: tuple[int, ...]) -> meta_graph_pb2.TensorInfo:
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return meta_graph_pb2.TensorInfo(
        name=f"{name}:0", dtype=dtype, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims)
    )


def _parse_upserts(inputs: Mapping[str, np.ndarray]) -> list[ItemUpsert]:
    """Rows of the inputs -> items."""
    item_ids = _texts("item_ids", inputs["item_ids"])
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
