"""Requests that share a batch are answered as if each were alone."""

import gc
import threading
import time
import weakref
from concurrent import futures

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from recall.errors import InputError
from serving.api import recall_json
from serving.api.recall_request import RecallRequest
from serving.batching.options import BatchingOptions
from serving.protocol.call import Call, answering, current
from serving.protocol.status import Code, ServingError
from serving.retrieval.batched_recall import RECALL_BATCHING, BatchedRecallService
from serving.retrieval.service import RecallService
from tests.serving.recall_reference import Shop
from tests.serving.retrieval.recall_properties_test import found, requests
from tests.waiting import wait_for

SHOP = Shop(600)
ONE_RUNNER = BatchingOptions(num_batch_threads=1, max_batch_size=16)
TIMEOUT_S = 10


class GatedTower:
    """The shop's user tower; a history that starts with "gate" waits for the gate."""

    def __init__(self):
        self.gate, self.entered = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.calls: list[Call] = []
        self.compute([()])

    def compute(self, histories, *, timeout_s=None):
        self.batches.append(len(histories))
        self.calls.append(current())
        if histories[0][:1] == ("gate",):
            self.entered.set()
            assert self.gate.wait(TIMEOUT_S)
        return SHOP.compute(histories)


class Busy:
    """A service whose only runner is at work until `release`."""

    def __init__(self, tower, batching=ONE_RUNNER):
        self.tower = tower
        self.reports = []
        self.inner = RecallService(tower, SHOP.catalogue())
        self.service = BatchedRecallService(self.inner, batching, self.reports.append)
        tower.batches.clear()
        self.pool = futures.ThreadPoolExecutor(24)
        self.first = self.submit(RecallRequest(("gate", "n1"), k=3))
        assert tower.entered.wait(TIMEOUT_S)

    def submit(self, request, call=None, timeout_s=None):
        def run():
            with answering(call or Call()):
                return self.service.recall([request], timeout_s=timeout_s)[0]

        return self.pool.submit(run)

    def submit_waiting(self, request, **arguments):
        """As `submit`; returns when the request waits."""
        waiting = self.service.num_waiting + 1
        future = self.submit(request, **arguments)
        wait_for(lambda: self.service.num_waiting == waiting)
        return future

    def release(self):
        self.tower.gate.set()
        return self.first.result(TIMEOUT_S)


@pytest.fixture
def busy():
    one = Busy(GatedTower())
    yield one
    one.tower.gate.set()
    one.pool.shutdown()


def test_waiting_requests_are_answered_in_one_call_of_the_tower(busy):
    asked = [RecallRequest((f"n{n}", f"n{n + 7}"), k=5 + n) for n in range(6)]
    waiting = [busy.submit_waiting(request) for request in asked]
    busy.release()
    for request, future in zip(asked, waiting, strict=True):
        assert found(future.result(TIMEOUT_S)) == SHOP.expected(request)
    assert busy.tower.batches == [1, 6]
    assert [report.num_rows for report in busy.reports] == [1, 6]


def test_histories_of_other_lengths_are_not_padded_to_a_long_one(busy):
    lengths = (3, 200, 5)
    waiting = [busy.submit_waiting(RecallRequest(("n1",) * n, k=3)) for n in lengths]
    busy.release()
    assert [len(future.result(TIMEOUT_S).items) for future in waiting] == [3, 3, 3]
    assert sorted(busy.tower.batches) == [1, 1, 2]


UNUSUAL = [
    {"exact": True},
    {"categories": ("half",)},
    {"exclude_categories": ("rare",)},
    {"allow": ("n1", "n2")},
    {"max_per_category": 2},
    {"interest_weights": (1.0, 0.5, 0.0)},
    {"merge": "quota"},
    {"merge": "diversity"},
    {"leaves_to_search": 3},
    {"reorder": 50},
    {"deny": tuple(f"n{n}" for n in range(2000))},
]


@pytest.mark.parametrize("fields", UNUSUAL, ids=[next(iter(fields)) for fields in UNUSUAL])
def test_requests_that_may_cost_more_do_not_wait_in_the_queue(busy, fields):
    request = RecallRequest(("n5",), k=2, **fields)
    assert found(busy.submit(request).result(TIMEOUT_S)) == SHOP.expected(request)
    assert not busy.first.done()


def test_batches_of_a_caller_do_not_wait_in_the_queue(busy):
    asked = [RecallRequest(("n5",), k=2)] * 3
    assert len(busy.service.recall(asked)) == 3
    assert busy.service.recall([]) == []
    assert not busy.first.done()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"k": 0}, InputError),
        ({"user_vectors": np.ones((1, 3), np.float32)}, InputError),
        ({"user_vectors": np.ones((1, 4), np.float32), "fingerprint": "other"}, ServingError),
    ],
)
def test_bad_requests_are_refused_without_waiting(busy, fields, error):
    with pytest.raises(error):
        busy.service.recall([RecallRequest(**fields)])
    assert not busy.first.done()


