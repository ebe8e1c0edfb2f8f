"""`/items`: live items in plain JSON.

Imports neither TensorFlow nor NumPy. `POST /items:upsert` takes `{"items": [{"id": "12",
"categories": ["red"], "title": "...", "vector": [...]}]}`, `POST /items:delete`
takes `{"ids": ["12"]}`, and `GET /items` tells the status. `POST /items:search` takes
`{"query": "red hat", "k": 10}`, `POST /items:lookup` `{"ids": ["12"]}`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from serving.api.item_changes import ITEM_FIELDS, MAX_CHANGES, ItemChanger, ItemUpsert
from serving.api.item_search import DEFAULT_FOUND, MAX_LOOKED_UP, FoundItem, ItemFinder
from serving.api.request_fields import Kind
from serving.protocol import json_fields
from serving.protocol.json_document import show
from serving.protocol.status import invalid_argument

_READERS: dict[Kind, Callable[[str, Any], Any]] = {
    Kind.TEXTS: json_fields.read_texts,
    Kind.TEXT: json_fields.read_text,
    Kind.NUMBERS: json_fields.read_numbers,
    Kind.VALUES: json_fields.read_values,
}

_ID, *_OPTIONAL = ITEM_FIELDS
_KEYS = tuple(field.key for field in ITEM_FIELDS)


def upsert(live_items: ItemChanger, document: Mapping[str, Any], *, version: int) -> dict[str, int]:
    """Answers `POST /items:upsert`.

    Args:
        live_items: What is changed.
        document: The decoded request.
        version: The version that answers.

    Raises:
        InputError: An item is not valid, or no vector can be had for it.
        ServingError: The document is malformed, or the change cannot be written.
    """
    listed = _list(document, "items", MAX_CHANGES)
    items = [_parse_item(position, item) for position, item in enumerate(listed)]
    return live_items.upsert(items, version=version)._asdict()


def delete(live_items: ItemChanger, document: Mapping[str, Any], *, version: int) -> dict[str, int]:
    """Answers `POST /items:delete`; the arguments and errors are those of `upsert`."""
    ids = json_fields.read_texts("ids", _list(document, "ids", MAX_CHANGES))
    return live_items.delete(ids, version=version)._asdict()


def search(
    finder: ItemFinder, document: Mapping[str, Any], *, version: int, timeout_s: float | None
) -> dict[str, Any]:
    """Answers `POST /items:search`.

    Args:
        finder: What is asked.
        document: The decoded request.
        version: The version that answers.
        timeout_s: Time left.

    Raises:
        InputError: The query is too long, or `k` out of range.
        ServingError: The document is malformed, or there is no answer.
    """
    json_fields.check_object("A search", document, ("query", "k"))
    if "query" not in document:
        raise invalid_argument("`query` is missing: a part of a title, or an id.")
    query = json_fields.read_text("query", document["query"])
    k = json_fields.read_integer("k", document.get("k", DEFAULT_FOUND))
    found = finder.search(query, k, version=version, timeout_s=timeout_s)
    return {"items": list(map(_show, found.items)), "is_complete": found.is_complete}


def describe(
    finder: ItemFinder, document: Mapping[str, Any], *, version: int, timeout_s: float | None
) -> dict[str, Any]:
    """Answers `POST /items:lookup`; the arguments and errors are those of `search`."""
    ids = json_fields.read_texts("ids", _list(document, "ids", MAX_LOOKED_UP))
    found = finder.look_up(ids, version=version, timeout_s=timeout_s)
    return {"items": list(map(_show, found))}


def _show(item: FoundItem) -> dict[str, Any]:
    return {**item._asdict(), "categories": list(item.categories)}


def _list(document: Mapping[str, Any], key: str, most: int) -> list[Any]:
    """The one list of a document."""
    if set(document) != {key} or not isinstance(document[key], list):
        raise invalid_argument(
            f"`{key}` must be a list and the only key, received {show(document)}."
        )
    if len(document[key]) > most:  # Said before each of them is read.
        raise invalid_argument(f"One call takes 1 to {most} items, received {len(document[key])}.")
    return document[key]


def _parse_item(position: int, item: Any) -> ItemUpsert:
    where = f"items[{position}]"
    json_fields.check_object(f"`{where}`", item, _KEYS)
    return ItemUpsert(
        json_fields.read_id(f"{where}.{_ID.key}", item.get(_ID.key)),
        **{
            field.name: _READERS[field.kind](f"{where}.{field.key}", item[field.key])
            for field in _OPTIONAL
            if item.get(field.key) is not None  # null is as good as none
        },
    )


def item_to_json(item: Mapping[str, Any]) -> dict[str, Any]:
    """What `POST /items:upsert` takes; what says nothing is left out.

    Args:
        item: Name of the field -> value, without vectors.
    """
    return {field.key: item[field.name] for field in ITEM_FIELDS if item.get(field.name)}
