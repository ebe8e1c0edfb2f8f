"""Calls to all shards of a catalogue at once.

Knows the Predict protocol and nothing of recall. A shard that does not answer
is no error here: the caller gets what the others said.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from recall.errors import InputError
from serving import tensors
from serving.client_tls import NO_TLS, ClientTls
from serving.status import Code, ServingError

_REFUSALS = {Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.PERMISSION_DENIED}
"""Codes that say that the request is wrong: every shard would say so."""

_MAX_MESSAGE_BYTES = 64 << 20
"""As large as the servers send."""

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_reconnect_backoff_ms", 1000),  # A shard that comes back is soon used again.
)

Outputs = dict[str, np.ndarray]


class ShardCall(NamedTuple):
    """One Predict request.

    Attributes:
        model_name: Name of the model.
        signature_name: Name of its signature.
        inputs: By name.
    """

    model_name: str
    signature_name: str
    inputs: Mapping[str, np.ndarray]


class ShardClients:
    """Connections to the servers of all shards; safe to use from several threads."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        admin_token: str | None = None,
        tls: ClientTls = NO_TLS,
    ):
        """Prepares the connections; nothing is sent yet.

        Args:
            addresses: `host:port` of the gRPC doors, in the order of the shards.
            admin_token: Sent with every change; the shards' is the same.
            tls: Certificates, for all shards the same.

        Raises:
            InputError: There is none, one is named twice, or a certificate
                cannot be used.
        """
        if not addresses or len(set(addresses)) < len(addresses):
            raise InputError(
                f"Name each shard's server once, as host:port; received {list(addresses)}."
            )
        self.addresses = tuple(addresses)
        self._tls = tls
        self._as_admin = [] if admin_token is None else [("authorization", f"Bearer {admin_token}")]
        self._channels = [tls.open_channel(a, _CHANNEL_OPTIONS) for a in addresses]
        self._stubs = [
            prediction_service_pb2_grpc.PredictionServiceStub(channel) for channel in self._channels
        ]

    def ask_all(
        self, calls: Sequence[ShardCall], timeout_s: float
    ) -> list[list[Outputs | ServingError]]:
        """Sends every call to every shard and waits for all.

        Returns:
            For every call one entry per shard: its outputs, or why there are none.

        Raises:
            ServingError: A shard says that a call is wrong.
        """
        requests = [_build(call) for call in calls]
        everywhere = [(shard, request) for request in requests for shard in range(len(self._stubs))]
        answers = self._ask(everywhere, timeout_s)
        width = len(self._stubs)
        return [answers[start : start + width] for start in range(0, len(answers), width)]

    def change_each(self, calls: Mapping[int, ShardCall], timeout_s: float) -> dict[int, Outputs]:
        """Sends one change, an admin call, to each of some shards.

        Args:
            calls: By number of the shard.
            timeout_s: Longest wait.

        Returns:
            Outputs by number of the shard.

        Raises:
            ServingError: A shard does not answer, or refuses.
        """
        answers = self._ask(
            [(s, _build(call)) for s, call in calls.items()], timeout_s, self._as_admin
        )
        for answer in answers:
            if isinstance(answer, ServingError):
                raise answer
        return dict(zip(calls, answers, strict=True))

    def close(self) -> None:
        """Closes the connections."""
        for channel in self._channels:
            channel.close()

    def _ask(
        self,
        requests: Sequence[tuple[int, predict_pb2.PredictRequest]],
        timeout_s: float,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> list[Outputs | ServingError]:
        """All requests at once; results in their order."""
        futures = [
            self._stubs[shard].Predict.future(request, timeout=timeout_s, metadata=metadata)
            for shard, request in requests
        ]
        try:
            return [
                self._result(shard, future)
                for (shard, _), future in zip(requests, futures, strict=True)
            ]
        finally:
            for future in futures:  # Where one was refused, the others need not go on.
                future.cancel()

    def _result(self, shard: int, future: grpc.Future) -> Outputs | ServingError:
        try:
            response = future.result()
        except grpc.RpcError as error:
            code = Code(error.code().value[0])
            where = f"Shard {shard}/{len(self._stubs)} at {self.addresses[shard]}"
            reason = self._tls.find_cause(error.details()) or error.details()
            lost = ServingError(code, f"{where}: {reason}")
            if code in _REFUSALS:
                raise lost from error
            return lost
        return {name: tensors.to_numpy(proto, name) for name, proto in response.outputs.items()}


def _build(call: ShardCall) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = call[:2]
    for name, value in call.inputs.items():
        request.inputs[name].CopyFrom(tensors.to_proto(value))
    return request
