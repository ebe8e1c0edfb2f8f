import threading
import time
from concurrent import futures

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.batching import arrays
from serving.batching.batcher import Batcher
from serving.batching.options import BatchingOptions
from serving.protocol.call import Call, answering
from serving.protocol.status import Code, ServingError
from tests.waiting import wait_for


class Model:
    """Answers with the length of each row; runs only while the gate is open."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)
        self.batches = []

    def __call__(self, inputs):
        self.batches.append(len(inputs["ids"]))
        self.started.release()
        assert self.gate.wait(10)
        if (inputs["ids"] == b"bad").any():
            raise ServingError(Code.INVALID_ARGUMENT, "bad id")
        return {"length": (inputs["ids"] != b"").sum(axis=1)}


def _ids(*rows):
    width = max(map(len, rows))
    padded = [[*row, *[b""] * (width - len(row))] for row in rows]
    return {"ids": np.array(padded, dtype=object)}


class Busy:
    """A batcher whose model is busy with one row until `release`."""

    def __init__(self, reports=None, **options):
        self.model = Model()
        self.model.gate.clear()
        report = (lambda _: None) if reports is None else reports.append
        self.batcher = Batcher(self.model, BatchingOptions(**options), report)
        self.pool = futures.ThreadPoolExecutor(40)
        self.first = self.pool.submit(self.batcher.run, _ids([b"first"]))
        assert self.model.started.acquire(timeout=10)

    def submit(self, inputs, call=None):
        """Sends a request from another thread; returns when it waits."""
        rows = self.batcher.queued_rows + arrays.num_rows(inputs)

        def run():
            with answering(call or Call()):
                return self.batcher.run(inputs)["length"].tolist()

        future = self.pool.submit(run)
        wait_for(lambda: self.batcher.queued_rows == rows)
        return future

    def release(self):
        self.model.gate.set()
        self.first.result(10)


@pytest.fixture
def busy():
    made = []

    def make(**options):
        made.append(Busy(**options))
        return made[-1]

    yield make
    for one in made:
        one.model.gate.set()
        one.pool.shutdown()


def test_a_lone_request_runs_in_its_own_thread():
    threads = []

    def model(inputs):
        threads.append(threading.current_thread())
        return {"length": np.ones(len(inputs["ids"]))}

    Batcher(model, BatchingOptions()).run(_ids([b"a"]))
    assert threads == [threading.current_thread()]


def test_requests_collect_only_while_the_model_is_busy(busy):
    reports = []
    one = busy(reports=reports)
    waiting = [one.submit(_ids([b"a"] * n)) for n in (3, 1, 2)]
    one.release()
    assert [future.result(10) for future in waiting] == [[3], [1], [2]]
    assert one.model.batches == [1, 3]
    assert [report.num_rows for report in reports] == [1, 3]
    assert min(reports[1].waited_s) > 0


def test_batches_are_not_larger_than_allowed(busy):
    one = busy(max_batch_size=4)
    waiting = [one.submit(_ids([b"a"], [b"b", b"c"])) for _ in range(5)]
    one.release()
    assert [future.result(10) for future in waiting] == [[1, 2]] * 5
    assert one.model.batches == [1, 4, 4, 2]


def test_a_request_larger_than_a_batch_runs_alone(busy):
    one = busy(max_batch_size=2)
    large = one.submit(_ids(*[[b"a"]] * 5))
    small = one.submit(_ids([b"a", b"b"]))
    one.release()
    assert large.result(10) == [1] * 5
    assert small.result(10) == [2]
    assert one.model.batches == [1, 5, 1]


def test_full_queue_refuses_at_once(busy):
    one = busy(max_batch_size=2, max_enqueued_batches=2)
    waiting = [one.submit(_ids([b"a"])) for _ in range(4)]
    start = time.perf_counter()
    with pytest.raises(ServingError, match="queue to which this task was submitted is full") as e:
        one.batcher.run(_ids([b"a"]))
    assert time.perf_counter() - start < 0.1
    assert e.value.code == Code.RESOURCE_EXHAUSTED
    one.release()
    assert [future.result(10) for future in waiting] == [[1]] * 4


def test_a_request_whose_deadline_passes_leaves_the_queue(busy):
    one = busy()
    late = one.submit(_ids([b"a"]), Call(timeout_s=0.05))
    patient = one.submit(_ids([b"b"]))
    with pytest.raises(ServingError) as error:
        late.result(10)
    assert error.value.code == Code.DEADLINE_EXCEEDED
    assert one.batcher.queued_rows == 1
    one.release()
    assert patient.result(10) == [1]
    assert one.model.batches == [1, 1]


def test_a_cancelled_request_leaves_the_queue(busy):
    one = busy()
    call = Call()
    cancelled = one.submit(_ids([b"a"]), call)
    call.cancel()
    with pytest.raises(ServingError) as error:
        cancelled.result(10)
    assert error.value.code == Code.CANCELLED
    assert one.batcher.queued_rows == 0
    one.release()
    assert one.model.batches == [1]


def test_a_call_that_is_over_does_not_start():
    model = Model()
    with answering(Call(timeout_s=0.0)), pytest.raises(ServingError):
        Batcher(model, BatchingOptions()).run(_ids([b"a"]))
    assert model.batches == []


def test_an_error_reaches_only_the_request_that_caused_it(busy):
    one = busy()
    good, bad = one.submit(_ids([b"a"])), one.submit(_ids([b"bad"]))
    one.release()
    assert good.result(10) == [1]
    with pytest.raises(ServingError, match="bad id"):
        bad.result(10)


def test_the_batcher_goes_on_after_an_error():
    batcher = Batcher(Model(), BatchingOptions())
    with pytest.raises(ServingError, match="bad id"):
        batcher.run(_ids([b"bad"]))
    assert batcher.run(_ids([b"a"]))["length"].tolist() == [1]


def test_a_following_batch_waits_for_more_as_long_as_allowed(busy):
    one = busy(batch_timeout_s=30.0, max_batch_size=2)
    first = one.submit(_ids([b"a"]))
    one.release()
    second = one.pool.submit(one.batcher.run, _ids([b"b"]))
    assert first.result(10) == [1]
    assert second.result(10)["length"].tolist() == [1]
    assert one.model.batches == [1, 2]


def test_batches_are_filled_up_to_allowed_sizes(busy):
    one = busy(allowed_batch_sizes=(4, 32))
    waiting = [one.submit(_ids([b"a"] * n)) for n in (2, 1)]
    one.release()
    assert [future.result(10) for future in waiting] == [[2], [1]]
    assert one.model.batches == [4, 4]


def test_without_padding_only_equal_lengths_share_a_batch(busy):
    one = busy(pad_variable_length_inputs=False)
    waiting = [one.submit(_ids([b"a"] * n)) for n in (2, 1, 2)]
    one.release()
    assert [future.result(10) for future in waiting] == [[2], [1], [2]]
    assert sorted(one.model.batches) == [1, 1, 2]


def test_a_long_history_does_not_widen_a_batch_of_short_ones(busy):
    one = busy()
    waiting = [one.submit(_ids([b"a"] * n)) for n in (2, 1000, 3)]
    one.release()
    assert [future.result(10) for future in waiting] == [[2], [1000], [3]]
    assert sorted(one.model.batches) == [1, 1, 2]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.integers(1, 3),
    st.sampled_from([1, 2, 5, 32]),
)
def test_every_request_gets_its_own_rows(lengths, num_threads, max_batch_size):
    model = Model()
    options = BatchingOptions(
        max_batch_size=max_batch_size, num_batch_threads=num_threads, max_enqueued_batches=100
    )
    batcher = Batcher(model, options)
    with futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: batcher.run(_ids([b"a"] * n, [b"b"]))["length"].tolist(), lengths)
        )
    assert answers == [[n, 1] for n in lengths]
    assert sum(model.batches) == 2 * len(lengths)
    assert batcher.queued_rows == 0


def test_inputs_without_a_common_batch_axis_cannot_be_batched():
    row = np.zeros((2, 3))
    assert arrays.can_batch({"a": row, "b": row[:, 0]})
    assert not arrays.can_batch({"a": row, "b": row[:1]})
    assert not arrays.can_batch({"a": np.zeros((0, 3))})
    assert not arrays.can_batch({"a": np.float32(1)})


def test_outputs_without_a_row_for_each_row_are_refused():
    with pytest.raises(ServingError, match="`total`"):
        arrays.split({"total": np.float32(1)}, [1, 1])
