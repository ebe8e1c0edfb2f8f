"""The JSON documents of the HTTP API as JSON Schema, made from the declarations of their fields.

Imports no TensorFlow. Names, types, defaults, limits and words of a field are those of its
one declaration: `RecallRequest`, `RecallResponse`, `ItemUpsert` and `FoundItem`.
"""

import dataclasses
import inspect
import re
from typing import Any, get_type_hints

from serving.api import item_changes, item_search
from serving.api.conditions import UnknownValue
from serving.api.item_changes import ITEM_FIELDS, Acknowledgement, ItemField, ItemUpsert
from serving.api.item_search import FoundItem
from serving.api.recall_limits import RecallLimits
from serving.api.recall_request import (
    POOLED_MERGES,
    REQUEST_FIELDS,
    RESPONSE_FACTS,
    RecalledItem,
    RecallRequest,
    RecallResponse,
)
from serving.api.request_fields import FieldSpec, Kind

Schema = dict[str, Any]

_ENTRY = re.compile(r"^    (\w+):\s+(.*(?:\n {8,}.*)*)", re.MULTILINE)

_SCALARS: dict[type, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    tuple[str, ...]: {"type": "array", "items": {"type": "string"}},
}
"""What the annotation of a value in an answer is."""

_ID: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": item_changes.MAX_ID_LENGTH,
    # `recall.item_ids.UNUSABLE_ITEM_ID`, as JSON Schema has it.
    "pattern": r"^[^\n\r]*[^\n\r\u0000]$",
}


def attribute_texts(of: type) -> dict[str, str]:
    """What the docstring of a class says of each attribute, in one line.

    >>> attribute_texts(Acknowledgement)["sequence"]
    'Number of the change, higher than all before.'
    """
    attributes = inspect.cleandoc(of.__doc__ or "").partition("Attributes:\n")[2]
    return {name: " ".join(text.split()) for name, text in _ENTRY.findall(attributes)}


def recall_request_schema(limits: RecallLimits) -> Schema:
    """One request of `POST /recall`."""
    texts = attribute_texts(RecallRequest)
    subjects = [field.name for field in REQUEST_FIELDS if field.is_subject]
    return {
        "type": "object",
        "description": "What one user is to be recommended: by a history, by ready vectors of "
        "the user tower, or items like given ones.",
        "properties": {
            field.name: {**_field_schema(field, limits), "description": texts.get(field.name, "")}
            for field in REQUEST_FIELDS
        },
        "additionalProperties": False,
        "anyOf": [{"required": [name]} for name in subjects],
        "allOf": [{"not": clash} for clash in _clashes(subjects)],
    }


def _clashes(subjects: list[str]) -> list[Schema]:
    """What may not be asked for at once: see `recall_limits.check_requests`."""
    filled = {"minItems": 1}
    pairs = [(a, b) for place, a in enumerate(subjects) for b in subjects[place + 1 :]]
    return [
        *({"required": list(pair), "properties": dict.fromkeys(pair, filled)} for pair in pairs),
        {
            "required": ["merge", "max_per_category"],
            "properties": {"merge": {"enum": list(POOLED_MERGES)}},
        },
    ]


def _field_schema(field: FieldSpec, limits: RecallLimits) -> Schema:
    """One field of a recall request, without its words."""
    limit = getattr(limits, field.limit) if field.limit else None
    schema = _KINDS[field.kind](field, limit, limits)
    if field.default not in (None, "", ()):
        schema["default"] = field.default
    return schema


def _texts_schema(field: FieldSpec, limit: int, limits: RecallLimits) -> Schema:
    text = {"type": "string", "maxLength": limits.max_text_length}
    schema = {"type": "array", "items": text, "maxItems": limit}
    return {**schema, "minItems": 1} if field.is_restriction else schema


def _weights_schema(field: FieldSpec, limit: int, limits: RecallLimits) -> Schema:
    number = {"type": "number", "minimum": 0, "maximum": limits.max_interest_weight}
    some = [{"maxItems": 0}, {"contains": {"type": "number", "exclusiveMinimum": 0}}]
    return {"type": "array", "items": number, "maxItems": limit, "anyOf": some}


def _vectors_schema(field: FieldSpec, limit: int, limits: RecallLimits) -> Schema:
    most = limits.max_vector_value
    row = {"type": "array", "items": {"type": "number", "minimum": -most, "maximum": most}}
    return {"type": "array", "items": {**row, "minItems": 1}, "minItems": 1, "maxItems": limit}


def _text_schema(field: FieldSpec, limit: None, limits: RecallLimits) -> Schema:
    return {"type": "string", **({"enum": list(field.choices)} if field.choices else {})}


def _where_schema(limits: RecallLimits) -> Schema:
    value = {"type": ["string", "number", "boolean"], "maxLength": limits.max_text_length}
    several = {"type": "array", "items": value, "minItems": 1, "maxItems": limits.max_categories}
    ends = {
        "type": "object",
        "properties": {"min": value, "max": value},
        "additionalProperties": False,
        "minProperties": 1,
    }
    return {
        "type": "object",
        "additionalProperties": {"anyOf": [value, several, ends]},
        "maxProperties": limits.max_conditions,
    }


def _boosts_schema(field: FieldSpec, limit: int, limits: RecallLimits) -> Schema:
    most = limits.max_boost
    boost = {
        "type": "object",
        "properties": {
            "where": _where_schema(limits),
            "multiply": {"type": "number", "minimum": 1 / most, "maximum": most},
            "add": {"type": "number", "minimum": -most, "maximum": most},
        },
        "required": ["where"],
        "minProperties": 2,
        "additionalProperties": False,
    }
    return {"type": "array", "items": boost, "maxItems": limit}


