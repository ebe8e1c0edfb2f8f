"""Signatures of Predict: how they are made, and checks of requests with TF Serving's texts.

Nothing here runs a model. Existing clients match on these texts. Imports no TensorFlow until a
signature is made.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from serving.protocol import tensors
from serving.protocol.status import Code, ServingError, invalid_argument
from serving.protocol.tensor_messages import DEFAULT_SIGNATURE, dtype_name

if TYPE_CHECKING:
    from tensorflow.core.framework import tensor_shape_pb2
    from tensorflow.core.protobuf import meta_graph_pb2

EXAMPLE_SIGNATURE = "serving_tf_example"
"""Takes serialised `tf.Example`s."""

CONTEXT_SIGNATURE = "with_context"
"""Of the user tower of a model that looks at more than ids: all but the history may be left out."""

NEW_ITEMS_SIGNATURE = "embed_new_items"
"""Of the item tower of a model with categories: takes these instead of ids."""

VALUE_COUNTS = {
    "item": "value_counts",
    "user": "value_counts",
    "event": "click_value_counts",
    "request": "request_value_counts",
}
"""Owner of features -> the output of its tower that counts their values: `[batch, num_features,
2]`, those that the tower knows and those that it does not."""

_EXTRA_INPUTS = re.compile(r"input size does not match signature: .* Sent extra: \{([^}]+)\}")
"""In the text of `check_names`."""

TensorSpec = tuple[int, tuple[int, ...] | None]
"""Data type number, and shape: -1 is any size, None any shape."""


def signature_def(
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    defaults: Mapping[str, np.ndarray],
) -> "meta_graph_pb2.SignatureDef":
    """A signature of Predict.

    Args:
        inputs: By name.
        outputs: By name.
        defaults: What stands for inputs that are not sent; names that are no inputs do nothing.
    """
    from tensorflow.core.protobuf import meta_graph_pb2

    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for name, spec in inputs.items():
        signature.inputs[name].CopyFrom(tensor_info(name, *spec))
        if name in defaults:
            tensors.fill_proto(signature.defaults[name], defaults[name])
    for name, spec in outputs.items():
        signature.outputs[name].CopyFrom(tensor_info(name, *spec))
    return signature


def tensor_info(
    name: str, dtype: int, shape: tuple[int, ...] | None
) -> "meta_graph_pb2.TensorInfo":
    """A tensor of a signature; see `TensorSpec`."""
    from tensorflow.core.framework import tensor_shape_pb2
    from tensorflow.core.protobuf import meta_graph_pb2

    if shape is None:
        proto = tensor_shape_pb2.TensorShapeProto(unknown_rank=True)
    else:
        dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
        proto = tensor_shape_pb2.TensorShapeProto(dim=dims)
    return meta_graph_pb2.TensorInfo(name=f"{name}:0", dtype=dtype, tensor_shape=proto)


def find_signature(
    signature_defs: "Mapping[str, meta_graph_pb2.SignatureDef]", signature_name: str
) -> "meta_graph_pb2.SignatureDef":
    """The signature of that name; "" means `serving_default`.

    Raises:
        ServingError: FAILED_PRECONDITION, there is none.
    """
    name = signature_name or DEFAULT_SIGNATURE
    if name not in signature_defs:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return signature_defs[name]


def check_inputs(
    signature: "meta_graph_pb2.SignatureDef", inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The inputs of a run: those sent, and the signature's defaults for the others.

    Raises:
        ServingError: INVALID_ARGUMENT, the names, a type or a shape differ
            from the signature's.
    """
    check_sent(signature, inputs)
    defaults = {
        name: tensors.to_numpy(proto, name)
        for name, proto in signature.defaults.items()
        if name not in inputs
    }
    return {**inputs, **defaults}


def check_sent(signature: "meta_graph_pb2.SignatureDef", inputs: Mapping[str, np.ndarray]) -> None:
    """Compares the inputs of a request with a signature.

    Raises:
        ServingError: INVALID_ARGUMENT, the names, a type or a shape differ
            from the signature's.
    """
    check_names(signature, inputs)
    check_types(signature, {name: (tensors.dtype_of(a), a.shape) for name, a in inputs.items()})


def check_names(signature: "meta_graph_pb2.SignatureDef", names: Iterable[str]) -> None:
    """Compares the names of the inputs of a request with a signature.

    Raises:
        ServingError: INVALID_ARGUMENT, they differ from the signature's.
    """
    known, sent = set(signature.inputs), set(names)
    required = known - set(signature.defaults)
    if sent - known or required - sent:
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(known)} "
            f"len({_names(sent)}) != len({_names(known)}). "
            f"Sent extra: {_names(sent - known)}. "
            f"Missing but required: {_names(required - sent)}."
        )


def read_extra_inputs(refusal: str) -> list[str]:
    """The inputs that a server did not know, from the text of `check_names`; else none.

    >>> read_extra_inputs(
    ...     "input size does not match signature: 2!=1 len({x,y}) != len({x}). "
    ...     "Sent extra: {y}. Missing but required: {}."
    ... )
    ['y']
    """
    found = _EXTRA_INPUTS.match(refusal)
    return found[1].split(",") if found else []


def check_types(
    signature: "meta_graph_pb2.SignatureDef", inputs: Mapping[str, tuple[int, tuple[int, ...]]]
) -> None:
    """Compares types and shapes of inputs that have the right names with a signature.

    Args:
        signature: Of the model.
        inputs: Data type number and shape by name.

    Raises:
        ServingError: INVALID_ARGUMENT, a type or a shape differs from the signature's.
    """
    for position, name in enumerate(sorted(signature.inputs)):
        if name in inputs:
            _check_input(position, name, signature.inputs[name], *inputs[name])


def select_outputs(
    signature: "meta_graph_pb2.SignatureDef", output_filter: Sequence[str]
) -> list[str]:
    """Names of the outputs to return: the filtered ones, or all, sorted.

    Raises:
        ServingError: INVALID_ARGUMENT, the filter names an unknown output or
            one twice.
    """
    selected: list[str] = []
    for name in output_filter:
        if name not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {name} Outputs expected to be in "
                f"the set {_names(signature.outputs)}."
            )
        if name in selected:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
        selected.append(name)
    return selected or sorted(signature.outputs)


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _check_input(
    position: int,
    name: str,
    info: "meta_graph_pb2.TensorInfo",
    dtype: int,
    shape: tuple[int, ...],
) -> None:
    """Compares type and shape of one input."""
    if dtype != info.dtype:
        raise invalid_argument(
            f"Expects arg[{position}] to be {dtype_name(info.dtype)} but "
            f"{dtype_name(dtype)} is provided: input {name}."
        )
    if not _fits(info.tensor_shape, shape):
        wanted = [dim.size for dim in info.tensor_shape.dim]
        raise invalid_argument(
            f"Input {name} has the shape {list(shape)}, the signature asks for {wanted} "
            "(-1 is any size)."
        )


def _fits(wanted: "tensor_shape_pb2.TensorShapeProto", shape: tuple[int, ...]) -> bool:
    if wanted.unknown_rank:
        return True
    return len(wanted.dim) == len(shape) and all(
        dim.size in (-1, size) for dim, size in zip(wanted.dim, shape, strict=True)
    )
