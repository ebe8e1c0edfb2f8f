"""`POST /recall`: plain JSON for people and for clients without TensorFlow.

Imports neither TensorFlow nor NumPy. The keys of a request are the fields of `RecallRequest`:
`{"history": ["12", "57"], "k": 20}`. Several are `{"requests": [...]}`. Beside
either there may be `"timeout_ms"`, the time the client waits.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from recall.errors import InputError
from serving.api import conditions
from serving.api.conditions import UnknownValue
from serving.api.recall_limits import check_size
from serving.api.recall_request import (
    REQUEST_FIELDS,
    RESPONSE_FACTS,
    ItemMetadata,
    RecallRequest,
    RecallResponse,
)
from serving.api.request_fields import Kind
from serving.protocol import json_fields
from serving.protocol.json_answers import encode_json
from serving.protocol.json_document import check_escapes, show
from serving.protocol.plain_tensors import as_float32
from serving.protocol.status import ServingError, invalid_argument

_BATCH_KEY, _TIMEOUT_KEY = "requests", "timeout_ms"
_SUBJECTS = tuple(field.name for field in REQUEST_FIELDS if field.is_subject)


class ParsedBody(NamedTuple):
    """What a body asks for.

    Attributes:
        requests: One per user.
        is_batch: Whether the body was a batch, so that the answer is one.
        timeout_s: Time the client waits, None where it does not say.
    """

    requests: list[RecallRequest]
    is_batch: bool
    timeout_s: float | None

    def shorter(self, timeout_s: float | None) -> float | None:
        """The shorter one of the client's time and another."""
        if self.timeout_s is None or timeout_s is None:
            return timeout_s if self.timeout_s is None else self.timeout_s
        return min(self.timeout_s, timeout_s)

    def encode_answer(self, responses: Sequence[RecallResponse]) -> bytes:
        """The text of the answer; the objects of one user go before those of the next come.

        Millions of objects at a time would keep other threads waiting for the
        garbage collector.
        """
        if not self.is_batch:
            return encode_json(response_to_json(responses[0]))
        texts = [encode_json(response_to_json(response)) for response in responses]
        return b'{"responses": [' + b", ".join(texts) + b"]}"


def parse_body(document: Mapping[str, Any], max_requests: int) -> ParsedBody:
    """Reads a decoded request or batch of requests.

    Args:
        document: The decoded body.
        max_requests: Users in one batch.

    Raises:
        ServingError: A key is unknown, a value has a wrong type, or the batch is too large.
    """
    document = dict(document)
    timeout_s = None
    if _TIMEOUT_KEY in document:
        timeout_s = json_fields.read_positive(_TIMEOUT_KEY, document.pop(_TIMEOUT_KEY)) / 1000
    if _BATCH_KEY not in document:
        request = parse_request(document, beside=[_TIMEOUT_KEY])
        return ParsedBody([request], False, timeout_s)
    batch = document[_BATCH_KEY]
    if len(document) > 1 or not isinstance(batch, list):
        raise invalid_argument(
            f"`{_BATCH_KEY}` must be a list and, beside `{_TIMEOUT_KEY}`, the only key, "
            f"received {show(document)}."
        )
    check_size("number of requests in a batch", len(batch), max_requests)
    requests = []
    for position, request in enumerate(batch):
        try:
            requests.append(parse_request(request))
        except ServingError as error:
            raise invalid_argument(f"{_BATCH_KEY}[{position}]: {error.message}") from error
    return ParsedBody(requests, True, timeout_s)


def parse_request(document: Any, *, beside: Iterable[str] = ()) -> RecallRequest:
    """One decoded request.

    Args:
        document: Its keys and values.
        beside: Keys that may stand beside these where the request came from;
            an error lists them too.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no object, a key is unknown or
            missing, or a value has a wrong type.
    """
    json_fields.check_object("A request", document, (*_PARSERS, *beside))
    if not any(name in document for name in _SUBJECTS):
        raise invalid_argument(
            "`history` is missing; an empty one is a new visitor. "
            "Instead of it there may be `user_vectors` or `similar_to`."
        )
    return RecallRequest(**{name: _PARSERS[name](name, document[name]) for name in document})


def response_to_json(response: RecallResponse) -> dict[str, Any]:
    """The response as plain values."""
    items = [item._asdict() for item in response.items]
    if response.metadata is not None:
        for item, title, categories in zip(items, *response.metadata, strict=True):
            item.update(title=title, categories=list(categories))
    document = {"items": items, **response.facts()}
    if response.interest_weights is not None:
        document["interest_weights"] = list(response.interest_weights)
    if response.unknown_categories:
        document["unknown_categories"] = list(response.unknown_categories)
    if response.unknown_values:
        document["unknown_values"] = [unknown._asdict() for unknown in response.unknown_values]
    return document


def response_from_json(answer: Mapping[str, Any], request: RecallRequest) -> RecallResponse:
    """What `response_to_json` made for a request, as a client has it."""
    items = answer["items"]
    return RecallResponse(
        [item["item_id"] for item in items],
        as_float32([item["score"] for item in items]),
        [int(item["interest"]) for item in items],
        *(answer[name] for name in RESPONSE_FACTS),
        metadata=ItemMetadata(
            tuple(item["title"] for item in items),
            tuple(tuple(item["categories"]) for item in items),
        )
        if request.with_metadata
        else None,
        interest_weights=tuple(answer["interest_weights"]) if request.with_interests else None,
        unknown_categories=tuple(answer.get("unknown_categories", ())),
        unknown_values=tuple(UnknownValue(**value) for value in answer.get("unknown_values", ())),
    )


def read_document(name: str, kind: Kind, text: str | bytes) -> Any:
    """A field whose value is JSON in a text; "" says nothing.

    Args:
        name: Of the field, for errors.
        kind: One that `is_document`.
        text: The JSON.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no JSON, or of another form.
    """
    if not text:
        return () if kind is Kind.BOOSTS else None
    try:
        document = json.loads(text)
        check_escapes(document, text if isinstance(text, bytes) else text.encode())
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"`{name}` is not valid JSON: {error}.") from error
    return _READERS[kind](name, document)


def request_to_json(request: RecallRequest) -> dict[str, Any]:
    """What `parse_request` reads: the fields that differ from their defaults."""
    document = {}
    for field in REQUEST_FIELDS:
        if field.is_given(request):
            value = getattr(request, field.name)
            document[field.name] = value.tolist() if hasattr(value, "tolist") else value
    return document if document.keys() & set(_SUBJECTS) else {"history": [], **document}


def _refusing(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """A reader that says what is wrong by the error of all others."""

    def read_field(name: str, value: Any) -> Any:
        try:
            return read(name, value)
        except InputError as error:
            raise invalid_argument(str(error)) from error

    return read_field


_READERS: dict[Kind, Callable[[str, Any], Any]] = {
    Kind.TEXTS: json_fields.read_texts,
    Kind.NUMBERS: json_fields.read_numbers,
    Kind.VECTORS: json_fields.read_vectors,
    Kind.TEXT: json_fields.read_text,
    Kind.INTEGER: json_fields.read_integer,
    Kind.NUMBER: json_fields.read_number,
    Kind.SWITCH: json_fields.read_boolean,
    Kind.VALUES: json_fields.read_values,
    Kind.CONDITIONS: _refusing(conditions.read_where),
    Kind.BOOSTS: _refusing(conditions.read_boosts),
}

_PARSERS = {
    field.name: json_fields.read_restriction if field.is_restriction else _READERS[field.kind]
    for field in REQUEST_FIELDS
}
"""How each field of a request is read, in the order of the fields."""
