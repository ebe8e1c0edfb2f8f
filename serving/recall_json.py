"""`POST /recall`: plain JSON for people and for clients without TensorFlow.

Imports no TensorFlow. One request is `{"history": ["12", "57"], "k": 20,
"exclude": [], "include_seen": false}`; several are `{"requests": [...]}`.
"""

from collections.abc import Mapping
from typing import Any

from serving.json_document import show
from serving.recall_service import RecallService
from serving.recall_types import RecallRequest, RecallResponse
from serving.status import ServingError, invalid_argument

_BATCH_KEY = "requests"
_FIELDS = ("history", "k", "exclude", "include_seen")


def answer(service: RecallService, document: Mapping[str, Any]) -> dict[str, Any]:
    """Answers a decoded request or batch of requests.

    Raises:
        InputError: A limit of the service is exceeded.
        ServingError: A key is unknown, a value has a wrong type, or the
            service cannot answer.
    """
    if _BATCH_KEY not in document:
        return _to_json(service.recall([_parse_request(document)])[0])
    unknown = sorted(set(document) - {_BATCH_KEY})
    batch = document[_BATCH_KEY]
    if unknown or not isinstance(batch, list):
        raise invalid_argument(
            f"`{_BATCH_KEY}` must be a list and the only key, received {show(document)}."
        )
    requests = []
    for position, request in enumerate(batch):
        try:
            requests.append(_parse_request(request))
        except ServingError as error:
            raise invalid_argument(f"{_BATCH_KEY}[{position}]: {error.message}") from error
    return {"responses": [_to_json(response) for response in service.recall(requests)]}


def _parse_request(document: Any) -> RecallRequest:
    if not isinstance(document, Mapping):
        raise invalid_argument(f"A request must be an object, received {show(document)}.")
    unknown = sorted(set(document) - set(_FIELDS))
    if unknown:
        raise invalid_argument(
            f"Unknown key `{unknown[0]}`. A request has the keys {', '.join(_FIELDS)}."
        )
    if "history" not in document:
        raise invalid_argument("The key `history` is missing; [] is a new visitor.")
    k = document.get("k", RecallRequest.k)
    if not isinstance(k, int) or isinstance(k, bool):
        raise invalid_argument(f"`k` must be an integer, received {show(k)}.")
    include_seen = document.get("include_seen", False)
    if not isinstance(include_seen, bool):
        raise invalid_argument(
            f"`include_seen` must be true or false, received {show(include_seen)}."
        )
    return RecallRequest(
        history=_parse_ids("history", document["history"]),
        k=k,
        exclude=_parse_ids("exclude", document.get("exclude", [])),
        include_seen=include_seen,
    )


def _parse_ids(name: str, values: Any) -> tuple[str, ...]:
    """A list of raw ids. Numbers are refused: "007" and 7 are different ids."""
    if not isinstance(values, list):
        raise invalid_argument(f"`{name}` must be a list of item ids, received {show(values)}.")
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise invalid_argument(
                f'`{name}[{position}]` must be a string such as "12", received {show(value)}.'
            )
    return tuple(values)


def _to_json(response: RecallResponse) -> dict[str, Any]:
    """The response as plain values."""
    return {**response._asdict(), "items": [item._asdict() for item in response.items]}
