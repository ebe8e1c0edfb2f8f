"""Too much, too late, too large: refused at once, and the rest is answered."""

import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from recall.config import RecallConfig
from tests.benchmarks.load import Generator, combine
from tests.benchmarks.serving_release import draw_unit_vectors, write_release
from tests.reliability.tally import scaled
from tests.serving.server_process import build_message

pytestmark = pytest.mark.reliability

DIM = 32
CONFIG = RecallConfig().override([f"model.dim={DIM}", "model.num_blocks=1", "index.kind=exact"])
NUM_ITEMS = 20_000
USERS = 32
"""Of a request: heavy ones, so that five times what the server can do is not more than
the generators can send from the same two cores."""

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
    inputs = {"user_vectors": vectors, "k": np.int32(100), "exact": np.array(True)}
    return build_message("recall", "user_vectors", inputs)


def test_goodput_under_overload(serving_dir, start_server, tally):
    """Peak by a closed loop, then five times as much whatever the answers are."""
    seconds = scaled(20, at_least=5)
    server = start_server(serving_dir, options={"max_in_flight": 4})
    messages = [_heavy_message().SerializeToString()]
    Generator(server.grpc_address, messages, seconds=2, concurrency=4).result()
    peak = Generator(server.grpc_address, messages, seconds=seconds, concurrency=4).result()
    assert set(peak.codes) == {"OK"}
    rate = OVERLOAD * peak.answers_per_second / GENERATORS
    generators = [
        Generator(server.grpc_address, messages, seconds=seconds, rate=rate)
        for _ in range(GENERATORS)
    ]
    load = combine([generator.result() for generator in generators])
    goodput = load.answers_per_second / peak.answers_per_second
    shed = load.refused_ms
    tally.start(12, "5x overload: goodput >= 80 % of peak, excess shed in 10 ms", 2)
    tally.count(goodput >= 0.8, f"goodput {goodput:.2f}")
    tally.count(np.median(shed) <= SHED_MS, f"median of refusals {np.median(shed):.1f} ms")
    tally.note(f"peak {peak.answers_per_second:.0f}/s, goodput {goodput:.0%}")
    tally.note(
        f"{len(shed):,} shed, median {np.median(shed):.1f} ms, "
        f"{np.mean(shed <= SHED_MS):.0%} within 10 ms"
    )
    assert set(load.codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert len(shed) > len(load.answered_ms)


def test_a_deadline_of_a_millisecond(serving_dir, start_server, tally):
    """The caller hears DEADLINE_EXCEEDED, and the server does not go on working for nobody."""
    calls = scaled(200, at_least=40)
    server = start_server(serving_dir)
    message = _heavy_message()
    with server.open_client() as client:
        client.prediction.Predict(message, timeout=60)
        before_s = server.cpu_seconds()
        for _ in range(calls // 4):
            client.prediction.Predict(message, timeout=60)
        whole_s = (server.cpu_seconds() - before_s) / (calls // 4)
        tally.start(11, "deadline of 1 ms: DEADLINE_EXCEEDED, work given up", calls + 1)
        before_s = server.cpu_seconds()
        for _ in range(calls):
            with pytest.raises(grpc.RpcError) as error:
                client.prediction.Predict(message, timeout=0.001)
            tally.count(error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error.value)
        deadline_s = time.monotonic() + 10
        while "recall_requests_in_flight 0.0" not in server.get("/monitoring/prometheus/metrics"):
            assert time.monotonic() < deadline_s
        spent_s = (server.cpu_seconds() - before_s) / calls
        tally.count(spent_s < 0.5 * whole_s, f"{spent_s * 1e3:.1f} ms of {whole_s * 1e3:.1f}")
    tally.note(f"{spent_s * 1e3:.1f} CPU-ms a call, {whole_s * 1e3:.1f} when it is waited for")
