"""What a client may ask, in the words of either door, and how the answers are read.

Imports neither TensorFlow nor NumPy, and no gRPC; sends nothing itself. What comes back are
plain values and lists.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from recall.errors import InputError
from serving.api import items_json, items_tensors, recall_tensors
from serving.api.item_changes import ITEMS_MODEL, Acknowledgement, ItemUpsert, read_upserts
from serving.api.item_search import FoundItem
from serving.api.recall_json import request_to_json, response_from_json
from serving.api.recall_request import RECALL_MODEL, RecallRequest, RecallResponse
from serving.api.request_fields import Kind, read_value
from serving.protocol import plain_tensors
from serving.protocol import predict_messages_pb2 as messages
from serving.protocol.json_document import in_one_line
from serving.protocol.plain_tensors import PlainTensor, as_float32

T = TypeVar("T")

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
_SIGNATURE_DEF = "signature_def"
_USER_TOWER, _HISTORIES = "user_tower", "history_item_ids"


class HistoryVectors(NamedTuple):
    """User vectors of some histories, a row for each, as lists; `numpy.array` takes them.

    Attributes:
        user_vectors: `[n, num_interests, dim]`, numbers of float32.
        interest_weights: `[n, num_interests]`, each row sums to 1.
        num_known: `[n]`, ids of the history that are items.
        num_unknown: `[n]`, ids of the history that are not.
        fingerprint: The embedding space; send it back with the vectors.
    """

    user_vectors: list[list[list[float]]]
    interest_weights: list[list[float]]
    num_known: list[int]
    num_unknown: list[int]
    fingerprint: str


class ModelVersion(NamedTuple):
    """One version of a model of a server.

    Attributes:
        version: Its number.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
        error: Why it is not served, "" for no error.
    """

    version: int
    state: str
    error: str


@dataclasses.dataclass(frozen=True)
class Question(Generic[T]):
    """One call, as both doors take it.

    Attributes:
        http: Method, path and document (None for none) over HTTP, from the seconds left.
        parse_json: Answer's document -> what the caller gets. KeyError, TypeError or ValueError
            is an answer that no recall server would give.
        grpc: Method, message and class of the answer.
        parse_message: Answer's message -> what the caller gets.
        is_safe: Whether it may be sent again: it changes nothing.
        accepts: Statuses over HTTP that are answers, beside 200.
    """

    http: Callable[[float], tuple[str, str, Mapping[str, Any] | None]]
    parse_json: Callable[[Any], T]
    grpc: Callable[[], tuple[str, Any, Any]]
    parse_message: Callable[[Any], T]
    is_safe: bool = True
    accepts: tuple[int, ...] = ()


def recall(request: RecallRequest) -> Question[RecallResponse]:
    """One user's items. Over HTTP too the server is told how long its client waits."""
    if not isinstance(request, RecallRequest):
        raise InputError(f"`request` must be a RecallRequest, received {in_one_line(request)}.")
    return Question(
        lambda left_s: ("POST", "/recall", _recall_document(request, left_s)),
        lambda answer: response_from_json(answer, request),
        lambda: _predict(RECALL_MODEL, *recall_tensors.build_recall_inputs(request)),
        lambda answer: recall_tensors.parse_outputs(_outputs(answer)),
    )


def embed_histories(histories: Sequence[Sequence[str]]) -> Question[HistoryVectors]:
    """User vectors of histories of raw ids."""
    is_list = isinstance(histories, Iterable) and not isinstance(histories, str | bytes)
    given = list(histories) if is_list else []
    if not given or any(isinstance(history, str) for history in given):
        raise InputError("Give a list of histories, each a list of ids: [['12', '57'], ['3']].")
    ids = [read_value("history", Kind.TEXTS, history) for history in given]
    inputs = {_HISTORIES: plain_tensors.pad_texts(_HISTORIES, ids)}
    return _ask_model(_USER_TOWER, "", inputs, _parse_histories)


def predict(
    model_name: str, signature_name: str, inputs: Mapping[str, Any], *, is_safe: bool = True
) -> Question[dict[str, Any]]:
    """A signature of any model; outputs by name."""
    read_value("model_name", Kind.TEXT, model_name)
    read_value("signature_name", Kind.TEXT, signature_name)
    if not isinstance(inputs, Mapping):
        raise InputError(f"`inputs` must be values by their names, received {in_one_line(inputs)}.")
    tensors = {name: plain_tensors.build(name, value) for name, value in inputs.items()}
    return _ask_model(model_name, signature_name, tensors, dict, is_safe=is_safe)


def model_versions(model_name: str) -> Question[list[ModelVersion]]:
    """The versions of a model, newest first, and whether they are served."""
    read_value("model_name", Kind.TEXT, model_name)
    return Question(
        lambda _: ("GET", f"/v1/models/{model_name}", None),
        lambda answer: [
            ModelVersion(int(v["version"]), str(v["state"]), str(v["status"]["error_message"]))
            for v in answer["model_version_status"]
        ],
        lambda: (
            _STATUS,
            messages.GetModelStatusRequest(model_spec={"name": model_name}),
            messages.GetModelStatusResponse,
        ),
        lambda answer: [
            ModelVersion(v.version, v.State.Name(v.state), v.status.error_message)
            for v in answer.model_version_status
        ],
    )


