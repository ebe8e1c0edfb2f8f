"""Rows of tensors and what they say of items: changes and searches in, answers out.

The tables of inputs and outputs are in `serving.api.items_tensors`, with the callers' half.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.api.item_changes import ITEM_FIELDS, ItemUpsert
from serving.api.item_search import DEFAULT_FOUND, FoundItem, FoundItems
from serving.api.items_tensors import (
    DELETE,
    ID_FIELD,
    ITEM_TENSORS,
    K_INPUT,
    LOOKUP,
    OUTPUTS_OF_ITEMS,
    QUERY_INPUT,
    SEARCH,
    STATUS,
    UPSERT,
)
from serving.api.request_fields import Kind
from serving.protocol import json_fields, signatures, tensors
from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol.status import invalid_argument

_OPTIONAL = ITEM_FIELDS[1:]
_ITEM_IDS = {ID_FIELD.input_name: ITEM_TENSORS[ID_FIELD.kind]}

_INPUTS = {
    UPSERT: {field.input_name: ITEM_TENSORS[field.kind] for field in ITEM_FIELDS},
    DELETE: _ITEM_IDS,
    STATUS: {},
}


def _nothing(dtype: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.empty((0,) * len(shape), dtype=tensors.numpy_dtype(dtype))


_DEFAULTS = {field.input_name: _nothing(*ITEM_TENSORS[field.kind]) for field in _OPTIONAL}

_OUTPUTS = {
    UPSERT: ("sequence", "num_items", "num_changed"),
    DELETE: ("sequence", "num_items", "num_changed"),
    STATUS: ("sequence", "num_upserted", "num_deleted"),
}
"""All are one int64."""

_OF_SEARCH = {
    "ranks": (types_pb2.DT_INT32, (-1,)),
    "is_complete": (types_pb2.DT_BOOL, ()),
}


def items_signature_defs() -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures as clients may ask for them, with defaults of optional inputs."""
    changes = {
        name: signatures.signature_def(
            inputs, dict.fromkeys(_OUTPUTS[name], (types_pb2.DT_INT64, ())), _DEFAULTS
        )
        for name, inputs in _INPUTS.items()
    }
    search = signatures.signature_def(
        {QUERY_INPUT: (types_pb2.DT_STRING, None), K_INPUT: (types_pb2.DT_INT32, None)},
        {**OUTPUTS_OF_ITEMS, **_OF_SEARCH},
        {K_INPUT: np.array(DEFAULT_FOUND, np.int32)},
    )
    lookup = signatures.signature_def(_ITEM_IDS, OUTPUTS_OF_ITEMS, {})
    return {**changes, SEARCH: search, LOOKUP: lookup}


def parse_changed_ids(inputs: Mapping[str, np.ndarray]) -> list[str]:
    """The raw ids of the inputs.

    Raises:
        ServingError: INVALID_ARGUMENT, one is not UTF-8.
    """
    return _parse_text(ID_FIELD.input_name, inputs[ID_FIELD.input_name])


def parse_upserts(inputs: Mapping[str, np.ndarray]) -> list[ItemUpsert]:
    """Rows of the inputs -> items.

    Raises:
        ServingError: INVALID_ARGUMENT, a text is not UTF-8, or the rows do not fit together.
    """
    item_ids = parse_changed_ids(inputs)
    for name in _DEFAULTS:
        if len(inputs[name]) not in (0, len(item_ids)):
            raise invalid_argument(
                f"{name} has {len(inputs[name])} rows, item_ids {len(item_ids)}. "
                "Send one row for each item, or none."
            )
    columns = [
        _PARSERS[field.kind](field.input_name, inputs[field.input_name])
        or [field.default] * len(item_ids)
        for field in _OPTIONAL
    ]
    return [ItemUpsert(*item) for item in zip(item_ids, *columns, strict=True)]


def _parse_text(name: str, values: np.ndarray) -> list[str]:
    try:
        return [value.decode() for value in values.tolist()]
    except UnicodeDecodeError as error:
        raise invalid_argument(f"{name} holds a text that is not valid UTF-8.") from error


def _parse_texts(name: str, rows: np.ndarray) -> list[tuple[str, ...]]:
    return [tuple(filter(None, _parse_text(name, row))) for row in rows]


def _parse_numbers(name: str, rows: np.ndarray) -> list[np.ndarray | None]:
    del name
    return [None if np.isnan(row).all() else row for row in rows]


def _parse_values(name: str, rows: np.ndarray) -> list[dict[str, Any] | None]:
    found: list[dict[str, Any] | None] = []
    for text in _parse_text(name, rows):
        try:
            found.append(json_fields.read_values(name, json.loads(text)) if text else None)
        except (ValueError, RecursionError) as error:
            raise invalid_argument(f"{name} holds a text that is no JSON object.") from error
    return found


_PARSERS = {
    Kind.TEXT: _parse_text,
    Kind.TEXTS: _parse_texts,
    Kind.NUMBERS: _parse_numbers,
    Kind.VALUES: _parse_values,
}
"""How all rows of an input are read."""


def parse_search(inputs: Mapping[str, np.ndarray]) -> tuple[str, int]:
    """What is searched for, and how many items are wanted.

    Raises:
        ServingError: INVALID_ARGUMENT, an input is not one value, or the text is not UTF-8.
    """
    for name, array in inputs.items():
        if array.size != 1:
            raise invalid_argument(f"{name} must be one value, received {array.size}.")
    return _parse_text(QUERY_INPUT, inputs[QUERY_INPUT].ravel())[0], int(inputs[K_INPUT].item())


def build_items(items: Sequence[FoundItem]) -> dict[str, np.ndarray]:
    """The outputs that tell of items."""
    columns = list(zip(*items, strict=True)) or [()] * len(FoundItem._fields)
    item_ids, titles, categories, *numbers = columns
    texts = [np.array([text.encode() for text in c], object) for c in (item_ids, titles)]
    types = [tensors.numpy_dtype(dtype) for dtype, _ in list(OUTPUTS_OF_ITEMS.values())[3:]]
    arrays = [np.array(column, dtype) for column, dtype in zip(numbers, types, strict=True)]
    return dict(
        zip(OUTPUTS_OF_ITEMS, [*texts, tensors.pad_strings(categories), *arrays], strict=True)
    )


def build_found(found: FoundItems) -> dict[str, np.ndarray]:
    """The outputs of `search`."""
    return {
        **build_items(found.items),
        "ranks": np.array(found.ranks, np.int32),
        "is_complete": np.array(found.is_complete),
    }
