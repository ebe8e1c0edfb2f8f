"""Connections to all shards of a catalogue, and calls to many of them at once.

Knows the Predict protocol and nothing of recall. A shard that does not answer
is no error here: the caller gets what the others said.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from recall.errors import InputError
from serving.network.client_tls import NO_TLS, ClientTls
from serving.network.rotating_channel import RotatingTls
from serving.protocol import plain_tensors
from serving.protocol.call import NO_CALL, current, deadline_after
from serving.protocol.plain_tensors import PlainTensor
from serving.protocol.status import ServingError
from serving.sharding.call_window import CallWindow
from serving.sharding.calls import ShardCalls, ShardConnection, ShardOutputs

MAX_CALLS_PER_SHARD = 32
"""Calls to one shard at a time, of all callers together. As many as its two batches of 16
requests take; half of what it admits by default, so that two fronts do not overload it."""

_MAX_MESSAGE_BYTES = 64 << 20
"""As large as the servers send."""

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_reconnect_backoff_ms", 1000),  # A shard that comes back is soon used again.
)


class ShardCall(NamedTuple):
    """One Predict request.

    Attributes:
        model_name: Name of the model.
        signature_name: Name of its signature.
        inputs: By name.
    """

    model_name: str
    signature_name: str
    inputs: Mapping[str, PlainTensor]


class ShardClients:
    """Connections to the servers of all shards; safe to use from several threads."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        admin_token: str | Callable[[], str] | None = None,
        tls: ClientTls | RotatingTls = NO_TLS,
    ):
        """Prepares the connections; nothing is sent yet.

        Args:
            addresses: `host:port` of the gRPC doors, in the order of the shards.
            admin_token: Sent with every change, or what tells the one of the moment; the
                shards' is the same.
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
        self._admin_token = admin_token
        self._channels = [tls.open_channel(a, _CHANNEL_OPTIONS) for a in addresses]
        self._shards = [
            ShardConnection(
                f"Shard {number}/{len(addresses)} at {address}",
                prediction_service_pb2_grpc.PredictionServiceStub(channel),
                CallWindow(MAX_CALLS_PER_SHARD),
                tls,
            )
            for number, (address, channel) in enumerate(zip(addresses, self._channels, strict=True))
        ]

    def ask_all(
        self,
        calls: Sequence[ShardCall],
        timeout_s: float,
        *,
        call_timeout_s: float = math.inf,
    ) -> list[list[ShardOutputs | ServingError]]:
        """Sends every call to every shard and waits for all.

        Args:
            calls: Any number; a shard gets `MAX_CALLS_PER_SHARD` at a time.
            timeout_s: Longest wait for everything.
            call_timeout_s: Longest wait for the answer to one call. A shard from
                which nothing came for as long gets no more of these calls.

        Returns:
            For every call one entry per shard: its outputs, or why there are none.

        Raises:
            ServingError: A shard says that a call is wrong, or the client of
                the current call went away.
        """
        width = len(self._shards)
        requests = [_build(call) for call in calls]
        everywhere = [(shard, request) for request in requests for shard in range(width)]
        answers = self._ask(everywhere, timeout_s, call_timeout_s)
        return [answers[start : start + width] for start in range(0, len(answers), width)]

    def ask_some(
        self,
        calls: Sequence[tuple[int, ShardCall]],
        timeout_s: float,
        *,
        call_timeout_s: float = math.inf,
    ) -> list[ShardOutputs | ServingError]:
        """As `ask_all`, each call to the shard of a number; one entry per call."""
        requests = [(shard, _build(call)) for shard, call in calls]
        return self._ask(requests, timeout_s, call_timeout_s)

    def change_each(
        self, calls: Mapping[int, ShardCall], timeout_s: float
    ) -> dict[int, ShardOutputs]:
        """Sends one change, an admin call, to each of some shards.

        Args:
            calls: By number of the shard.
            timeout_s: Longest wait.

        Returns:
            Outputs by number of the shard.

        Raises:
            ServingError: A shard does not answer, or refuses.
        """
        changes = ShardCalls(
            self._shards,
            [(shard, _build(call)) for shard, call in calls.items()],
            deadline_s=deadline_after(timeout_s),
            call_timeout_s=timeout_s,
            metadata=self._as_admin(),
        )
        # A change that was begun is not ended by a client that leaves.
        answers = changes.run(NO_CALL)
        for answer in answers:
            if isinstance(answer, ServingError):
                raise answer
        return dict(zip(calls, answers, strict=True))

    def _as_admin(self) -> list[tuple[str, str]]:
        token = self._admin_token() if callable(self._admin_token) else self._admin_token
        return [] if token is None else [("authorization", f"Bearer {token}")]

    def close(self) -> None:
        """Closes the connections."""
        for channel in self._channels:
            channel.close()

    def _ask(
        self,
        requests: Sequence[tuple[int, predict_pb2.PredictRequest]],
        timeout_s: float,
        call_timeout_s: float,
    ) -> list[ShardOutputs | ServingError]:
        """The answers to requests of the current call, in their order."""
        deadline_s = deadline_after(timeout_s)
        asked = ShardCalls(
            self._shards, requests, deadline_s=deadline_s, call_timeout_s=call_timeout_s
        )
        return asked.run(current())


def _build(call: ShardCall) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = call[:2]
    for name, value in call.inputs.items():
        plain_tensors.fill(request.inputs[name], value)
    return request
