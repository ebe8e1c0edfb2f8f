"""The calls of one caller to some shards, each sent when its turn comes.

Knows the Predict protocol and nothing of recall.
"""

import collections
import functools
import queue
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.network.client_tls import ClientTls
from serving.network.rotating_channel import RotatingTls
from serving.protocol import signatures, tensors
from serving.protocol.call import Call, deadline_after, time_until_s
from serving.protocol.status import Code, ServingError
from serving.sharding.call_window import CallWindow

_REFUSALS = {Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.PERMISSION_DENIED}
"""Codes that say that the request is wrong: every shard would say so."""

ShardOutputs = dict[str, np.ndarray]


class ShardConnection(NamedTuple):
    """One shard's server.

    Attributes:
        name: For error texts.
        stub: Sends to it.
        window: Bounds the calls in flight of all callers.
        tls: Finds the cause of a failed connection.
    """

    name: str
    stub: prediction_service_pb2_grpc.PredictionServiceStub
    window: CallWindow
    tls: ClientTls | RotatingTls


class _Sent(NamedTuple):
    """A call in flight, and when it was sent on the monotonic clock."""

    future: grpc.Future
    sent_s: float


class ShardCalls:
    """The calls of one caller; used once, by the caller's thread alone.

    What other threads have to say - a turn has come, an answer is there, the
    client went away - they put into a queue as something for this thread to do.
    """

    def __init__(
        self,
        shards: Sequence[ShardConnection],
        requests: Sequence[tuple[int, predict_pb2.PredictRequest]],
        *,
        deadline_s: float,
        call_timeout_s: float,
        metadata: Sequence[tuple[str, str]] = (),
    ):
        """Sends nothing yet.

        Args:
            shards: All shards.
            requests: Number of the shard and message.
            deadline_s: When nobody waits any longer, on the monotonic clock.
            call_timeout_s: Longest wait for the answer to one call.
            metadata: Sent with every call.
        """
        self._shards = shards
        self._requests = requests
        self._deadline_s = deadline_s
        self._call_timeout_s = call_timeout_s
        self._metadata = metadata
        self._unsent: dict[int, collections.deque[int]] = {}
        for position, (shard, _) in enumerate(requests):
            self._unsent.setdefault(shard, collections.deque()).append(position)
        self._asked: dict[int, Callable[[], None]] = {}
        self._in_flight: dict[int, _Sent] = {}
        self._heard_s: dict[int, float] = {}
        self._answers: dict[int, ShardOutputs | ServingError] = {}
        self._to_do: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, call: Call) -> list[ShardOutputs | ServingError]:
        """Sends all requests and waits for the answers; ends early when `call` is cancelled.

        Returns:
            For every request its outputs, or why there are none.

        Raises:
            ServingError: CANCELLED, or a shard says that a request is wrong.
        """
        try:
            with call.woken_by_cancel(functools.partial(self._to_do.put, call.check)):
                for shard in self._unsent:
                    self._ask_turn(shard)
                while len(self._answers) < len(self._requests) and self._do_next():
                    pass
        finally:
            self._leave()
        return [
            self._answers[position] if position in self._answers else self._late(shard)
            for position, (shard, _) in enumerate(self._requests)
        ]

    def _do_next(self) -> bool:
        """Waits for something to do and does it; False when the time is over."""
        left_s = time_until_s(self._deadline_s)
        if left_s == 0.0:
            return False
        try:
            do = self._to_do.get(timeout=left_s)
        except queue.Empty:
            return False
        do()
        return True

    def _ask_turn(self, shard: int) -> None:
        """Asks for the turn of the next request to a shard, if there is one."""
        if self._unsent[shard]:
            start = functools.partial(self._to_do.put, functools.partial(self._send, shard))
            self._asked[shard] = start
            self._shards[shard].window.ask(start)

    def _send(self, shard: int) -> None:
        """Uses a turn."""
        stub, window = self._shards[shard].stub, self._shards[shard].window
        if not self._unsent[shard]:  # The shard was given up meanwhile.
            del self._asked[shard]
            window.end()
            return
        position = self._unsent[shard].popleft()
        sent_s = time.monotonic()
        deadline_s = min(deadline_after(self._call_timeout_s), self._deadline_s)
        future = stub.Predict.future(
            self._requests[position][1],
            timeout=time_until_s(deadline_s),
            metadata=self._metadata,
        )
        self._in_flight[position] = _Sent(future, sent_s)

        def end_turn(_: grpc.Future) -> None:
            # In this order: the answer may say that no turn is wanted any more.
            self._to_do.put(functools.partial(self._take, shard, position))
            window.end()

        future.add_done_callback(end_turn)
        del self._asked[shard]  # From here on the callback ends the turn, before `_leave`.
        self._ask_turn(shard)

    def _take(self, shard: int, position: int) -> None:
        """Takes an answer, or the news that there is none."""
        future, sent_s = self._in_flight.pop(position)
        answer = self._answers[position] = _read(self._shards[shard], future)
        if not isinstance(answer, ServingError):
            self._heard_s[shard] = time.monotonic()
        elif answer.code == Code.DEADLINE_EXCEEDED and self._heard_s.get(shard, 0.0) < sent_s:
            # Silent for as long as a call may take: the others would only wait as long.
            self._answers.update(dict.fromkeys(self._unsent[shard], answer))
            self._unsent[shard].clear()

    def _leave(self) -> None:
        """Gives up what is not sent and what is not answered."""
        for shard, start in self._asked.items():
            self._shards[shard].window.withdraw(start)
        for sent in self._in_flight.values():
            sent.future.cancel()

    def _late(self, shard: int) -> ServingError:
        return ServingError(
            Code.DEADLINE_EXCEEDED, f"{self._shards[shard].name}: no answer in time"
        )


def _read(shard: ShardConnection, future: grpc.Future) -> ShardOutputs | ServingError:
    """The outputs of a finished call, or why there are none.

    Raises:
        ServingError: The request is wrong.
    """
    try:
        response = future.result()
    except grpc.RpcError as error:
        code = Code(error.code().value[0])
        reason = shard.tls.find_cause(error.details()) or error.details()
        lost = ServingError(code, f"{shard.name}: {reason}")
        if code in _REFUSALS:
            raise _of_older_version(shard, reason) or lost from error
        return lost
    return {name: tensors.to_numpy(proto, name) for name, proto in response.outputs.items()}


def _of_older_version(shard: ShardConnection, reason: str) -> ServingError | None:
    """What to say where a shard refuses an input that it does not know; None for another reason.

    Requests are checked before they are sent to the shards, so it runs an older version.
    """
    names = signatures.read_extra_inputs(reason)
    if not names:
        return None
    inputs = ", ".join(f"`{name}`" for name in names)
    return ServingError(
        Code.UNIMPLEMENTED,
        f"{shard.name} runs an older version, which does not know {inputs}. Update the shards "
        "before the front, or ask without.",
    )
