"""The recall service as a model of TF Serving's Predict API.

Existing clients in any language reach it with the stubs they have: histories
in, padded lists of items out.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from tensorflow.core.framework import tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import signatures, tensors
from serving.recall_service import RecallService
from serving.recall_types import FALLBACK_INTEREST, MODEL_NAME, RecallRequest, RecallResponse
from serving.status import invalid_argument

DEFAULT_K = RecallRequest.k
_WARM_UP_BATCH_SIZES = (1, 8)
_WARM_UP_HISTORY_LENGTH = 20
_UNKNOWN_RANK = None

_INPUTS = {
    "history_item_ids": (types_pb2.DT_STRING, (-1, -1)),
    "k": (types_pb2.DT_INT32, _UNKNOWN_RANK),
    "exclude_item_ids": (types_pb2.DT_STRING, (-1, -1)),
    "include_seen": (types_pb2.DT_BOOL, _UNKNOWN_RANK),
}
"""Type and shape. `k` and `include_seen` are one value for all, or one per row."""

_DEFAULTS = {
    "k": np.int32(DEFAULT_K),
    "exclude_item_ids": np.empty((0, 0), dtype=object),
    "include_seen": np.bool_(False),
}

_OUTPUTS = {
    "item_ids": (types_pb2.DT_STRING, (-1, -1)),
    "scores": (types_pb2.DT_FLOAT, (-1, -1)),
    "interests": (types_pb2.DT_INT32, (-1, -1)),
    "is_fallback": (types_pb2.DT_BOOL, (-1,)),
    "num_known": (types_pb2.DT_INT32, (-1,)),
    "num_unknown": (types_pb2.DT_INT32, (-1,)),
    "model_version": (types_pb2.DT_INT64, (-1,)),
    "index_version": (types_pb2.DT_INT64, (-1,)),
}


class RecallServable:
    """See `model_server.Servable`."""

    def __init__(self, service: RecallService, version: int):
        """Wraps a service; `version` is the release's."""
        self.name = MODEL_NAME
        self.version = version
        self.service = service
        self.signature_defs = {signatures.DEFAULT_SIGNATURE: _signature_def()}

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Answers a batch.

        Args:
            signature_name: "" or `serving_default`.
            inputs: `history_item_ids [batch, length]`, padded with "";
                optional `k`, `include_seen` (one value, or one per row) and
                `exclude_item_ids [batch, length]` or one row for all.
            output_filter: Outputs wanted; none means all.
            timeout_s: Time left.

        Returns:
            Outputs by name. Lists shorter than the largest `k` of the batch
            are padded with "", score 0 and interest -1.

        Raises:
            InputError: A limit of the service is exceeded.
            ServingError: The request does not fit the signature, or the
                service cannot answer.
        """
        signature = signatures.find_signature(self.signature_defs, signature_name)
        complete = signatures.check_inputs(signature, inputs)
        selected = signatures.select_outputs(signature, output_filter)
        requests = _parse_requests(complete, self.service.limits.max_batch_size)
        responses = self.service.recall(requests, timeout_s=timeout_s)
        outputs = _build_outputs(responses, max((r.k for r in requests), default=0))
        return {name: outputs[name] for name in selected}

    def warm_up(self) -> None:
        """Answers small batches, with known items and without."""
        popular = self.service.popular_item_ids[:_WARM_UP_HISTORY_LENGTH]
        for batch_size in _WARM_UP_BATCH_SIZES:
            self.service.recall([RecallRequest(history=popular)] * batch_size)
        self.service.recall([RecallRequest()])


def _signature_def() -> meta_graph_pb2.SignatureDef:
    """The signature, with defaults for the optional inputs."""
    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for infos, table in ((signature.inputs, _INPUTS), (signature.outputs, _OUTPUTS)):
        for name, (dtype, shape) in table.items():
            infos[name].CopyFrom(
                meta_graph_pb2.TensorInfo(
                    name=f"{name}:0", dtype=dtype, tensor_shape=_shape_proto(shape)
                )
            )
    for name, value in _DEFAULTS.items():
        signature.defaults[name].CopyFrom(tensors.to_proto(np.asarray(value)))
    return signature


def _shape_proto(shape: tuple[int, ...] | None) -> tensor_shape_pb2.TensorShapeProto:
    if shape is None:
        return tensor_shape_pb2.TensorShapeProto(unknown_rank=True)
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_shape_pb2.TensorShapeProto(dim=dims)


def _parse_requests(inputs: Mapping[str, np.ndarray], max_batch_size: int) -> list[RecallRequest]:
    """Rows of the inputs -> requests."""
    histories = inputs["history_item_ids"]
    batch_size = len(histories)
    if batch_size > max_batch_size:
        raise invalid_argument(
            f"The number of requests in a batch must be at most {max_batch_size}, "
            f"received {batch_size}."
        )
    ks = _per_row("k", inputs["k"], batch_size)
    include_seen = _per_row("include_seen", inputs["include_seen"], batch_size)
    exclude = inputs["exclude_item_ids"]
    if len(exclude) == 0:
        exclude = np.empty((batch_size, 0), dtype=object)
    elif len(exclude) == 1:
        exclude = np.repeat(exclude, batch_size, axis=0)
    elif len(exclude) != batch_size:
        raise invalid_argument(
            f"exclude_item_ids has {len(exclude)} rows, history_item_ids {batch_size}."
        )
    return [
        RecallRequest(
            history=_texts("history_item_ids", histories[row]),
            k=int(ks[row]),
            exclude=_texts("exclude_item_ids", exclude[row]),
            include_seen=bool(include_seen[row]),
        )
        for row in range(batch_size)
    ]


def _per_row(name: str, values: np.ndarray, batch_size: int) -> np.ndarray:
    """One value, or one value per row -> `[batch]`."""
    if values.size == 1:
        return np.full(batch_size, values.reshape(()))
    if values.size == batch_size:
        return values.reshape(batch_size)
    raise invalid_argument(
        f"{name} has the shape {list(values.shape)}; send one value, or one for each of the "
        f"{batch_size} rows of history_item_ids."
    )


def _texts(name: str, row: np.ndarray) -> tuple[str, ...]:
    """Bytes of one row without padding -> texts."""
    try:
        return tuple(value.decode() for value in row if value)
    except UnicodeDecodeError as error:
        raise invalid_argument(f"{name} holds an id that is not valid UTF-8.") from error


def _build_outputs(responses: Sequence[RecallResponse], k: int) -> dict[str, np.ndarray]:
    """Responses -> padded outputs, all rows `k` wide."""
    shape = (len(responses), k)
    item_ids = np.full(shape, b"", dtype=object)
    scores = np.zeros(shape, dtype=np.float32)
    interests = np.full(shape, FALLBACK_INTEREST, dtype=np.int32)
    for row, response in enumerate(responses):
        found = len(response.items)
        item_ids[row, :found] = [item.item_id.encode() for item in response.items]
        scores[row, :found] = [item.score for item in response.items]
        interests[row, :found] = [item.interest for item in response.items]
    return {
        "item_ids": item_ids,
        "scores": scores,
        "interests": interests,
        "is_fallback": np.array([r.is_fallback for r in responses], dtype=np.bool_),
        "num_known": np.array([r.num_known for r in responses], dtype=np.int32),
        "num_unknown": np.array([r.num_unknown for r in responses], dtype=np.int32),
        "model_version": np.array([r.model_version for r in responses], dtype=np.int64),
        "index_version": np.array([r.index_version for r in responses], dtype=np.int64),
    }
