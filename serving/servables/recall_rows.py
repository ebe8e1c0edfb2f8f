"""Rows of tensors and what they say to the recall service: requests in, answers out.

The tables of inputs and outputs are in `serving.api.recall_tensors`, with the callers' half.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.api import recall_json
from serving.api.recall_request import ItemMetadata, RecallRequest, RecallResponse
from serving.api.recall_tensors import (
    ANY_RANK,
    INPUTS,
    INTERESTS_OUTPUT,
    ITEM_VECTORS_SIGNATURE,
    METADATA_OUTPUTS,
    OUTPUTS,
    UNKNOWN_OUTPUT,
    UNKNOWN_VALUES_OUTPUT,
    InputSpec,
    subject_input,
)
from serving.api.request_fields import Kind
from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol import signatures, tensors
from serving.protocol.status import ServingError, invalid_argument

_ITEM_VECTORS_INPUT = "item_ids"
_ITEM_VECTORS_OUTPUTS = {
    "item_vectors": (types_pb2.DT_FLOAT, (-1, -1)),
    "is_known": (types_pb2.DT_BOOL, (-1,)),
    "fingerprint": (types_pb2.DT_STRING, (-1,)),
}


def _texts(row: np.ndarray) -> tuple[str, ...]:
    """One row of ids or names; "" is padding."""
    return tuple(value.decode() for value in row.tolist() if value)


def _numbers(row: np.ndarray) -> tuple[float, ...]:
    return tuple(row.tolist())


def _positive_or_none(value: Any) -> int | None:
    """0 means that nothing was said."""
    return int(value) or None


_PARSERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXTS: _texts,
    Kind.NUMBERS: _numbers,
    Kind.VECTORS: np.asarray,
    Kind.TEXT: bytes.decode,
    Kind.INTEGER: int,
    Kind.NUMBER: float,
    Kind.SWITCH: bool,
}
"""How one row of an input is read, or the one value of a row, by the kind of its field;
documents are read by `recall_json`."""


def _parser(spec: InputSpec) -> Callable[[Any], Any]:
    field = spec.field
    if field.kind.is_document:
        return functools.partial(recall_json.read_document, field.name, field.kind)
    if field.kind is Kind.INTEGER and field.default is None:
        return _positive_or_none
    return _PARSERS[field.kind]


def recall_signature_defs() -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures as clients may ask for them, with defaults of optional inputs."""
    of_requests = {name: _signature_def(name) for name in INPUTS}
    of_items = signatures.signature_def(
        {_ITEM_VECTORS_INPUT: (types_pb2.DT_STRING, (-1,))}, _ITEM_VECTORS_OUTPUTS, {}
    )
    return {**of_requests, ITEM_VECTORS_SIGNATURE: of_items}


def parse_requests(
    signature_name: str, inputs: Mapping[str, np.ndarray], max_batch_size: int
) -> list[RecallRequest]:
    """Rows of the inputs -> requests.

    Args:
        signature_name: "" or a key of `INPUTS`.
        inputs: Of the signature's names and types; those left out have their
            default.
        max_batch_size: Most rows.

    Raises:
        ServingError: INVALID_ARGUMENT, sizes do not fit together, or a text
            is not UTF-8.
    """
    specs = INPUTS[signature_name or signatures.DEFAULT_SIGNATURE]
    subject = subject_input(signature_name)
    batch_size = len(inputs[subject])
    if batch_size > max_batch_size:
        raise invalid_argument(
            f"The number of requests in a batch must be at most {max_batch_size}, "
            f"received {batch_size}."
        )
    fields = {
        specs[name].field.name: _values(name, specs[name], array, batch_size, subject)
        for name, array in inputs.items()
    }
    return [
        RecallRequest(**{field: values[row] for field, values in fields.items()})
        for row in range(batch_size)
    ]