def test_a_request_whose_time_is_over_spoils_no_other_one(busy):
    late = busy.submit_waiting(RecallRequest(("n2",), k=4), timeout_s=1.0)
    patient = RecallRequest(("n3",), k=4)
    waiting = busy.submit_waiting(patient, timeout_s=60.0)
    compute = busy.tower.compute

    def takes_long(histories, **arguments):
        time.sleep(1.1)
        return compute(histories, **arguments)

    busy.tower.compute = takes_long
    busy.release()
    with pytest.raises(ServingError) as error:
        late.result(TIMEOUT_S)
    assert error.value.code == Code.DEADLINE_EXCEEDED
    response = waiting.result(TIMEOUT_S)
    assert (found(response), response.degraded) == (SHOP.expected(patient), False)
    assert busy.tower.batches == [1, 2]


def test_a_request_waits_no_longer_than_its_own_time(busy):
    """The door gives every call 30 s; the request of this one says 50 ms."""
    document = {"history": ["n2"], "k": 4, "timeout_ms": 50}
    started_s = time.monotonic()
    body = recall_json.parse_body(document, 1)
    with answering(Call(30.0)), pytest.raises(ServingError) as error:
        busy.service.recall(body.requests, timeout_s=body.shorter(30.0))
    assert error.value.code == Code.DEADLINE_EXCEEDED
    assert 0.05 <= time.monotonic() - started_s < 1.0
    assert not busy.first.done()
    assert busy.service.num_waiting == 0
    busy.release()
    assert busy.tower.batches == [1]


def test_a_request_that_waits_for_its_own_time_follows_its_client(busy):
    call = Call(30.0)
    gone = busy.submit_waiting(RecallRequest(("n2",), k=4), call=call, timeout_s=20.0)
    call.cancel()
    with pytest.raises(ServingError) as error:
        gone.result(TIMEOUT_S)
    assert error.value.code == Code.CANCELLED
    assert busy.service.num_waiting == 0


def test_what_a_batch_found_in_time_is_not_thrown_away(busy):
    """The time of one request ends after its search and before the others' one."""
    request = RecallRequest(("n2",), k=4)
    runner = busy.submit_waiting(RecallRequest(("n3",), k=4))
    waiting = busy.submit_waiting(request, timeout_s=1.0)
    recall_together = busy.inner.recall_together

    def ends_late(*arguments):
        responses = recall_together(*arguments)
        time.sleep(1.1)
        return responses

    busy.inner.recall_together = ends_late
    busy.release()
    assert found(waiting.result(TIMEOUT_S)) == SHOP.expected(request)
    runner.result(TIMEOUT_S)


def test_a_client_that_leaves_does_not_end_the_batch_it_runs(busy):
    runner = Call(timeout_s=30.0)
    gone = busy.submit_waiting(RecallRequest(("n2",), k=4), call=runner)
    others = [busy.submit_waiting(RecallRequest(("n3",), k=4)) for _ in range(2)]
    compute = busy.tower.compute

    def leaves_meanwhile(histories, **arguments):
        runner.cancel()
        current().check()  # As the queue of a tower in this process does.
        return compute(histories, **arguments)

    busy.tower.compute = leaves_meanwhile
    busy.release()
    expected = SHOP.expected(RecallRequest(("n3",), k=4))
    assert [found(future.result(TIMEOUT_S)) for future in others] == [expected] * 2
    gone.exception(TIMEOUT_S)
    assert busy.tower.batches == [1, 3]


def test_a_batch_waits_as_long_as_its_most_patient_request(busy):
    for timeout_s in (20.0, 50.0):
        busy.submit_waiting(RecallRequest(("n2",), k=4), call=Call(timeout_s))
    busy.release()
    busy.pool.shutdown()
    assert 40.0 < busy.tower.calls[-1].time_left_s() <= 50.0


def test_a_cancelled_request_leaves_the_queue(busy):
    call = Call()
    gone = busy.submit_waiting(RecallRequest(("n2",), k=4), call=call)
    call.cancel()
    with pytest.raises(ServingError) as error:
        gone.result(TIMEOUT_S)
    assert error.value.code == Code.CANCELLED
    assert busy.service.num_waiting == 0


def test_a_service_is_gone_with_its_last_user():
    service = BatchedRecallService(RecallService(SHOP, SHOP.catalogue()))
    alive = weakref.ref(service)
    service.recall([RecallRequest(("n1",), k=3)])
    gc.disable()
    try:
        del service
        assert alive() is None
    finally:
        gc.enable()


def test_requests_of_many_callers_are_those_of_brute_force():
    plain = RecallService(SHOP, SHOP.catalogue())
    service = BatchedRecallService(plain, RECALL_BATCHING)

    @settings(max_examples=15, deadline=None)
    @given(st.lists(requests(600), min_size=20, max_size=40))
    def check(asked):
        with futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda request: service.recall([request])[0], asked))
        for request, answer in zip(asked, answers, strict=True):
            (alone,) = plain.recall([request])
            assert found(answer) == found(alone) == SHOP.expected(request)

    check()
