"""What requests of one kind cost a server process."""

from collections.abc import Sequence

from serving.api import recall_tensors
from serving.api.recall_request import RecallRequest
from tests.benchmarks.load import DEADLINE_S, Generator
from tests.serving.server_process import ServerProcess, build_message


def build_recall_message(request: RecallRequest):
    """A request of the recall service as a Predict message."""
    return build_message("recall", *recall_tensors.build_recall_inputs(request))


def measure_load(
    server: ServerProcess,
    messages: Sequence[bytes],
    concurrency: int,
    seconds: float,
    deadline_s: float | None = DEADLINE_S,
) -> dict[str, float]:
    """Latency, throughput and the server's CPU time of one kind of request."""
    plan = {"seconds": seconds, "warm_up": seconds / 5, "concurrency": concurrency}
    generator = Generator(server.grpc_address, messages, **plan, deadline_s=deadline_s)
    generator.wait_until_warm()
    before_s = server.cpu_seconds()
    load = generator.result()
    spent_s = server.cpu_seconds() - before_s
    if set(load.codes) != {"OK"}:
        raise RuntimeError(f"not all requests were answered: {load.codes}")
    return {
        **load.percentiles(),
        "answers_per_second": load.answers_per_second,
        "server_cpu_ms": 1e3 * spent_s / len(load.answered_ms),
    }
