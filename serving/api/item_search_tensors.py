"""The Predict signatures that find items: `search` and `lookup` of the model `items`."""

from collections.abc import Mapping, Sequence

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.api.item_search import DEFAULT_FOUND, FoundItem, FoundItems
from serving.protocol import signatures, tensors
from serving.protocol.status import invalid_argument

SEARCH, LOOKUP = "search", "lookup"

_QUERY, _K, _ITEM_IDS = "query", "k", "item_ids"

_OF_ITEMS = {
    _ITEM_IDS: (types_pb2.DT_STRING, (-1,)),
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


def signature_defs() -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures as clients may ask for them."""
    return {
        SEARCH: signatures.signature_def(
            {_QUERY: (types_pb2.DT_STRING, None), _K: (types_pb2.DT_INT32, None)},
            {**_OF_ITEMS, **_OF_SEARCH},
            {_K: np.array(DEFAULT_FOUND, np.int32)},
        ),
        LOOKUP: signatures.signature_def({_ITEM_IDS: (types_pb2.DT_STRING, (-1,))}, _OF_ITEMS, {}),
    }


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
    return _text(_QUERY, inputs[_QUERY].item()), int(inputs[_K].item())


def parse_lookup(inputs: Mapping[str, np.ndarray]) -> list[str]:
    """The raw ids; `items_tensors.build_delete_inputs` writes them.

    Raises:
        ServingError: INVALID_ARGUMENT, one is not UTF-8.
    """
    return [_text(_ITEM_IDS, value) for value in inputs[_ITEM_IDS].tolist()]


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


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise invalid_argument(f"{name} holds a text that is not valid UTF-8.") from error
