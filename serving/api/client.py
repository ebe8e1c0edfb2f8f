"""A client of a running recall server, over gRPC or HTTP.

Imports no TensorFlow by itself: the gRPC door needs its protocol messages, whose
import takes seconds, so they are imported when that door is asked.
"""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np

from recall.errors import InputError
from serving.api.metadata_tensors import INTERESTS_OUTPUT, METADATA_OUTPUTS, parse_metadata
from serving.api.recall_json import request_to_json
from serving.api.recall_request import (
    RECALL_MODEL,
    RESPONSE_FACTS,
    ItemMetadata,
    RecallRequest,
    RecallResponse,
)
from serving.network import door_address, failure_texts
from serving.network.client_tls import NO_TLS, ClientTls

TIMEOUT_S = 10.0
"""Longest wait where the caller names none: a first request may meet a cold model."""


def query(
    server: str,
    request: RecallRequest,
    *,
    timeout_s: float = TIMEOUT_S,
    tls: ClientTls = NO_TLS,
) -> RecallResponse:
    """Asks a running server for one user's items.

    Args:
        server: `host:port` of its gRPC door, or `http://host:port`, or
            `https://host:port`.
        request: Who is asked about, `k` and the filters.
        timeout_s: Longest wait.
        tls: Certificates.

    Raises:
        InputError: No server answers there in time, or it refuses the request.
    """
    ask = _ask_http if door_address.is_http(server) else _ask_grpc
    return ask(server, request, timeout_s, tls)


def _ask_http(
    server: str, request: RecallRequest, timeout_s: float, tls: ClientTls
) -> RecallResponse:
    """POST /recall; as over gRPC, the server is told how long its client waits."""
    document = {**request_to_json(request), "timeout_ms": 1000 * timeout_s}
    answer = post_json(server, "/recall", document, timeout_s=timeout_s, tls=tls)
    try:
        return _parse_json(answer, request)
    except (KeyError, TypeError) as error:
        raise another_server(server, "HTTP") from error


