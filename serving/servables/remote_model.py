"""One version of a model that a TF Serving serves.

Naming the version keeps an answer whole while versions are swapped: here and
there they change at different times, and a newer tower answers from another
embedding space than the index of this process.
"""

import math
import random
import time
from collections.abc import Mapping

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.network.client_tls import NO_TLS, ClientTls
from serving.network.rotating_channel import RotatingTls
from serving.protocol import tensors
from serving.protocol.call import deadline_after, time_until_s
from serving.protocol.status import Code, ServingError

_TIMEOUT_S = 5.0
"""Deadline of a request when the caller has none."""

_PAUSES_S = (0.05, 0.1, 0.2)
"""Mean pauses before the tries after the first: together they span the restart of a
proxy; a server that is longer away is not one to wait for."""

_CHANNEL_OPTIONS = (
    # gRPC itself would wait 1 s, then up to 2 minutes, before it connects again.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # The tries are counted here.
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 64 << 20),
)


class RemoteModel:
    """A model behind an address; keeps one connection. Safe to use from several threads."""

    def __init__(
        self,
        address: str,
        name: str,
        *,
        version: int | None = None,
        tls: ClientTls | RotatingTls = NO_TLS,
    ):
        """Prepares the connection; nothing is sent yet.

        Args:
            address: `host:port` of its gRPC door.
            name: Name it serves the model under.
            version: The only version that may answer; None lets the newest.
            tls: Certificates.

        Raises:
            InputError: A certificate cannot be used.
        """
        self._address = address
        self._name = name
        self._version = version
        self._tls = tls
        self._channel = tls.open_channel(address, _CHANNEL_OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        signature_name: str = "",
        timeout_s: float | None = None,
    ) -> tuple[dict[str, np.ndarray], int]:
        """Runs a signature; the time left is passed on as the deadline.

        A server that is not available is asked again, after a pause that
        doubles, as long as there is time for the pause. No other error is
        worth a second try: the server has said what is wrong.

        Args:
            inputs: By name.
            signature_name: "" for `serving_default`.
            timeout_s: Longest wait, `_TIMEOUT_S` by default.

        Returns:
            All outputs by name, and the version that answered.

        Raises:
            ServingError: The last remote error, with its code; UNAVAILABLE
                where the version is not served.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature_name
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, value in inputs.items():
            tensors.fill_proto(request.inputs[name], value)
        response = self._call(request, _TIMEOUT_S if timeout_s is None else timeout_s)
        outputs = {name: tensors.to_numpy(proto, name) for name, proto in response.outputs.items()}
        return outputs, response.model_spec.version.value

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _call(
        self, request: predict_pb2.PredictRequest, timeout_s: float
    ) -> predict_pb2.PredictResponse:
        """Predict, with tries again."""
        deadline_s = deadline_after(timeout_s)
        pauses_s = iter(_PAUSES_S)
        while True:
            try:
                return self._stub.Predict(request, timeout=time_until_s(deadline_s))
            except grpc.RpcError as error:
                # A random part, so that the callers of a server that restarts come spread out.
                pause_s = next(pauses_s, math.inf) * random.uniform(0.5, 1.5)
                code = Code(error.code().value[0])
                if code != Code.UNAVAILABLE or time.monotonic() + pause_s >= deadline_s:
                    raise self._refusal(code, error.details()) from error
            time.sleep(pause_s)

    def _refusal(self, code: Code, details: str) -> ServingError:
        """What a remote error means here."""
        where = f"Model `{self._name}` at {self._address}"
        if code == Code.NOT_FOUND and self._version is not None:
            # No fault of the request: it succeeds once both sides have one version in common.
            return ServingError(
                Code.UNAVAILABLE,
                f"{where} has no version {self._version}, which the release served here needs "
                f"({details}). Serve that version there too; with num_versions: 2 in its "
                "policy it keeps the old one until this server has the new one.",
            )
        return ServingError(code, f"{where}: {self._tls.find_cause(details) or details}")
