"""TF Serving's JSON form of tensors, to numpy; `json_outputs` has the way back.

Row form: `{"instances": [...]}` -> `{"predictions": [...]}`, one element per
row of the batch. Column form: `{"inputs": ...}` -> `{"outputs": ...}`, whole
tensors. Bytes are `{"b64": "..."}`.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework import dtypes

from serving.protocol import json_arrays
from serving.protocol.json_document import json_type, show
from serving.protocol.json_outputs import BASE64_KEY, is_column, without_rows
from serving.protocol.status import ServingError, invalid_argument
from serving.protocol.tensor_messages import dtype_name


class ParsedInputs(NamedTuple):
    """The tensors of a request.

    Attributes:
        arrays: By name.
        row_form: Whether they came as rows, so that the answer has rows.
        is_flat: Whether an input of shape [-1, 1] came as a list of values.
    """

    arrays: dict[str, np.ndarray]
    row_form: bool
    is_flat: bool


def parse_inputs(
    document: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef
) -> ParsedInputs:
    """The tensors of a predict request.

    Args:
        document: The decoded request.
        signature: Names and types of the inputs, and defaults; the outputs
            must have rows for an answer in row form. TF Serving notices after
            the run, when a signature that changes something has changed it.

    Raises:
        ServingError: INVALID_ARGUMENT, with TF Serving's text where it has one.
    """
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        _check_rows(signature)
        return _restore_columns(_parse_instances(document, signature), signature, True)
    if "inputs" in document:
        return _restore_columns(_parse_columns(document["inputs"], signature), signature, False)
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _restore_columns(
    arrays: dict[str, np.ndarray], signature: meta_graph_pb2.SignatureDef, row_form: bool
) -> ParsedInputs:
    """Values as columns where the signature wants columns of one value.

    TF Serving does not compare shapes: its own example sends `[1.0, 2.0]` to a
    signature of shape [-1, 1] and gets plain values back.
    """
    flat = [
        name
        for name, array in arrays.items()
        if array.ndim == 1 and is_column(signature.inputs[name])
    ]
    for name in flat:
        arrays[name] = arrays[name][:, None]
    return ParsedInputs(arrays, row_form, bool(flat))


def _check_rows(signature: meta_graph_pb2.SignatureDef) -> None:
    """Refuses row form where an output is said to be one value."""
    for name, info in sorted(signature.outputs.items()):
        shape = info.tensor_shape
        if info.HasField("tensor_shape") and not shape.unknown_rank and not shape.dim:
            raise without_rows(name)


def _parse_instances(
    document: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef
) -> dict[str, np.ndarray]:
    """Row form: every element holds one row of every input."""
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(
            f"JSON Value: {show(document)} Excepting 'instances' to be an list/array"
        )
    if not instances:
        raise invalid_argument(f"JSON Value: {show(document)} No values in 'instances' array")
    required = sorted(set(signature.inputs) - set(signature.defaults))
    named = _is_object(instances[0])
    if not named and len(required) != 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    columns: dict[str, list] = {}
    for position, instance in enumerate(instances):
        if _is_object(instance) != named:
            wanted, found = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(
                f"Expecting {wanted} but got {found} at item {position} of input list"
            )
        row = instance if named else {required[0]: instance}
        _check_keys(position, row, set(columns) if position else None, signature)
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: _parse_tensor(v, name, signature.inputs[name]) for name, v in columns.items()}


def _check_keys(
    position: int,
    row: Mapping[str, Any],
    keys: set[str] | None,
    signature: meta_graph_pb2.SignatureDef,
) -> None:
    """Every element names the same inputs; those with a default may be left out."""
    known = set(signature.inputs)
    complete = known - set(signature.defaults) <= set(row) <= known
    if not complete or (keys is not None and set(row) != keys):
        raise invalid_argument(
            f"Failed to process element: {position} of 'instances' list. JSON object: "
            f"{show(row)} keys must be equal to: {','.join(sorted(keys or known))}"
        )


def _parse_columns(inputs: Any, signature: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
    """Column form: an object of tensors, or the only tensor itself."""
    required = sorted(set(signature.inputs) - set(signature.defaults))
    if not _is_object(inputs):
        if len(required) != 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        inputs = {required[0]: inputs}
    for name in required:
        if name not in inputs:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
    unknown = sorted(set(inputs) - set(signature.inputs))
    if unknown:
        raise invalid_argument(f"JSON object: does not have named input: {unknown[0]}")
    return {name: _parse_tensor(v, name, signature.inputs[name]) for name, v in inputs.items()}


def _is_object(value: Any) -> bool:
    """Whether it is an object of names, not bytes in base64."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {BASE64_KEY}


def _parse_tensor(value: Any, name: str, info: meta_graph_pb2.TensorInfo) -> np.ndarray:
    """Nested lists -> array of the type of the signature."""
    shape = _shape_of(value)
    array = json_arrays.from_lists(value, shape, dtypes.as_dtype(info.dtype).as_numpy_dtype)
    if array is not None:
        return array
    values: list[Any] = []
    try:
        _collect(value, 0, shape, info.dtype, values)
    except ServingError as error:
        raise invalid_argument(
            f"Failed to process key: {name} of the request. Error: {error.message}"
        ) from error
    if info.dtype == types_pb2.DT_STRING:
        array = np.empty(len(values), dtype=object)
        array[:] = values
    else:
        array = np.array(values, dtype=dtypes.as_dtype(info.dtype).as_numpy_dtype)
    return array.reshape(shape)


def _shape_of(value: Any) -> tuple[int, ...]:
    """The shape the first elements have; `_collect` checks the others."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _collect(value: Any, level: int, shape: tuple[int, ...], dtype: int, values: list) -> None:
    """Appends the leaves in order; refuses ragged lists. Depth is limited by `parse_json`."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        values.append(_parse_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for element in value:
        _collect(element, level + 1, shape, dtype, values)


def _parse_leaf(value: Any, dtype: int) -> Any:
    """One value of the wanted type, never converted with a loss."""
    if dtype == types_pb2.DT_STRING and isinstance(value, str):
        return value.encode()
    if dtype == types_pb2.DT_STRING and _is_base64(value):
        return _parse_base64(value[BASE64_KEY])
    kind = np.dtype(dtypes.as_dtype(dtype).as_numpy_dtype)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind.kind == "f" and is_number and json_arrays.is_lossless(value, kind):
        return value
    if kind.kind in "iu" and is_number and isinstance(value, int):
        limits = np.iinfo(kind)
        if limits.min <= value <= limits.max:
            return value
    if kind.kind == "b" and isinstance(value, bool):
        return value
    raise invalid_argument(
        f"JSON Value: {show(value)} Type: {json_type(value)} is not of expected type: "
        f"{dtype_name(dtype)}"
    )


def _parse_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error