def model_metadata(model_name: str) -> Question[dict[str, Any]]:
    """Signatures of a model: their inputs and outputs with types and shapes, as plain values."""
    read_value("model_name", Kind.TEXT, model_name)
    return Question(
        lambda _: ("GET", f"/v1/models/{model_name}/metadata", None),
        lambda answer: dict(answer["metadata"][_SIGNATURE_DEF][_SIGNATURE_DEF]),
        lambda: (
            _METADATA,
            messages.GetModelMetadataRequest(
                model_spec={"name": model_name}, metadata_field=[_SIGNATURE_DEF]
            ),
            messages.GetModelMetadataResponse,
        ),
        _parse_signatures,
    )


def find_items(query: str, k: int) -> Question[list[FoundItem]]:
    """Items by a part of their title, or by their id."""
    query, k = read_value("query", Kind.TEXT, query), read_value("k", Kind.INTEGER, k)
    return Question(
        lambda _: ("POST", "/items:search", {"query": query, "k": k}),
        lambda answer: [_found(item) for item in answer["items"]],
        lambda: _predict(ITEMS_MODEL, items_tensors.SEARCH, items_tensors.build_search(query, k)),
        lambda answer: list(items_tensors.parse_found(_outputs(answer)).items),
    )


def _found(item: Mapping[str, Any]) -> FoundItem:
    return FoundItem(**{**item, "categories": tuple(item["categories"])})


def upsert_items(items: Sequence[ItemUpsert]) -> Question[Acknowledgement]:
    """Items to have from now on; a change, which is sent once."""
    items, rows = _some(read_upserts(items)), []
    for item in items:
        rows.append(items_json.item_to_json({**vars(item), "vector": None}))
        if item.vector is not None:
            rows[-1]["vector"] = item.vector
    return _change(
        items_tensors.UPSERT, {"items": rows}, lambda: items_tensors.build_upsert_inputs(items)
    )


def delete_items(item_ids: Sequence[str]) -> Question[Acknowledgement]:
    """Items to have no more; a change, which is sent once."""
    item_ids = _some(read_value("item_ids", Kind.TEXTS, item_ids))
    document = {"ids": item_ids}
    return _change(
        items_tensors.DELETE, document, lambda: items_tensors.build_delete_inputs(item_ids)
    )


def _some(items: Sequence[T]) -> list[T]:
    given = list(items)
    if not given:
        raise InputError("There is no item. Give at least one.")
    return given


def _change(
    kind: str,
    document: Mapping[str, Any],
    build_inputs: Callable[[], Mapping[str, PlainTensor]],
) -> Question[Acknowledgement]:
    def parse(answer: Mapping[str, Any]) -> Acknowledgement:
        return Acknowledgement(*(int(answer[name]) for name in Acknowledgement._fields))

    return Question(
        lambda _: ("POST", f"/items:{kind}", document),
        parse,
        lambda: _predict(ITEMS_MODEL, kind, build_inputs()),
        lambda answer: parse(_outputs(answer)),
        is_safe=False,
    )


def _ask_model(
    model_name: str,
    signature_name: str,
    inputs: Mapping[str, PlainTensor],
    parse: Callable[[dict[str, Any]], T],
    *,
    is_safe: bool = True,
) -> Question[T]:
    """Predict of a model, whose outputs `parse` reads."""

    def document(_: float) -> tuple[str, str, Mapping[str, Any]]:
        named = {"signature_name": signature_name} if signature_name else {}
        plain = {name: plain_tensors.to_json(tensor.to_lists()) for name, tensor in inputs.items()}
        return "POST", f"/v1/models/{model_name}:predict", {**named, "inputs": plain}

    return Question(
        document,
        lambda answer: parse(_outputs_of_json(answer["outputs"])),
        lambda: _predict(model_name, signature_name, inputs),
        lambda answer: parse(_outputs(answer)),
        is_safe=is_safe,
    )


def _predict(model_name: str, signature_name: str, inputs: Mapping[str, PlainTensor]) -> tuple:
    """Method, message and class of the answer of Predict."""
    message = messages.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = model_name, signature_name
    for name, tensor in inputs.items():
        plain_tensors.fill(message.inputs[name], tensor)
    return _PREDICT, message, messages.PredictResponse


def _outputs(answer: messages.PredictResponse) -> dict[str, Any]:
    return {n: plain_tensors.read(proto, n).to_lists() for n, proto in answer.outputs.items()}


def _recall_document(request: RecallRequest, left_s: float) -> dict[str, Any]:
    return {**request_to_json(request), "timeout_ms": 1000 * left_s}


def _outputs_of_json(outputs: Any) -> dict[str, Any]:
    """Outputs by name; TF Serving leaves the name of a single one out."""
    named = outputs if isinstance(outputs, Mapping) else {"": outputs}
    return {name: plain_tensors.of_json(value) for name, value in named.items()}


def _parse_histories(outputs: Mapping[str, Any]) -> HistoryVectors:
    return HistoryVectors(
        [[as_float32(vector) for vector in vectors] for vectors in outputs["user_vectors"]],
        [as_float32(weights) for weights in outputs["interest_weights"]],
        list(map(int, outputs["num_known"])),
        list(map(int, outputs["num_unknown"])),
        outputs["fingerprint"][0].decode(),
    )


def _parse_signatures(answer: messages.GetModelMetadataResponse) -> dict[str, Any]:
    from google.protobuf import json_format

    # The type's name in it is TensorFlow Serving's; the bytes are those of ours.
    packed = messages.SignatureDefMap.FromString(answer.metadata[_SIGNATURE_DEF].value)
    return json_format.MessageToDict(
        packed, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )[_SIGNATURE_DEF]