def parse_item_vectors_inputs(inputs: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Inputs of `item_vectors` -> raw ids.

    Raises:
        ServingError: INVALID_ARGUMENT, one is not UTF-8.
    """
    try:
        return tuple(value.decode() for value in inputs[_ITEM_VECTORS_INPUT].tolist())
    except UnicodeDecodeError as error:
        raise _not_utf8(_ITEM_VECTORS_INPUT) from error


def _not_utf8(name: str) -> ServingError:
    return invalid_argument(f"{name} holds a text that is not valid UTF-8.")


def _values(
    name: str, spec: InputSpec, array: np.ndarray, batch_size: int, subject: str
) -> list[Any]:
    """The field of every row of the batch; one for all is parsed once."""
    if spec.shape is ANY_RANK:
        rows, given = array.ravel().tolist(), f"the shape {list(array.shape)}"
    else:
        rows = array if len(array) or not batch_size else np.empty((1, 0), dtype=array.dtype)
        given = f"{len(array)} rows"
    if len(rows) not in (1, batch_size):
        raise invalid_argument(
            f"{name} has {given}; send one for all, or one for each of the {batch_size} rows "
            f"of {subject}."
        )
    parse = _parser(spec)
    try:
        values = [parse(row) for row in rows]
    except UnicodeDecodeError as error:
        raise _not_utf8(name) from error
    return values if len(values) == batch_size else values * batch_size


def _signature_def(signature_name: str) -> meta_graph_pb2.SignatureDef:
    specs = INPUTS[signature_name]
    optional = [name for name in specs if name != subject_input(signature_name)]
    return signatures.signature_def(
        {name: (spec.dtype, spec.shape) for name, spec in specs.items()},
        OUTPUTS,
        {name: _default(specs[name]) for name in optional},
    )


def _default(spec: InputSpec) -> np.ndarray:
    """The default of the request's field as a tensor; an empty row for a list."""
    dtype = tensors.numpy_dtype(spec.dtype)
    value = spec.field.default
    if spec.shape is not ANY_RANK:
        return np.empty((1, *(0 for _ in spec.shape[1:])), dtype=dtype)
    if spec.field.kind.is_document:
        return np.array(b"", dtype=dtype)
    return np.array(0 if value is None else value, dtype=dtype)


def build_asked(
    requests: Sequence[RecallRequest],
    responses: Sequence[RecallResponse],
    k: int,
    output_filter: Sequence[str],
) -> dict[str, np.ndarray]:
    """Those of the outputs that a request of the batch, or the output filter, asks for.

    And the names that are no category, or that no item has, where there are any.

    Args:
        requests: Of the batch.
        responses: One for each.
        k: Width of the rows of items.
        output_filter: Names of outputs wanted.
    """
    outputs = {}
    is_named = any(name in output_filter for name in METADATA_OUTPUTS)
    if is_named or any(request.with_metadata for request in requests):
        outputs |= build_metadata_outputs(responses, k)
    is_named = INTERESTS_OUTPUT in output_filter
    if is_named or any(request.with_interests for request in requests):
        outputs[INTERESTS_OUTPUT] = _build_weights(responses)
    if UNKNOWN_OUTPUT in output_filter or any(r.unknown_categories for r in responses):
        outputs[UNKNOWN_OUTPUT] = _build_unknown(responses)
    if UNKNOWN_VALUES_OUTPUT in output_filter or any(r.unknown_values for r in responses):
        outputs[UNKNOWN_VALUES_OUTPUT] = _build_unknown_values(responses)
    return outputs


def _build_weights(responses: Sequence[RecallResponse]) -> np.ndarray:
    """`[n, most interests]` float32, padded with 0."""
    rows = [response.interest_weights or () for response in responses]
    weights = np.zeros((len(rows), max(map(len, rows), default=0)), np.float32)
    for row, values in enumerate(rows):
        weights[row, : len(values)] = values
    return weights


def _build_unknown(responses: Sequence[RecallResponse]) -> np.ndarray:
    """`[n, most names]` bytes, padded with ""."""
    width = max((len(response.unknown_categories) for response in responses), default=0)
    names = np.full((len(responses), width), b"", dtype=object)
    for row, response in enumerate(responses):
        names[row, : len(response.unknown_categories)] = [
            name.encode() for name in response.unknown_categories
        ]
    return names


def _build_unknown_values(responses: Sequence[RecallResponse]) -> np.ndarray:
    """`[n, most values, 2]` bytes, attribute and value, padded with ""."""
    width = max((len(response.unknown_values) for response in responses), default=0)
    pairs = np.full((len(responses), width, 2), b"", dtype=object)
    for row, response in enumerate(responses):
        for place, pair in enumerate(response.unknown_values):
            pairs[row, place] = [text.encode() for text in pair]
    return pairs


def build_metadata_outputs(responses: Sequence[RecallResponse], k: int) -> dict[str, np.ndarray]:
    """The outputs for a batch.

    Args:
        responses: Those without metadata get "".
        k: Width of the rows.

    Returns:
        `titles [n, k]` and `categories [n, k, most categories of an item]`,
        bytes, padded with "" as the lists of texts of requests are.
    """
    known = [response.metadata or ItemMetadata() for response in responses]
    width = max((len(names) for of in known for names in of.categories), default=0)
    titles = np.full((len(known), k), b"", dtype=object)
    categories = np.full((len(known), k, width), b"", dtype=object)
    for row, of_response in enumerate(known):
        for place, (title, names) in enumerate(zip(*of_response, strict=True)):
            titles[row, place] = title.encode()
            categories[row, place, : len(names)] = [name.encode() for name in names]
    return {"titles": titles, "categories": categories}
