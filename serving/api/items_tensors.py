"""The Predict signatures of items, which change and are found: their inputs and outputs.

Here are the tables, and what callers need: the way from items to tensors, and from tensors
to answers. `serving.servables.items_rows` has the server's half. Imports neither TensorFlow
nor NumPy.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from recall.errors import InputError
from serving.api.item_changes import ITEM_FIELDS, ItemField, ItemUpsert
from serving.api.item_search import FoundItem, FoundItems
from serving.api.request_fields import Kind
from serving.protocol import plain_tensors
from serving.protocol import predict_messages_pb2 as types_pb2
from serving.protocol.plain_tensors import PlainTensor

UPSERT, DELETE, STATUS = "upsert", "delete", "status"
SEARCH, LOOKUP = "search", "lookup"

ITEM_TENSORS = {
    Kind.TEXT: (types_pb2.DT_STRING, (-1,)),
    Kind.TEXTS: (types_pb2.DT_STRING, (-1, -1)),
    Kind.NUMBERS: (types_pb2.DT_FLOAT, (-1, -1)),
    Kind.VALUES: (types_pb2.DT_STRING, (-1,)),
}
"""What each kind of field is as a tensor of all items: data type and shape. Lists of
texts are padded with "", values with names are a JSON object in a text. A row of "", a text
"" or numbers NaN say nothing, as no rows at all do: what the release knows of the item then
stays."""

ID_FIELD = ITEM_FIELDS[0]

QUERY_INPUT, K_INPUT = "query", "k"
"""The inputs of `search`."""

OUTPUTS_OF_ITEMS = {
    ID_FIELD.input_name: ITEM_TENSORS[ID_FIELD.kind],
    "titles": (types_pb2.DT_STRING, (-1,)),
    "categories": (types_pb2.DT_STRING, (-1, -1)),
    "num_clicks": (types_pb2.DT_INT64, (-1,)),
    "in_release": (types_pb2.DT_BOOL, (-1,)),
    "is_served": (types_pb2.DT_BOOL, (-1,)),
}
"""The fields of `FoundItem`, in their order; categories are padded with ""."""


def build_delete_inputs(item_ids: Sequence[str]) -> dict[str, PlainTensor]:
    """The inputs of `delete` and `lookup`."""
    name = ID_FIELD.input_name
    return {name: plain_tensors.build(name, item_ids, types_pb2.DT_STRING)}


def build_upsert_inputs(items: Sequence[ItemUpsert]) -> dict[str, PlainTensor]:
    """The inputs of `upsert`.

    Raises:
        InputError: Vectors have different lengths.
    """
    inputs = {}
    for field in ITEM_FIELDS:
        name, values = field.input_name, [getattr(item, field.name) for item in items]
        if field.kind is Kind.TEXT:
            inputs[name] = plain_tensors.build(name, values, types_pb2.DT_STRING)
        elif field.kind is Kind.TEXTS:
            inputs[name] = plain_tensors.pad_texts(name, values)
        elif all(value is None for value in values):
            continue
        elif field.kind is Kind.VALUES:
            texts = ["" if value is None else json.dumps(value) for value in values]
            inputs[name] = plain_tensors.build(name, texts, types_pb2.DT_STRING)
        else:
            inputs[name] = _stack(field, values)
    return inputs


def _stack(field: ItemField, values: Sequence[Sequence[float] | None]) -> PlainTensor:
    """Rows of numbers; NaN where there are none."""
    lengths = {len(row) for row in values if row is not None}
    if len(lengths) > 1:
        raise InputError(f"The {field.input_name} of one call have different lengths.")
    nothing = [math.nan] * lengths.pop()
    rows = [nothing if row is None else row for row in values]
    return plain_tensors.build(field.input_name, rows, ITEM_TENSORS[field.kind][0])


def build_search(query: str, k: int) -> dict[str, PlainTensor]:
    """The inputs of `search`."""
    return {
        QUERY_INPUT: plain_tensors.build(QUERY_INPUT, query, types_pb2.DT_STRING),
        K_INPUT: plain_tensors.build(K_INPUT, k, types_pb2.DT_INT32),
    }


def parse_items(outputs: Mapping[str, Any]) -> list[FoundItem]:
    """The outputs that tell of items, as nested lists -> what they tell."""
    ids, titles, categories, *numbers = (outputs[name] for name in OUTPUTS_OF_ITEMS)
    names = [tuple(name.decode() for name in row if name) for row in categories]
    texts = ([text.decode() for text in column] for column in (ids, titles))
    return [FoundItem(*values) for values in zip(*texts, names, *numbers, strict=True)]


def parse_found(outputs: Mapping[str, Any]) -> FoundItems:
    """The outputs of `search`, as nested lists."""
    found = tuple(parse_items(outputs))
    return FoundItems(found, tuple(outputs["ranks"]), outputs["is_complete"])
