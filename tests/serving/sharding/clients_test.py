"""Calls of several callers to servers of two shards, over sockets of this machine."""

import threading
import time
from concurrent import futures

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.protocol import plain_tensors, tensors
from serving.protocol.call import Call, answering
from serving.protocol.status import Code, ServingError
from serving.sharding.clients import MAX_CALLS_PER_SHARD, ShardCall, ShardClients
from tests.waiting import wait_for

TIMEOUT_S = 20.0


class FakeShard(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with its input, and counts the calls it works on at a time.

    Attributes:
        gate: Calls are not answered while it is closed.
        asked: The inputs, in the order they came.
        most: Most calls in work at a time.
    """

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.asked, self.most = [], 0
        self._lock, self._in_work = threading.Lock(), 0
        self._server = grpc.server(futures.ThreadPoolExecutor(100))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Predict(self, request, context):
        with self._lock:
            self._in_work += 1
            self.most = max(self.most, self._in_work)
            self.asked.append(int(tensors.to_numpy(request.inputs["x"])))
        try:
            assert self.gate.wait(TIMEOUT_S)
        finally:
            with self._lock:
                self._in_work -= 1
        if self.asked[-1] < 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "negative")
        return predict_pb2.PredictResponse(outputs={"x": request.inputs["x"]})

    def wait_for(self, count):
        """Returns when so many calls came."""
        wait_for(lambda: len(self.asked) >= count)

    def stop(self):
        self.gate.set()
        self._server.stop(None).wait()


@pytest.fixture
def shards():
    both = [FakeShard(), FakeShard()]
    yield both
    for shard in both:
        shard.stop()


@pytest.fixture
def clients(shards):
    clients = ShardClients([shard.address for shard in shards])
    yield clients
    clients.close()


@pytest.fixture
def pool():
    with futures.ThreadPoolExecutor(8) as pool:
        yield pool


def calls_of(numbers):
    return [ShardCall("m", "", {"x": plain_tensors.build("x", number)}) for number in numbers]


def values(answers):
    return [[answer["x"].item() for answer in of_shards] for of_shards in answers]


def codes(answers):
    return {answer.code for answer in answers if isinstance(answer, ServingError)}


def test_callers_together_have_a_bounded_number_of_calls_in_flight(shards, clients, pool):
    for shard in shards:
        shard.gate.clear()
    batches = [range(start, start + 200) for start in (0, 1000, 2000)]
    asked = [pool.submit(clients.ask_all, calls_of(batch), TIMEOUT_S) for batch in batches]
    for shard in shards:
        shard.wait_for(MAX_CALLS_PER_SHARD)
        shard.gate.set()
    for batch, future in zip(batches, asked, strict=True):
        assert values(future.result(TIMEOUT_S)) == [[number, number] for number in batch]
    assert [shard.most for shard in shards] == [MAX_CALLS_PER_SHARD] * 2


def test_a_lone_call_does_not_wait_for_a_whole_batch(shards, clients, pool):
    shards[0].gate.clear()
    batch = pool.submit(clients.ask_all, calls_of(range(300)), TIMEOUT_S)
    shards[0].wait_for(MAX_CALLS_PER_SHARD)
    lone = pool.submit(clients.ask_all, calls_of([1000]), TIMEOUT_S)
    shards[1].wait_for(301)
    shards[0].gate.set()
    assert values(lone.result(TIMEOUT_S)) == [[1000, 1000]]
    batch.result(TIMEOUT_S)
    # Turns are taken in order, but the thread that got one may be a while in using it.
    assert shards[0].asked.index(1000) <= 4 * MAX_CALLS_PER_SHARD


def test_a_batch_may_take_longer_than_a_call(shards, clients, pool):
    """Eight waves of .3 s, 2 s for each call."""
    shard = shards[0]
    shard.gate.clear()

    def open_for_a_wave():
        for wave in range(1, 9):
            shard.wait_for(MAX_CALLS_PER_SHARD * wave)
            time.sleep(0.3)
            shard.gate.set()
            shard.gate.clear()

    opening = pool.submit(open_for_a_wave)
    numbers = range(8 * MAX_CALLS_PER_SHARD)
    started_s = time.monotonic()
    answers = clients.ask_some(
        [(0, call) for call in calls_of(numbers)], TIMEOUT_S, call_timeout_s=2.0
    )
    assert time.monotonic() - started_s > 2.4
    assert [answer["x"].item() for answer in answers] == list(numbers)
    opening.result(TIMEOUT_S)


def test_a_silent_shard_is_given_up_after_the_time_of_one_call(shards, clients):
    shards[1].gate.clear()
    started_s = time.monotonic()
    answers = clients.ask_all(calls_of(range(500)), TIMEOUT_S, call_timeout_s=2.0)
    assert 2.0 <= time.monotonic() - started_s < 4.0
    assert [answer[0]["x"].item() for answer in answers] == list(range(500))
    assert codes(answer[1] for answer in answers) == {Code.DEADLINE_EXCEEDED}
    assert len(shards[1].asked) == MAX_CALLS_PER_SHARD


def test_the_time_of_the_caller_ends_what_is_sent_and_what_is_not(shards, clients):
    shards[0].gate.clear()
    started_s = time.monotonic()
    answers = clients.ask_all(calls_of(range(100)), 0.3, call_timeout_s=10.0)
    assert 0.3 <= time.monotonic() - started_s < 3.0
    assert codes(answer[0] for answer in answers) == {Code.DEADLINE_EXCEEDED}
    shards[0].gate.set()
    # All turns are free again.
    assert values(clients.ask_all(calls_of(range(100)), TIMEOUT_S)) == [[n, n] for n in range(100)]


def test_a_client_that_leaves_ends_the_wait(shards, clients, pool):
    shards[0].gate.clear()
    call = Call()

    def ask():
        with answering(call):
            clients.ask_all(calls_of(range(100)), TIMEOUT_S)

    asking = pool.submit(ask)
    shards[0].wait_for(MAX_CALLS_PER_SHARD)
    call.cancel()
    with pytest.raises(ServingError) as error:
        asking.result(TIMEOUT_S)
    assert error.value.code == Code.CANCELLED
    shards[0].gate.set()
    assert values(clients.ask_all(calls_of(range(100)), TIMEOUT_S)) == [[n, n] for n in range(100)]


def test_a_wrong_call_is_refused(shards, clients):
    with pytest.raises(ServingError, match=r"Shard \d/2 at 127\.0\.0\.1:\d+: negative"):
        clients.ask_all(calls_of([-1]), TIMEOUT_S)


def test_calls_to_some_shards(shards, clients):
    first, second = calls_of([5, 6])
    answers = clients.ask_some([(1, first), (1, second)], TIMEOUT_S)
    assert [answer["x"].item() for answer in answers] == [5, 6]
    assert (shards[0].asked, sorted(shards[1].asked)) == ([], [5, 6])
    assert clients.ask_some([], TIMEOUT_S) == []
