"""`/items`: live items in plain JSON.

Imports no TensorFlow. `POST /items:upsert` takes `{"items": [{"id": "12",
"categories": ["red"], "title": "...", "vector": [...]}]}`, `POST /items:delete`
takes `{"ids": ["12"]}`, and `GET /items` tells the status.
"""

from collections.abc import Mapping
from typing import Any

from serving.item_changes import ItemUpsert
from serving.json_document import show
from serving.live_items import LiveItems
from serving.status import invalid_argument

_FIELDS = ("id", "categories", "title", "vector")


def upsert(live_items: LiveItems, document: Mapping[str, Any]) -> dict[str, int]:
    """Answers `POST /items:upsert`.

    Raises:
        InputError: An item is not valid, or no vector can be had for it.
        ServingError: The document is malformed, or the change cannot be written.
    """
    items = [_parse_item(position, item) for position, item in enumerate(_list(document, "items"))]
    return live_items.upsert(items)._asdict()


def delete(live_items: LiveItems, document: Mapping[str, Any]) -> dict[str, int]:
    """Answers `POST /items:delete`; raises as `upsert`."""
    ids = _list(document, "ids")
    return live_items.delete([_text(f"ids[{p}]", value) for p, value in enumerate(ids)])._asdict()


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    """The one list of a document."""
    if set(document) != {key} or not isinstance(document[key], list):
        raise invalid_argument(
            f"`{key}` must be a list and the only key, received {show(document)}."
        )
    return document[key]


def _parse_item(position: int, item: Any) -> ItemUpsert:
    where = f"items[{position}]"
    if not isinstance(item, Mapping):
        raise invalid_argument(f"`{where}` must be an object, received {show(item)}.")
    unknown = sorted(set(item) - set(_FIELDS))
    if unknown:
        raise invalid_argument(
            f"Unknown key `{unknown[0]}` in `{where}`. An item has the keys {', '.join(_FIELDS)}."
        )
    categories, title, vector = (item.get(name) for name in _FIELDS[1:])
    if categories is not None:
        names = _items_of(f"{where}.categories", categories)
        categories = tuple(_text(f"{where}.categories", name) for name in names)
    return ItemUpsert(
        _text(f"{where}.id", item.get("id")),
        categories,
        None if title is None else _text(f"{where}.title", title),
        None if vector is None else _numbers(f"{where}.vector", vector),
    )


def _items_of(name: str, values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise invalid_argument(f"`{name}` must be a list, received {show(values)}.")
    return values


def _text(name: str, value: Any) -> str:
    """A text. Numbers are refused: "007" and 7 are different ids."""
    if not isinstance(value, str):
        raise invalid_argument(f'`{name}` must be a string such as "12", received {show(value)}.')
    return value


def _numbers(name: str, values: Any) -> list[float]:
    numbers = _items_of(name, values)
    for value in numbers:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise invalid_argument(f"`{name}` must be numbers, received {show(value)}.")
    return numbers