def post_json(
    server: str,
    path: str,
    document: Mapping[str, Any],
    *,
    timeout_s: float = TIMEOUT_S,
    token: str | None = None,
    tls: ClientTls = NO_TLS,
) -> Any:
    """Sends a document to a path of a server's HTTP door; returns the answer's document.

    The call is direct, whatever `http_proxy` of the environment says.

    Args:
        server: `http://host:port` or `https://host:port`.
        path: For example `/recall`.
        document: Plain values.
        timeout_s: Longest wait.
        token: The admin token, for calls that need it.
        tls: Certificates.

    Raises:
        InputError: No server answers there in time, or it refuses the request.
    """
    if tls.server_ca is not None and not server.startswith("https://"):
        raise InputError(f"--tls_server_ca encrypts nothing at {server}. Ask https:// there.")
    context = tls.ssl_context()
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps(document).encode()
    message = urllib.request.Request(server.rstrip("/") + path, body, headers)
    try:
        with _opener(context).open(message, timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise InputError(f"{server} refused the request: {_http_reason(error)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise InputError(_too_late(server, timeout_s)) from error
        if (cause := tls.find_cause(str(error))) is not None:
            raise InputError(_no_connection(server, cause)) from error
        if isinstance(reason, OSError):
            raise InputError(_nobody(server, reason.strerror or str(reason), "HTTP")) from error
        raise another_server(server, "HTTP") from error


def _opener(context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Opens URLs without a proxy."""
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )


def _http_reason(error: urllib.error.HTTPError) -> str:
    text = error.read().decode("utf-8", "replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def _parse_json(answer: Mapping[str, Any], request: RecallRequest) -> RecallResponse:
    items = answer["items"]
    return RecallResponse(
        np.array([item["item_id"].encode() for item in items], dtype=np.bytes_),
        np.array([item["score"] for item in items], dtype=np.float32),
        np.array([item["interest"] for item in items], dtype=np.int32),
        *(answer[name] for name in RESPONSE_FACTS),
        metadata=ItemMetadata(
            tuple(item["title"] for item in items),
            tuple(tuple(item["categories"]) for item in items),
        )
        if request.with_metadata
        else None,
        interest_weights=tuple(answer["interest_weights"]) if request.with_interests else None,
    )


def _ask_grpc(
    server: str, request: RecallRequest, timeout_s: float, tls: ClientTls
) -> RecallResponse:
    """Predict of the model `recall`."""
    from serving.api import recall_tensors

    signature_name, inputs = recall_tensors.build_recall_inputs(request)
    outputs = predict(server, RECALL_MODEL, signature_name, inputs, timeout_s=timeout_s, tls=tls)
    return parse_outputs(outputs)


def predict(
    server: str,
    model_name: str,
    signature_name: str,
    inputs: Mapping[str, np.ndarray],
    *,
    timeout_s: float = TIMEOUT_S,
    token: str | None = None,
    tls: ClientTls = NO_TLS,
) -> dict[str, np.ndarray]:
    """Runs a signature of a model behind a server's gRPC door; returns its outputs by name.

    Args:
        server: `host:port`.
        model_name: For example `recall`.
        signature_name: "" for `serving_default`.
        inputs: By name.
        timeout_s: Longest wait.
        token: The admin token, for calls that need it.
        tls: Certificates.

    Raises:
        InputError: No server answers there in time, or it refuses the request.
    """
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    from serving.protocol import tensors

    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = model_name, signature_name
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(tensors.to_proto(value))
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    with tls.open_channel(server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            answer = stub.Predict(message, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise InputError(_grpc_reason(server, error, timeout_s, tls)) from error
    return {name: tensors.to_numpy(proto, name) for name, proto in answer.outputs.items()}


def _grpc_reason(server: str, error: Any, timeout_s: float, tls: ClientTls) -> str:
    """One line about a failed call, a `grpc.RpcError`."""
    name = error.code().name
    if name == "DEADLINE_EXCEEDED":
        return _too_late(server, timeout_s)
    details = error.details()
    is_unreached = name == "UNAVAILABLE" and failure_texts.is_of_grpc(details)
    if is_unreached and (cause := tls.find_cause(details)) is not None:
        return _no_connection(server, cause)
    # Codes of an address where nobody, or something else than this server, listens.
    is_another = name == "UNIMPLEMENTED" and "Method not found" in details
    if is_unreached and tls.server_ca is None and "Socket closed" in details:
        # Cut off by a server that stops, or that waits for a handshake of TLS.
        name += "; if it speaks TLS, give --tls_server_ca"
    if is_another or is_unreached or name == "UNKNOWN":
        return _nobody(server, name, "gRPC")
    return f"{server} refused the request: {details}"


def another_server(server: str, door: str) -> InputError:
    """The error of an address whose answer no recall server would give."""
    return InputError(_nobody(server, "what answers is no recall server", door))


def _nobody(server: str, reason: str, door: str) -> str:
    return (
        f"No recall server answers at {server} ({reason}). Start one with "
        f"`recall serve --release=...`, and give its {door} port."
    )


def _no_connection(server: str, cause: str) -> str:
    return f"No recall server answers at {server}: {cause}"


def _too_late(server: str, timeout_s: float) -> str:
    return f"{server} did not answer within {timeout_s:g} s. Check the address, or wait longer."


def parse_outputs(outputs: Mapping[str, np.ndarray]) -> RecallResponse:
    """Outputs of the model `recall` for a batch of one, without the padding.

    Args:
        outputs: By name, as `recall_servable.RecallServable` gives them.
    """
    item_ids = outputs["item_ids"][0]
    found = item_ids.astype(np.bool_)  # "" is padding.
    return RecallResponse(
        item_ids[found].astype(np.bytes_),
        outputs["scores"][0][found],
        outputs["interests"][0][found],
        *(outputs[name][0].item() for name in RESPONSE_FACTS),
        metadata=parse_metadata(outputs, found) if METADATA_OUTPUTS[0] in outputs else None,
        interest_weights=tuple(outputs[INTERESTS_OUTPUT][0].tolist())
        if INTERESTS_OUTPUT in outputs
        else None,
    )
