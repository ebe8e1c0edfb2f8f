"""A queue outlives whatever happens to its callers, and takes any deadline or none."""

import sys
import threading
from concurrent import futures

import grpc
import pytest

from serving.batching.batch_queue import BatchQueue
from serving.batching.options import BatchingOptions
from serving.protocol.call import Call, answering
from serving.protocol.status import Code, ServingError
from tests.waiting import wait_for

TIMEOUT_S = 10
GRPC_NO_DEADLINE_S = 9.2e18
"""`time_remaining()` of a gRPC call without a deadline (grpcio 1.76)."""


class Doubler:
    """Doubles numbers while the gate is open; some jobs raise what they are."""

    def __init__(self):
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.batches: list[list] = []

    def __call__(self, jobs):
        self.batches.append(list(jobs))
        self.started.release()
        assert self.gate.wait(TIMEOUT_S)
        for job in jobs:
            if isinstance(job, BaseException):
                raise job
        return [2 * job for job in jobs]


class Busy:
    """A queue whose only runner is at work until `release`."""

    def __init__(self, report=lambda _: None, **options):
        self.function = Doubler()
        self.queue = BatchQueue(self.function, BatchingOptions(**options), report)
        self.pool = futures.ThreadPoolExecutor(16)
        self.first = self.submit(1)
        assert self.function.started.acquire(timeout=TIMEOUT_S)

    def submit(self, job, call=None, **arguments):
        def run():
            with answering(call or Call()):
                return self.queue.run(job, 1, **arguments)

        return self.pool.submit(run)

    def submit_waiting(self, job, **arguments):
        rows = self.queue.queued_rows + 1
        future = self.submit(job, **arguments)
        wait_for(lambda: self.queue.queued_rows == rows)
        return future

    def release(self):
        self.function.gate.set()


@pytest.fixture
def busy():
    made = []

    def make(**arguments):
        made.append(Busy(**arguments))
        return made[-1]

    yield make
    for one in made:
        one.release()
        one.pool.shutdown()


LONG_S = [None, GRPC_NO_DEADLINE_S, sys.float_info.max, float("inf"), float("nan"), 1e10, 86_400.0]


@pytest.mark.parametrize("long_s", LONG_S)
def test_any_deadline_or_none(busy, long_s):
    one = busy()
    waiting = [one.submit_waiting(n, call=Call(long_s)) for n in (2, 3)]
    waiting.append(one.submit_waiting(4, timeout_s=long_s))
    one.release()
    assert [future.result(TIMEOUT_S) for future in waiting] == [4, 6, 8]
    assert one.function.batches == [[1], [2, 3, 4]]


@pytest.mark.parametrize("long_s", [GRPC_NO_DEADLINE_S, 1e10])
def test_any_wait_for_a_fuller_batch(busy, long_s):
    one = busy(batch_timeout_s=long_s, max_batch_size=2)
    waiting = [one.submit_waiting(2)]
    one.release()
    assert one.first.result(TIMEOUT_S) == 2
    waiting.append(one.submit(3))
    assert [future.result(TIMEOUT_S) for future in waiting] == [4, 6]


@pytest.mark.parametrize("ends", ["deadline", "cancel"])
def test_who_leaves_while_waiting_for_a_fuller_batch_stops_nobody(busy, ends):
    one = busy(batch_timeout_s=30.0, max_batch_size=2)
    call = Call(0.2 if ends == "deadline" else None)
    gone = one.submit_waiting(2, call=call)
    one.release()
    one.first.result(TIMEOUT_S)
    if ends == "cancel":
        call.cancel()
    code = {"deadline": Code.DEADLINE_EXCEEDED, "cancel": Code.CANCELLED}[ends]
    with pytest.raises(ServingError) as error:
        gone.result(TIMEOUT_S)
    assert error.value.code is code
    assert one.submit(3).result(TIMEOUT_S) == 6


class _Stops(Call):
    """A call whose caller is stopped by Ctrl-C, at the nth time it looks at the clock."""

    def __init__(self, at: int):
        super().__init__()
        self._looks = at

    def time_left_s(self):
        self._looks -= 1
        if self._looks == 0:
            raise KeyboardInterrupt
        return super().time_left_s()


@pytest.mark.parametrize("at", range(3, 9))
def test_a_caller_that_is_stopped_anywhere_stops_nobody_else(busy, at):
    one = busy(max_batch_size=8)
    stopped = one.submit(2, call=_Stops(at))
    wait_for(lambda: one.queue.queued_rows == 1 or stopped.done())
    waiting = [one.submit(n) for n in (3, 4)]
    one.release()
    assert [future.result(TIMEOUT_S) for future in waiting] == [6, 8]
    stopped.exception(TIMEOUT_S)
    assert one.submit(5).result(TIMEOUT_S) == 10
    assert one.queue.queued_rows == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_a_runner_that_is_stopped_leaves_its_batch_to_the_others(busy, error):
    one = busy()
    stopped = one.submit_waiting(error)
    waiting = [one.submit_waiting(n) for n in (3, 4)]
    one.release()
    assert [future.result(TIMEOUT_S) for future in waiting] == [6, 8]
    assert stopped.exception(TIMEOUT_S) is error
    assert one.submit(5).result(TIMEOUT_S) == 10


def test_a_lone_runner_that_is_stopped_frees_the_model():
    queue = BatchQueue(lambda jobs: [job() for job in jobs], BatchingOptions())

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.run(stop, 1)
    assert queue.run(lambda: 7, 1) == 7


def test_who_left_a_batch_that_goes_back_does_not_become_its_runner(busy):
    """The second job's client leaves while the first one's thread is being stopped."""
    one = busy()
    call, entered, stop = Call(), threading.Event(), threading.Event()
    function = one.function

    def run(jobs):
        if jobs[0] == 2:
            entered.set()
            assert stop.wait(TIMEOUT_S)
            raise KeyboardInterrupt
        return function(jobs)

    one.queue._function = run
    stopped = one.submit_waiting(2)
    gone, patient = one.submit_waiting(3, call=call), one.submit_waiting(4)
    one.release()
    assert entered.wait(TIMEOUT_S)
    call.cancel()
    with pytest.raises(ServingError):
        gone.result(TIMEOUT_S)
    stop.set()
    assert patient.result(TIMEOUT_S) == 8
    assert isinstance(stopped.exception(TIMEOUT_S), KeyboardInterrupt)


def test_a_report_that_fails_costs_nobody_the_result(busy, caplog):
    def fails(report):
        raise ValueError("no such metric")

    one = busy(report=fails)
    waiting = [one.submit_waiting(n) for n in (2, 3)]
    one.release()
    assert one.first.result(TIMEOUT_S) == 2
    assert [future.result(TIMEOUT_S) for future in waiting] == [4, 6]
    assert "no such metric" in caplog.text


def test_what_grpc_says_of_a_call_without_a_deadline_is_no_deadline():
    """The value that stopped the queue comes from gRPC itself."""
    seen = []

    def handle(request, context):
        seen.append(context.time_remaining())
        return b""

    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(handle)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("s", {"m": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            channel.unary_unary("/s/m")(b"", wait_for_ready=True)
    finally:
        server.stop(0).wait()
    assert Call(seen[0]).time_left_s() is None
