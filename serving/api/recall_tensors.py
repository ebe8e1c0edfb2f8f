"""The Predict signatures of the recall service: which inputs there are and what they mean.

Every field of a `RecallRequest` is an input of one name and one type; here is
the table, and what callers need: the way from a request to tensors, and from
tensors to the answer. `serving.servables.recall_rows` has the server's half. One
signature more gives vectors of items. Imports neither TensorFlow nor NumPy.
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from serving.api.conditions import UnknownValue
from serving.api.recall_limits import check_one_subject
from serving.api.recall_request import (
    REQUEST_FIELDS,
    RESPONSE_FACTS,
    ItemMetadata,
    RecallRequest,
    RecallResponse,
)
from serving.api.request_fields import FieldSpec, Kind
from serving.protocol import plain_tensors
from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol.plain_tensors import PlainTensor
from serving.protocol.tensor_messages import DEFAULT_SIGNATURE

USER_VECTORS_SIGNATURE = "user_vectors"
"""Ready vectors instead of a history, for callers with a user tower of their own."""

SIMILAR_ITEMS_SIGNATURE = "similar_items"
"""Items like given ones."""

ITEM_VECTORS_SIGNATURE = "item_vectors"
"""No request: what a front over shards searches with for items like given ones. The names
are those of the item tower, which knows nothing of live items."""

METADATA_OUTPUTS = ("titles", "categories")
"""Names of the outputs of `with_metadata`."""

INTERESTS_OUTPUT = "interest_weights"
"""Name of the output of `with_interests`."""

UNKNOWN_OUTPUT = "unknown_categories"
"""Name of the output of `RecallResponse.unknown_categories`."""

UNKNOWN_VALUES_OUTPUT = "unknown_values"
"""Name of the output of `RecallResponse.unknown_values`: pairs of attribute and value."""

_MATRIX, ANY_RANK = (-1, -1), None

_TENSORS = {
    Kind.TEXTS: (types_pb2.DT_STRING, _MATRIX),
    Kind.NUMBERS: (types_pb2.DT_FLOAT, _MATRIX),
    Kind.VECTORS: (types_pb2.DT_FLOAT, (-1, -1, -1)),
    Kind.TEXT: (types_pb2.DT_STRING, ANY_RANK),
    Kind.INTEGER: (types_pb2.DT_INT32, ANY_RANK),
    Kind.NUMBER: (types_pb2.DT_FLOAT, ANY_RANK),
    Kind.SWITCH: (types_pb2.DT_BOOL, ANY_RANK),
    **{kind: (types_pb2.DT_STRING, ANY_RANK) for kind in Kind if kind.is_document},
}
"""What each kind of field is as a tensor: data type and shape. Documents are JSON in a text."""


class InputSpec(NamedTuple):
    """One input tensor.

    Attributes:
        field: What is declared of the field of `RecallRequest` that it becomes.
        dtype: A number of `types_pb2.DataType`.
        shape: -1 is any size; `ANY_RANK` is one value for all rows, or one per row.
    """

    field: FieldSpec
    dtype: int
    shape: tuple[int, ...] | None


_SUBJECTS = {
    DEFAULT_SIGNATURE: "history",
    USER_VECTORS_SIGNATURE: "user_vectors",
    SIMILAR_ITEMS_SIGNATURE: "similar_to",
}
"""The field that each signature asks about; its input gives the number of rows."""


def _inputs_of(subject: str) -> dict[str, InputSpec]:
    """Inputs of one signature: the required one, its own, and those of every signature."""
    fields = [field for field in REQUEST_FIELDS if subject in (field.name, field.subject)]
    fields += [f for f in REQUEST_FIELDS if not f.is_subject and not f.subject]
    return {field.input_name: InputSpec(field, *_TENSORS[field.kind]) for field in fields}


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
    "unknown_values": (types_pb2.DT_STRING, (-1, -1, 2)),
}
"""Outputs of every signature that takes requests; see `METADATA_OUTPUTS`, `INTERESTS_OUTPUT`."""


def subject_input(signature_name: str) -> str:
    """Name of the input that a signature requires."""
    return _REQUIRED[signature_name or DEFAULT_SIGNATURE]


def build_recall_inputs(request: RecallRequest) -> tuple[str, dict[str, PlainTensor]]:
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
            if INPUTS[name][subject_input(name)].field.is_given(request)
        ),
        DEFAULT_SIGNATURE,
    )
    inputs = {}
    for name, (field, dtype, shape) in INPUTS[signature_name].items():
        if name == subject_input(signature_name) or field.is_given(request):
            value = getattr(request, field.name)
            if field.kind.is_document:
                value = json.dumps(value)
            tensor = plain_tensors.build(field.name, value, dtype)
            is_row = shape is not ANY_RANK
            inputs[name] = tensor._replace(shape=(1, *tensor.shape)) if is_row else tensor
    return signature_name, inputs


def parse_outputs(outputs: Mapping[str, Any]) -> RecallResponse:
    """Outputs of the model `recall` for a batch of one, without the padding.

    Args:
        outputs: Nested lists by name, as `recall_servable.RecallServable` gives arrays.
    """
    item_ids = outputs["item_ids"][0]  # b"" is padding.
    scores, interests = (
        list(itertools.compress(outputs[name][0], item_ids)) for name in ("scores", "interests")
    )
    has_metadata = METADATA_OUTPUTS[0] in outputs
    columns = [outputs[name][0] for name in METADATA_OUTPUTS] if has_metadata else []
    return RecallResponse(
        [item_id.decode() for item_id in item_ids if item_id],
        scores,
        interests,
        *(outputs[name][0] for name in RESPONSE_FACTS),
        metadata=parse_metadata(*columns, item_ids) if has_metadata else None,
        interest_weights=tuple(outputs[INTERESTS_OUTPUT][0])
        if INTERESTS_OUTPUT in outputs
        else None,
        unknown_categories=parse_unknown(outputs),
        unknown_values=parse_unknown_values(outputs),
    )


def parse_unknown(outputs: Mapping[str, Any]) -> tuple[str, ...]:
    """The outputs for a batch of one -> `RecallResponse.unknown_categories`."""
    if UNKNOWN_OUTPUT not in outputs:
        return ()
    return tuple(name.decode() for name in outputs[UNKNOWN_OUTPUT][0] if name)


def parse_unknown_values(outputs: Mapping[str, Any]) -> tuple[UnknownValue, ...]:
    """The outputs for a batch of one -> `RecallResponse.unknown_values`."""
    if UNKNOWN_VALUES_OUTPUT not in outputs:
        return ()
    pairs = outputs[UNKNOWN_VALUES_OUTPUT][0]
    return tuple(UnknownValue(name.decode(), value.decode()) for name, value in pairs if name)


def parse_metadata(
    titles: Iterable[bytes], categories: Iterable[Iterable[bytes]], found: Iterable[Any]
) -> ItemMetadata:
    """One row of the outputs of `with_metadata` -> titles and categories.

    Args:
        titles: `[k]`.
        categories: `[k, most categories of an item]`, padded with b"".
        found: `[k]`, true where a place holds an item.
    """
    found = list(found)
    return ItemMetadata(
        tuple(title.decode() for title in itertools.compress(titles, found)),
        tuple(
            tuple(name.decode() for name in names if name)
            for names in itertools.compress(categories, found)
        ),
    )
