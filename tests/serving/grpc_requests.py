"""Requests of TF Serving's gRPC API for tests, and the errors they get."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2

from serving.protocol import plain_tensors
from serving.protocol.plain_tensors import PlainTensor
from serving.protocol.tensors import fill_proto, pad_strings


def set_spec(
    message: Any,
    name: str = "user_tower",
    version: int | None = None,
    label: str | None = None,
    signature: str = "",
) -> Any:
    """The same message, for this model."""
    message.model_spec.name = name
    message.model_spec.signature_name = signature
    if version is not None:
        message.model_spec.version.value = version
    if label is not None:
        message.model_spec.version_label = label
    return message


def build_request(
    name: str = "user_tower",
    inputs: Mapping[str, Any] | None = None,
    output_filter: Sequence[str] = (),
    **spec: Any,
) -> predict_pb2.PredictRequest:
    """A Predict request, by default with the history of one item; `spec` as for `set_spec`.

    The inputs are arrays, or plain tensors.
    """
    request = set_spec(predict_pb2.PredictRequest(output_filter=output_filter), name, **spec)
    inputs = {"history_item_ids": pad_strings([["i3"]])} if inputs is None else inputs
    for key, value in inputs.items():
        fill = plain_tensors.fill if isinstance(value, PlainTensor) else fill_proto
        fill(request.inputs[key], value)
    return request


def error_of(
    method: Callable[..., Any], request: Any, **arguments: Any
) -> tuple[grpc.StatusCode, str]:
    """Code and text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=30, **arguments)
    return caught.value.code(), caught.value.details()
