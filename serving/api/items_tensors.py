"""The Predict signatures of items, which change and are found: their inputs and outputs.

Imports no TensorFlow until signatures are made.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recall.errors import InputError
from serving.api.item_changes import ITEM_FIELDS, ItemField, ItemUpsert
from serving.api.item_search import DEFAULT_FOUND, FoundItem, FoundItems
from serving.api.request_fields import Kind
from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol import signatures, tensors
from serving.protocol.status import invalid_argument

if TYPE_CHECKING:
    from tensorflow.core.protobuf import meta_graph_pb2

UPSERT, DELETE, STATUS = "upsert", "delete", "status"
SEARCH, LOOKUP = "search", "lookup"

_TENSORS = {
    Kind.TEXT: (types_pb2.DT_STRING, (-1,)),
    Kind.TEXTS: (types_pb2.DT_STRING, (-1, -1)),
    Kind.NUMBERS: (types_pb2.DT_FLOAT, (-1, -1)),
}
"""What each kind of field is as a tensor of all items: data type and shape. Lists of
texts are padded with "". A row of "", a text "" or numbers NaN say nothing, as no rows
at all do: what the release knows of the item then stays."""

_ID, *_OPTIONAL = ITEM_FIELDS

_ITEM_IDS = {_ID.input_name: _TENSORS[_ID.kind]}

_INPUTS = {
    UPSERT: {field.input_name: _TENSORS[field.kind] for field in ITEM_FIELDS},
    DELETE: _ITEM_IDS,
    STATUS: {},
}


def _nothing(dtype: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.empty((0,) * len(shape), dtype=tensors.numpy_dtype(dtype))


_DEFAULTS = {field.input_name: _nothing(*_TENSORS[field.kind]) for field in _OPTIONAL}

_OUTPUTS = {
    UPSERT: ("sequence", "num_items", "num_changed"),
    DELETE: ("sequence", "num_items", "num_changed"),
    STATUS: ("sequence", "num_upserted", "num_deleted"),
}
"""All are one int64."""


_QUERY, _K = "query", "k"

_OF_ITEMS = {
    **_ITEM_IDS,
    "titles": (types_pb2.DT_STRING, (-1,)),
    "categories": (types_pb2.DT_STRING, (-1, -1)),
    "num_clicks": (types_pb2.DT_INT64, (-1,)),
    "in_release": (types_pb2.DT_BOOL, (-1,)),
    "is_served": (types_pb2.DT_BOOL, (-1,)),
}
"""The fields of `FoundItem`, in their order; categories are padded with ""."""

_OF_SEARCH = {
    "ranks": (types_pb2.DT_INT32, (-1,)),
    "is_complete": (types_pb2.DT_BOOL, ()),
}


def items_signature_defs() -> "dict[str, meta_graph_pb2.SignatureDef]":
    """The signatures as clients may ask for them, with defaults of optional inputs."""
    changes = {
        name: signatures.signature_def(
            inputs, dict.fromkeys(_OUTPUTS[name], (types_pb2.DT_INT64, ())), _DEFAULTS
        )
        for name, inputs in _INPUTS.items()
    }
    search = signatures.signature_def(
        {_QUERY: (types_pb2.DT_STRING, None), _K: (types_pb2.DT_INT32, None)},
        {**_OF_ITEMS, **_OF_SEARCH},
        {_K: np.array(DEFAULT_FOUND, np.int32)},
    )
    lookup = signatures.signature_def(_ITEM_IDS, _OF_ITEMS, {})
    return {**changes, SEARCH: search, LOOKUP: lookup}


def parse_changed_ids(inputs: Mapping[str, np.ndarray]) -> list[str]:
    """The raw ids of the inputs.

    Raises:
        ServingError: INVALID_ARGUMENT, one is not UTF-8.
    """
    return _parse_text(_ID.input_name, inputs[_ID.input_name])


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


def build_delete_inputs(item_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """The inputs of `delete` and `lookup`; `parse_changed_ids` reads them."""
    return {_ID.input_name: tensors.pad_strings([item_ids])[0]}


def build_upsert_inputs(items: Sequence[ItemUpsert]) -> dict[str, np.ndarray]:
    """The inputs of `upsert`; `parse_upserts` reads them.

    Raises:
        InputError: Vectors have different lengths.
    """
    inputs = {}
    for field in ITEM_FIELDS:
        values = [getattr(item, field.name) for item in items]
        if field.kind is Kind.TEXT:
            inputs[field.input_name] = tensors.pad_strings([values])[0]
        elif field.kind is Kind.TEXTS:
            inputs[field.input_name] = tensors.pad_strings(values)
        elif any(value is not None for value in values):
            inputs[field.input_name] = _stack(field, values)
    return inputs


def _stack(field: ItemField, values: Sequence[Sequence[float] | None]) -> np.ndarray:
    """Rows of numbers; NaN where there are none."""
    lengths = {len(row) for row in values if row is not None}
    if len(lengths) > 1:
        raise InputError(f"The {field.input_name} of one call have different lengths.")
    nothing = np.full(lengths.pop(), np.nan, np.float32)
    rows = [nothing if row is None else row for row in values]
    return np.array(rows, dtype=tensors.numpy_dtype(_TENSORS[field.kind][0]))


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


_PARSERS = {
    Kind.TEXT: _parse_text,
    Kind.TEXTS: _parse_texts,
    Kind.NUMBERS: _parse_numbers,
}
"""How all rows of an input are read."""


def build_search(query: str, k: int) -> dict[str, np.ndarray]:
    """The inputs of `search`; `parse_search` reads them."""
    return {_QUERY: np.array(query.encode(), dtype=object), _K: np.array(k, np.int32)}


def parse_search(inputs: Mapping[str, np.ndarray]) -> tuple[str, int]:
    """What is searched for, and how many items are wanted.

    Raises:
        ServingError: INVALID_ARGUMENT, an input is not one value, or the text is not UTF-8.
    """
    for name, array in inputs.items():
        if array.size != 1:
            raise invalid_argument(f"{name} must be one value, received {array.size}.")
    return _parse_text(_QUERY, inputs[_QUERY].ravel())[0], int(inputs[_K].item())


def build_items(items: Sequence[FoundItem]) -> dict[str, np.ndarray]:
    """The outputs that tell of items."""
    columns = list(zip(*items, strict=True)) or [()] * len(FoundItem._fields)
    item_ids, titles, categories, *numbers = columns
    texts = [np.array([text.encode() for text in c], object) for c in (item_ids, titles)]
    types = [tensors.numpy_dtype(dtype) for dtype, _ in list(_OF_ITEMS.values())[3:]]
    arrays = [np.array(column, dtype) for column, dtype in zip(numbers, types, strict=True)]
    return dict(zip(_OF_ITEMS, [*texts, tensors.pad_strings(categories), *arrays], strict=True))


def build_found(found: FoundItems) -> dict[str, np.ndarray]:
    """The outputs of `search`."""
    return {
        **build_items(found.items),
        "ranks": np.array(found.ranks, np.int32),
        "is_complete": np.array(found.is_complete),
    }


def parse_items(outputs: Mapping[str, np.ndarray]) -> list[FoundItem]:
    """What `build_items` writes."""
    ids, titles, categories, *numbers = (outputs[name].tolist() for name in _OF_ITEMS)
    names = [tuple(name.decode() for name in row if name) for row in categories]
    texts = ([text.decode() for text in column] for column in (ids, titles))
    return [FoundItem(*values) for values in zip(*texts, names, *numbers, strict=True)]


def parse_found(outputs: Mapping[str, np.ndarray]) -> FoundItems:
    """What `build_found` writes."""
    ranks = tuple(outputs["ranks"].tolist())
    return FoundItems(tuple(parse_items(outputs)), ranks, bool(outputs["is_complete"]))
