"""Tensors of an answer in TF Serving's JSON form: numpy to plain values."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.protocol import json_arrays
from serving.protocol.status import ServingError, invalid_argument

BASE64_KEY = "b64"
_BYTES_SUFFIX = "_bytes"


def build_answer(outputs: Mapping[str, np.ndarray], row_form: bool) -> dict[str, Any]:
    """Outputs by name -> the JSON object of a predict answer.

    Raises:
        ServingError: INVALID_ARGUMENT, row form was asked for and the outputs
            have no common batch size.
    """
    plain = {name: _to_json(name, array) for name, array in outputs.items()}
    if not row_form:
        return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
    sizes = set()
    for name, array in outputs.items():
        if not array.ndim:
            raise without_rows(name)
        sizes.add(len(array))
        if len(sizes) > 1:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: "
                f"{len(next(iter(outputs.values())))}"
            )
    if len(plain) == 1:
        return {"predictions": next(iter(plain.values()))}
    return {
        "predictions": [
            dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)
        ]
    }


def _to_json(name: str, array: np.ndarray) -> Any:
    """Nested lists of plain values."""
    if array.dtype.kind in "OSU":
        as_bytes = name.endswith(_BYTES_SUFFIX)
        return _map_leaves(array.tolist(), lambda value: _text_or_base64(value, as_bytes))
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        return json_arrays.shortest_floats(array).tolist()
    return array.tolist()


def _map_leaves(value: Any, function: Any) -> Any:
    if isinstance(value, list):
        return [_map_leaves(element, function) for element in value]
    return function(value)


def _text_or_base64(value: Any, as_bytes: bool) -> Any:
    """Text where the bytes are text and their name does not say otherwise."""
    raw = value.encode() if isinstance(value, str) else value
    if not as_bytes:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return {BASE64_KEY: base64.b64encode(raw).decode()}


def flatten(
    outputs: Mapping[str, np.ndarray], signature: meta_graph_pb2.SignatureDef
) -> dict[str, np.ndarray]:
    """The outputs for inputs that came flat: columns of one value as plain values."""
    return {
        name: array[:, 0]
        if name in signature.outputs and is_column(signature.outputs[name])
        else array
        for name, array in outputs.items()
    }


def is_column(info: meta_graph_pb2.TensorInfo) -> bool:
    """Whether a tensor has the shape [-1, 1]."""
    return [dim.size for dim in info.tensor_shape.dim] == [-1, 1]


def without_rows(name: str) -> ServingError:
    """The error of an output that cannot be shown in row form."""
    return invalid_argument(
        f"Tensor name: {name} has no shape information and no rows. Send 'inputs' instead of "
        "'instances'."
    )
