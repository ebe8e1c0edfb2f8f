"""The Predict signatures of the recall service: which inputs there are and what they mean.

Every field of a `RecallRequest` is an input of one name and one type; here is
the table, the way from rows of tensors to requests, and from outputs to an
answer. One signature more gives vectors of items. Imports no TensorFlow until
signatures are made.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recall.errors import InputError
from serving.api.metadata_tensors import (
    INTERESTS_OUTPUT,
    METADATA_OUTPUTS,
    parse_metadata,
    parse_unknown,
)
from serving.api.recall_limits import check_one_subject
from serving.api.recall_request import (
    REQUEST_FIELDS,
    RESPONSE_FACTS,
    RecallRequest,
    RecallResponse,
)
from serving.api.request_fields import FieldSpec, Kind
from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol import signatures, tensors
from serving.protocol.status import ServingError, invalid_argument

if TYPE_CHECKING:
    from tensorflow.core.protobuf import meta_graph_pb2

USER_VECTORS_SIGNATURE = "user_vectors"
"""Ready vectors instead of a history, for callers with a user tower of their own."""

SIMILAR_ITEMS_SIGNATURE = "similar_items"
"""Items like given ones."""

ITEM_VECTORS_SIGNATURE = "item_vectors"
"""No request: what a front over shards searches with for items like given ones. The names
are those of the item tower, which knows nothing of live items."""

_MATRIX, _ANY_RANK = (-1, -1), None


class InputSpec(NamedTuple):
    """One input tensor.

    Attributes:
        field: The field of `RecallRequest` it becomes.
        dtype: A number of `types_pb2.DataType`.
        shape: -1 is any size; None is one value for all rows, or one per row.
        parse: One row, or the one value of a row -> the field.
    """

    field: str
    dtype: int
    shape: tuple[int, ...] | None
    parse: Callable[[Any], Any]


def _texts(row: np.ndarray) -> tuple[str, ...]:
    """One row of ids or names; "" is padding."""
    return tuple(value.decode() for value in row.tolist() if value)


def _positive_or_none(value: Any) -> int | None:
    """0 means that nothing was said."""
    return int(value) or None


def _numbers(row: np.ndarray) -> tuple[float, ...]:
    return tuple(row.tolist())


_TENSORS = {
    Kind.TEXTS: (types_pb2.DT_STRING, _MATRIX, _texts),
    Kind.NUMBERS: (types_pb2.DT_FLOAT, _MATRIX, _numbers),
    Kind.VECTORS: (types_pb2.DT_FLOAT, (-1, -1, -1), np.asarray),
    Kind.TEXT: (types_pb2.DT_STRING, _ANY_RANK, bytes.decode),
    Kind.INTEGER: (types_pb2.DT_INT32, _ANY_RANK, int),
    Kind.NUMBER: (types_pb2.DT_FLOAT, _ANY_RANK, float),
    Kind.SWITCH: (types_pb2.DT_BOOL, _ANY_RANK, bool),
}
"""What each kind of field is as a tensor: data type, shape and how one is parsed."""


def _input_spec(field: FieldSpec) -> InputSpec:
    dtype, shape, parse = _TENSORS[field.kind]
    if field.kind is Kind.INTEGER and field.default is None:
        parse = _positive_or_none
    return InputSpec(field.name, dtype, shape, parse)


_SUBJECTS = {
    signatures.DEFAULT_SIGNATURE: "history",
    USER_VECTORS_SIGNATURE: "user_vectors",
    SIMILAR_ITEMS_SIGNATURE: "similar_to",
}
"""The field that each signature asks about; its input gives the number of rows."""


def _inputs_of(subject: str) -> dict[str, InputSpec]:
    """Inputs of one signature: the required one, its own, and those of every signature."""
    fields = [field for field in REQUEST_FIELDS if subject in (field.name, field.subject)]
    fields += [f for f in REQUEST_FIELDS if not f.is_subject and not f.subject]
    return {field.input_name: _input_spec(field) for field in fields}


INPUTS = {name: _inputs_of(subject) for name, subject in _SUBJECTS.items()}
"""Signature -> its inputs by name; all but the first have defaults."""

_REQUIRED = {name: next(iter(inputs)) for name, inputs in INPUTS.items()}

OUTPUTS = {
    "item_ids": (types_pb2.DT_STRING, (-1, -1)),
    "scores": (types_pb2.DT_FLOAT, (-1, -1)),
    "interests": (types_pb2.DT_INT32, (-1, -1)),
    "is_fallback": (types_pb2.DT_BOOL, (-1,)),
    "num_known": (types_pb2.DT_INT32, (-1,)),
    "num_unknown": (types_pb2.DT_INT32, (-1,)),
    "model_version": (types_pb2.DT_INT64, (-1,)),
    "index_version": (types_pb2.DT_INT64, (-1,)),
    "degraded": (types_pb2.DT_BOOL, (-1,)),
    "coverage": (types_pb2.DT_FLOAT, (-1,)),
    "titles": (types_pb2.DT_STRING, (-1, -1)),
    "categories": (types_pb2.DT_STRING, (-1, -1, -1)),
    "interest_weights": (types_pb2.DT_FLOAT, (-1, -1)),
    "unknown_categories": (types_pb2.DT_STRING, (-1, -1)),
}
"""Outputs of every signature that takes requests; see also `metadata_tensors`."""

_ITEM_VECTORS_INPUT = "item_ids"
_ITEM_VECTORS_OUTPUTS = {
    "item_vectors": (types_pb2.DT_FLOAT, (-1, -1)),
    "is_known": (types_pb2.DT_BOOL, (-1,)),
    "fingerprint": (types_pb2.DT_STRING, (-1,)),
}


def recall_signature_defs() -> "dict[str, meta_graph_pb2.SignatureDef]":
    """The signatures as clients may ask for them, with defaults of optional inputs."""
    of_requests = {name: _signature_def(name) for name in INPUTS}
    of_items = signatures.signature_def(
        {_ITEM_VECTORS_INPUT: (types_pb2.DT_STRING, (-1,))}, _ITEM_VECTORS_OUTPUTS, {}
    )
    return {**of_requests, ITEM_VECTORS_SIGNATURE: of_items}


def subject_input(signature_name: str) -> str:
    """Name of the input that a signature requires."""
    return _REQUIRED[signature_name or signatures.DEFAULT_SIGNATURE]


def build_recall_inputs(request: RecallRequest) -> tuple[str, dict[str, np.ndarray]]:
    """The signature and the inputs that ask for one request.

    Returns:
        Name of the signature, and inputs by name: those it requires and those
        that differ from their defaults.

    Raises:
        InputError: No signature takes it: it asks for a history and for items
            at once, or a number does not fit its type.
    """
    check_one_subject(request)
    signature_name = next(
        (
            name
            for name in (USER_VECTORS_SIGNATURE, SIMILAR_ITEMS_SIGNATURE)
            if _is_given(request, INPUTS[name][subject_input(name)].field)
        ),
        signatures.DEFAULT_SIGNATURE,
    )
    inputs = {}
    for name, spec in INPUTS[signature_name].items():
        value = getattr(request, spec.field)
        if name != subject_input(signature_name) and not _is_given(request, spec.field):
            continue
        try:
            array = np.array(value, dtype=tensors.numpy_dtype(spec.dtype))
        except OverflowError as error:
            raise InputError(f"`{spec.field}` is too large, received {value}.") from error
        inputs[name] = array if spec.shape is _ANY_RANK else array[None]
    return signature_name, inputs


def _is_given(request: RecallRequest, field: str) -> bool:
    value = getattr(request, field)
    return isinstance(value, np.ndarray) or value != getattr(RecallRequest, field)


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
        specs[name].field: _values(name, specs[name], array, batch_size, subject)
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


def parse_outputs(outputs: Mapping[str, np.ndarray]) -> RecallResponse:
    """Outputs of the model `recall` for a batch of one, without the padding.

    Args:
        outputs: By name, as `recall_servable.RecallServable` gives them.
    """
    item_ids = outputs["item_ids"][0]
    found = item_ids.astype(np.bool_)  # "" is padding.
    return RecallResponse(
        item_ids[found].astype(np.bytes_),
        outputs["scores"][0][found],
        outputs["interests"][0][found],
        *(outputs[name][0].item() for name in RESPONSE_FACTS),
        metadata=parse_metadata(outputs, found) if METADATA_OUTPUTS[0] in outputs else None,
        interest_weights=tuple(outputs[INTERESTS_OUTPUT][0].tolist())
        if INTERESTS_OUTPUT in outputs
        else None,
        unknown_categories=parse_unknown(outputs),
    )


def _not_utf8(name: str) -> ServingError:
    return invalid_argument(f"{name} holds a text that is not valid UTF-8.")


def _values(
    name: str, spec: InputSpec, array: np.ndarray, batch_size: int, subject: str
) -> list[Any]:
    """The field of every row of the batch; one for all is parsed once."""
    if spec.shape is _ANY_RANK:
        rows, given = array.ravel().tolist(), f"the shape {list(array.shape)}"
    else:
        rows = array if len(array) or not batch_size else np.empty((1, 0), dtype=array.dtype)
        given = f"{len(array)} rows"
    if len(rows) not in (1, batch_size):
        raise invalid_argument(
            f"{name} has {given}; send one for all, or one for each of the {batch_size} rows "
            f"of {subject}."
        )
    try:
        values = [spec.parse(row) for row in rows]
    except UnicodeDecodeError as error:
        raise _not_utf8(name) from error
    return values if len(values) == batch_size else values * batch_size


def _signature_def(signature_name: str) -> "meta_graph_pb2.SignatureDef":
    specs = INPUTS[signature_name]
    optional = [name for name in specs if name != _REQUIRED[signature_name]]
    return signatures.signature_def(
        {name: (spec.dtype, spec.shape) for name, spec in specs.items()},
        OUTPUTS,
        {name: _default(specs[name]) for name in optional},
    )


def _default(spec: InputSpec) -> np.ndarray:
    """The default of the request's field as a tensor; an empty row for a list."""
    dtype = tensors.numpy_dtype(spec.dtype)
    value = getattr(RecallRequest, spec.field)
    if spec.shape is not _ANY_RANK:
        return np.empty((1, *(0 for _ in spec.shape[1:])), dtype=dtype)
    return np.array(0 if value is None else value, dtype=dtype)