_KINDS = {
    Kind.TEXTS: _texts_schema,
    Kind.NUMBERS: _weights_schema,
    Kind.VECTORS: _vectors_schema,
    Kind.TEXT: _text_schema,
    Kind.INTEGER: lambda field, limit, limits: {"type": "integer", "minimum": 1, "maximum": limit},
    Kind.NUMBER: lambda field, limit, limits: {"type": "number", "minimum": 0, "maximum": limit},
    Kind.SWITCH: lambda field, limit, limits: {"type": "boolean"},
    Kind.VALUES: lambda field, limit, limits: {
        "type": "object",
        "additionalProperties": _FEATURE_VALUE,
    },
    Kind.CONDITIONS: lambda field, limit, limits: _where_schema(limits),
    Kind.BOOSTS: _boosts_schema,
}
"""What each kind of field is: of the field, its limit, and all limits."""


def recall_response_schema() -> Schema:
    """The answer to one request of `POST /recall`."""
    metadata = {"title": _SCALARS[str], "categories": _SCALARS[tuple[str, ...]]}
    item = record_schema(RecalledItem)
    item["properties"] |= metadata
    texts = attribute_texts(RecallResponse)
    types = {field.name: field.type for field in dataclasses.fields(RecallResponse)}
    facts = {name: {**_SCALARS[types[name]], "description": texts[name]} for name in RESPONSE_FACTS}
    weights = {"type": "array", "items": {"type": "number"}}
    unknown = {**_SCALARS[tuple[str, ...]], "minItems": 1}
    values = {"type": "array", "items": record_schema(UnknownValue), "minItems": 1}
    return {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": item, "description": "Best first."},
            **facts,
            "interest_weights": {**weights, "description": texts["interest_weights"]},
            "unknown_categories": {**unknown, "description": texts["unknown_categories"]},
            "unknown_values": {**values, "description": texts["unknown_values"]},
        },
        "required": ["items", *facts],
    }


def record_schema(of: type) -> Schema:
    """A value of an answer that is a named tuple; all of its fields are there."""
    texts = attribute_texts(of)
    properties = {
        name: {**_SCALARS[kind], "description": texts[name]}
        for name, kind in get_type_hints(of).items()
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def upsert_schema() -> Schema:
    """The body of `POST /items:upsert`."""
    texts = attribute_texts(ItemUpsert)
    item = {
        "type": "object",
        "properties": {
            field.key: {**_item_field_schema(field), "description": texts[field.name]}
            for field in ITEM_FIELDS
        },
        "required": [ITEM_FIELDS[0].key],
        "additionalProperties": False,
    }
    return _list_schema("items", item, 1, item_changes.MAX_CHANGES)


_PLAIN = {"type": ["string", "number", "boolean"], "maxLength": item_changes.MAX_TEXT_LENGTH}
_FEATURE_VALUE = {
    "anyOf": [
        _PLAIN,
        {"type": "null"},
        {"type": "array", "items": _PLAIN, "maxItems": item_changes.MAX_FEATURE_VALUES},
    ]
}


def _item_field_schema(field: ItemField) -> Schema:
    if field is ITEM_FIELDS[0]:
        return dict(_ID)
    text = {"type": "string", "maxLength": item_changes.MAX_TEXT_LENGTH}
    schema = {
        Kind.TEXT: text,
        Kind.TEXTS: {
            "type": "array",
            "items": {**text, "minLength": 1},
            "maxItems": item_changes.MAX_CATEGORIES,
        },
        Kind.NUMBERS: {"type": "array", "items": {"type": "number"}},
        Kind.VALUES: {
            "type": "object",
            "maxProperties": item_changes.MAX_CATEGORIES,
            "additionalProperties": _FEATURE_VALUE,
        },
    }[field.kind]
    return {**schema, "type": [schema["type"], "null"]}  # null says nothing, as a missing key.


def delete_schema() -> Schema:
    """The body of `POST /items:delete`."""
    return _list_schema("ids", dict(_ID), 1, item_changes.MAX_CHANGES)


def lookup_schema() -> Schema:
    """The body of `POST /items:lookup`."""
    text = {"type": "string", "maxLength": item_changes.MAX_ID_LENGTH}
    return _list_schema("ids", text, 0, item_search.MAX_LOOKED_UP)


def _list_schema(key: str, item: Schema, fewest: int, most: int) -> Schema:
    """An object of one list."""
    listed = {"type": "array", "items": item, "minItems": fewest, "maxItems": most}
    return {
        "type": "object",
        "properties": {key: listed},
        "required": [key],
        "additionalProperties": False,
    }


def search_schema() -> Schema:
    """The body of `POST /items:search`."""
    return {
        "type": "object",
        "properties": {
            "query": {
                "type": "string",
                "maxLength": item_search.MAX_QUERY_LENGTH,
                "description": "Words of a title, or an id; case, accents and punctuation do "
                "not count.",
            },
            "k": {
                "type": "integer",
                "minimum": 1,
                "maximum": item_search.MAX_FOUND,
                "default": item_search.DEFAULT_FOUND,
                "description": "Most items.",
            },
        },
        "required": ["query"],
        "additionalProperties": False,
    }


def found_schema(*, of_search: bool) -> Schema:
    """The answer to `POST /items:search` or `POST /items:lookup`."""
    properties: Schema = {"items": {"type": "array", "items": record_schema(FoundItem)}}
    if of_search:
        text = attribute_texts(item_search.FoundItems)["is_complete"]
        properties["is_complete"] = {"type": "boolean", "description": text}
    return {"type": "object", "properties": properties, "required": list(properties)}


def acknowledgement_schema() -> Schema:
    """The answer to a change of items."""
    return record_schema(Acknowledgement)
