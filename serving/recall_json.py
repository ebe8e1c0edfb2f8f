"""`POST /recall`: plain JSON for people and for clients without TensorFlow.

Imports no TensorFlow. The keys of a request are the fields of `RecallRequest`:
`{"history": ["12", "57"], "k": 20}`. Several are `{"requests": [...]}`. Beside
either there may be `"timeout_ms"`, the time the client waits.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from serving.json_document import show
from serving.recall_service import RecallService
from serving.recall_types import RecallRequest, RecallResponse
from serving.status import ServingError, invalid_argument

_BATCH_KEY, _TIMEOUT_KEY = "requests", "timeout_ms"
_SUBJECTS = ("history", "user_vectors", "similar_to")


def answer(
    service: RecallService, document: Mapping[str, Any], *, timeout_s: float | None = None
) -> dict[str, Any]:
    """Answers a decoded request or batch of requests.

    Args:
        service: Finds the items.
        document: The decoded body.
        timeout_s: Time left, as far as the door knows; the shorter one of
            this and the document's counts.

    Raises:
        InputError: A limit of the service is exceeded.
        ServingError: A key is unknown, a value has a wrong type, or the
            service cannot answer.
    """
    document = dict(document)
    if _TIMEOUT_KEY in document:
        asked_s = _positive(_TIMEOUT_KEY, document.pop(_TIMEOUT_KEY)) / 1000
        timeout_s = asked_s if timeout_s is None else min(asked_s, timeout_s)
    if _BATCH_KEY not in document:
        return to_json(service.recall([parse_request(document)], timeout_s=timeout_s)[0])
    batch = document[_BATCH_KEY]
    if len(document) > 1 or not isinstance(batch, list):
        raise invalid_argument(
            f"`{_BATCH_KEY}` must be a list and, beside `{_TIMEOUT_KEY}`, the only key, "
            f"received {show(document)}."
        )
    requests = []
    for position, request in enumerate(batch):
        try:
            requests.append(parse_request(request))
        except ServingError as error:
            raise invalid_argument(f"{_BATCH_KEY}[{position}]: {error.message}") from error
    return {"responses": [to_json(r) for r in service.recall(requests, timeout_s=timeout_s)]}


def parse_request(document: Any) -> RecallRequest:
    """One decoded request.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no object, a key is unknown or
            missing, or a value has a wrong type.
    """
    if not isinstance(document, Mapping):
        raise invalid_argument(f"A request must be an object, received {show(document)}.")
    unknown = sorted(set(document) - set(_PARSERS))
    if unknown:
        raise invalid_argument(
            f"Unknown key `{unknown[0]}`. A request has the keys {', '.join(_PARSERS)}."
        )
    if not any(name in document for name in _SUBJECTS):
        raise invalid_argument(
            "The key `history` is missing; [] is a new visitor. "
            "Instead of it there may be `user_vectors` or `similar_to`."
        )
    return RecallRequest(**{name: _PARSERS[name](name, document[name]) for name in document})


def to_json(response: RecallResponse) -> dict[str, Any]:
    """The response as plain values."""
    return {"items": [item._asdict() for item in response.items], **response.facts()}


def request_to_json(request: RecallRequest) -> dict[str, Any]:
    """What `parse_request` reads: the fields that differ from their defaults."""
    document = {}
    for field in dataclasses.fields(RecallRequest):
        value = getattr(request, field.name)
        if isinstance(value, np.ndarray):
            document[field.name] = value.tolist()
        elif value != field.default:
            document[field.name] = value
    return document if document.keys() & set(_SUBJECTS) else {"history": [], **document}


def _texts(name: str, values: Any) -> tuple[str, ...]:
    """A list of texts. Numbers are refused: "007" and 7 are different ids."""
    if not isinstance(values, list):
        raise invalid_argument(f"`{name}` must be a list of strings, received {show(values)}.")
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise invalid_argument(
                f'`{name}[{position}]` must be a string such as "12", received {show(value)}.'
            )
    return tuple(values)


def _restriction(name: str, values: Any) -> tuple[str, ...]:
    """A list that leaves everything else out; an empty one can only be a mistake."""
    texts = _texts(name, values)
    if not texts:
        raise invalid_argument(f"`{name}` is empty and allows nothing. Leave the key out.")
    return texts


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise invalid_argument(f"`{name}` must be a string, received {show(value)}.")
    return value


def _integer(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_argument(f"`{name}` must be an integer, received {show(value)}.")
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise invalid_argument(f"`{name}` must be true or false, received {show(value)}.")
    return value


def _number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid_argument(f"`{name}` must be a number, received {show(value)}.")
    try:
        return float(value)
    except OverflowError as error:
        raise invalid_argument(f"`{name}` is too large: {show(value)}.") from error


def _positive(name: str, value: Any) -> float:
    number = _number(name, value)
    if not number > 0:
        raise invalid_argument(f"`{name}` must be larger than 0, received {show(value)}.")
    return number


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise invalid_argument(f"`{name}` must be a list of numbers, received {show(values)}.")
    return tuple(_number(f"{name}[{i}]", value) for i, value in enumerate(values))


def _vectors(name: str, values: Any) -> np.ndarray:
    """A list of lists of numbers, all of one length."""
    if not isinstance(values, list) or not values:
        raise invalid_argument(
            f"`{name}` must be a list of vectors, one per interest, received {show(values)}."
        )
    rows = [_numbers(f"{name}[{i}]", row) for i, row in enumerate(values)]
    if len({len(row) for row in rows}) > 1:
        raise invalid_argument(f"The vectors of `{name}` differ in length.")
    with np.errstate(over="ignore"):  # Infinity is refused by the service, with a reason.
        return np.array(rows, dtype=np.float32)


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "history": _texts,
    "k": _integer,
    "exclude": _texts,
    "include_seen": _boolean,
    "user_vectors": _vectors,
    "fingerprint": _text,
    "similar_to": _texts,
    "allow": _restriction,
    "deny": _texts,
    "categories": _restriction,
    "exclude_categories": _texts,
    "max_per_category": _integer,
    "interest_weights": _numbers,
    "merge": _text,
    "diversity_weight": _number,
    "leaves_to_search": _integer,
    "reorder": _integer,
    "exact": _boolean,
}
"""How each field of a request is read, in the order of the fields."""
