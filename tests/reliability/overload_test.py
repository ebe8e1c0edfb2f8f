"""Too much, too late, too large: refused at once, and the rest is answered."""

import time
from collections.abc import Callable

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from recall.config import RecallConfig
from serving.protocol import tensors
from tests.benchmarks.load import DEADLINE_S, Generator, combine
from tests.benchmarks.serving_release import draw_unit_vectors, write_release
from tests.reliability.tally import scaled
from tests.serving.server_process import Client, ServerProcess, build_message

pytestmark = pytest.mark.reliability

DIM = 32
CONFIG = RecallConfig().override([f"model.dim={DIM}", "model.num_blocks=1", "index.kind=exact"])
NUM_ITEMS = 20_000
USERS = 32
"""Of a request: heavy ones, so that five times what the server can do is not more than
the generators can send from the same two cores."""

K = 100
GENERATORS = 2
OVERLOAD = 5
SHED_MS = 10.0


@pytest.fixture(scope="module")
def serving_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overload")
    write_release(folder, 1, NUM_ITEMS, CONFIG)
    return folder


def _heavy_message() -> predict_pb2.PredictRequest:
    """Ready vectors of many users, every item scored."""
    vectors = draw_unit_vectors(USERS * 4, DIM, seed=9).reshape(USERS, 4, DIM)
    inputs = {"user_vectors": vectors, "k": np.int32(K), "exact": np.array(True)}
    return build_message("recall", "user_vectors", inputs)


@pytest.mark.parametrize("deadline_s", [DEADLINE_S, None], ids=["deadline", "no-deadline"])
def test_goodput_under_overload(serving_dir, start_server, tally, deadline_s):
    """Peak by a closed loop, then five times as much whatever the answers are."""
    seconds = scaled(10, at_least=5)
    plan = {"seconds": seconds, "deadline_s": deadline_s}
    server = start_server(serving_dir, options={"max_in_flight": 4})
    messages = [_heavy_message().SerializeToString()]
    Generator(server.grpc_address, messages, seconds=2, concurrency=4).result()
    peak = Generator(server.grpc_address, messages, **plan, concurrency=4).result()
    assert set(peak.codes) == {"OK"}
    rate = OVERLOAD * peak.answers_per_second / GENERATORS
    generators = [
        Generator(server.grpc_address, messages, **plan, rate=rate) for _ in range(GENERATORS)
    ]
    load = combine([generator.result() for generator in generators])
    goodput = load.answers_per_second / peak.answers_per_second
    shed = load.refused_ms
    tally.start(12, "5x overload: goodput >= 80 % of peak, excess shed in 10 ms", 2)
    tally.count(goodput >= 0.8, f"goodput {goodput:.2f}")
    tally.count(np.median(shed) <= SHED_MS, f"median of refusals {np.median(shed):.1f} ms")
    tally.note("calls without a deadline" if deadline_s is None else "calls with a deadline")
    tally.note(f"peak {peak.answers_per_second:.0f}/s, goodput {goodput:.0%}")
    tally.note(
        f"{len(shed):,} shed, median {np.median(shed):.1f} ms, "
        f"{np.mean(shed <= SHED_MS):.0%} within 10 ms"
    )
    assert set(load.codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert len(shed) > len(load.answered_ms)


def _message_of_histories() -> predict_pb2.PredictRequest:
    """Histories of many users: nothing can be found before the tower is done with all."""
    rows = np.random.default_rng(3).integers(NUM_ITEMS, size=(USERS, 50))
    histories = [[f"i{row}" for row in history] for history in rows.tolist()]
    inputs = {"history_item_ids": tensors.pad_strings(histories), "exact": np.array(True)}
    return build_message("recall", "", inputs)


def test_a_deadline_of_a_millisecond(serving_dir, start_server, tally):
    """The server does not go on working for nobody, and says nothing that is not so.

    Ready vectors are searched user by user, so at the deadline some may have their
    items: the answer, should it still arrive, has these and marks all others.
    """
    calls = scaled(200, at_least=40)
    server = start_server(serving_dir)
    tally.start(11, "deadline of 1 ms: DEADLINE_EXCEEDED, work given up", 2 * calls + 1)
    with server.open_client() as client:
        for _ in range(calls):
            error = _outcome(client, _message_of_histories())
            held = getattr(error, "code", str)() == grpc.StatusCode.DEADLINE_EXCEEDED
            tally.count(held, error)
        message = _heavy_message()
        client.prediction.Predict(message)  # The first of a kind costs more.
        whole_s = _cpu_seconds_of(server, lambda: client.prediction.Predict(message), calls // 4)
        answers = []
        spent_s = _cpu_seconds_of(server, lambda: answers.append(_outcome(client, message)), calls)
    for answer in answers:
        tally.count(_is_late_or_marked(answer), answer)
    tally.count(spent_s < 0.5 * whole_s, f"{spent_s * 1e3:.1f} ms of {whole_s * 1e3:.1f}")
    num_marked = sum(not isinstance(answer, grpc.RpcError) for answer in answers)
    tally.note(f"{num_marked} of {calls} had some users' items in time and said so")
    tally.note(f"{spent_s * 1e3:.1f} CPU-ms a call, {whole_s * 1e3:.1f} when it is waited for")


def _outcome(client: Client, message) -> grpc.RpcError | predict_pb2.PredictResponse:
    """What a caller with one millisecond gets."""
    try:
        return client.prediction.Predict(message, timeout=0.001)
    except grpc.RpcError as error:
        return error


def _cpu_seconds_of(server: ServerProcess, call: Callable[[], object], calls: int) -> float:
    """CPU time of the server for each call, its work after the call included."""
    before_s = server.cpu_seconds()
    for _ in range(calls):
        call()
    deadline_s = time.monotonic() + 10
    while "recall_requests_in_flight 0.0" not in server.get("/monitoring/prometheus/metrics"):
        assert time.monotonic() < deadline_s
    return (server.cpu_seconds() - before_s) / calls


def _is_late_or_marked(answer: grpc.RpcError | predict_pb2.PredictResponse) -> bool:
    """DEADLINE_EXCEEDED, or an answer whose users are complete or marked and empty."""
    if isinstance(answer, grpc.RpcError):
        return answer.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    outputs = {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}
    found = (outputs["item_ids"] != b"").sum(axis=1)
    complete = (found == K) & (outputs["coverage"] == 1) & ~outputs["degraded"]
    marked = outputs["degraded"] & np.isclose(outputs["coverage"], found / K)
    return bool(np.all(complete | marked) and marked.any())
