import threading
import time

import pytest

from serving.admission import Admission, RunSlots
from serving.call import Call
from serving.status import Code, ServingError


def test_the_excess_is_refused_until_somebody_leaves():
    admission = Admission(2)
    admission.enter()
    admission.enter()
    assert admission.is_full
    with pytest.raises(ServingError, match="already works on 2 requests") as error:
        admission.enter()
    assert error.value.code == Code.RESOURCE_EXHAUSTED
    admission.leave()
    assert not admission.is_full
    admission.enter()
    assert admission.in_flight == 2


def test_only_as_many_run_as_there_are_slots():
    slots, running, most = RunSlots(2), [0], [0]
    lock = threading.Lock()

    def work():
        for _ in range(20):
            with slots.held():
                with lock:
                    running[0] += 1
                    most[0] = max(most[0], running[0])
                time.sleep(0.0005)
                with lock:
                    running[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most[0] == 2


def test_a_waiting_thread_lends_its_slot_and_comes_before_new_ones():
    slots = RunSlots(1)
    order, lent, go_on = [], threading.Event(), threading.Event()
    call = Call()

    def begun():
        with call.running(slots):
            with call.idle():
                lent.set()
                go_on.wait(10)
            order.append("begun")

    def new(name):
        with slots.held():
            order.append(name)

    first = threading.Thread(target=begun)
    first.start()
    assert lent.wait(10)
    with slots.held():  # The lent slot.
        late = threading.Thread(target=new, args=("new",))
        late.start()
        _wait_for(lambda: len(slots._new) == 1)
        go_on.set()
        _wait_for(lambda: len(slots._begun) == 1)
    first.join(10)
    late.join(10)
    assert order == ["begun", "new"]


def test_slots_come_back_after_an_error():
    slots = RunSlots(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), slots.held():
            raise ValueError("x")
    with slots.held():
        pass


def test_calls_end_by_deadline_or_cancellation():
    Call().check()
    assert Call().time_left_s() is None
    late = Call(timeout_s=0.0)
    assert late.time_left_s() == 0.0
    with pytest.raises(ServingError) as error:
        late.check()
    assert error.value.code == Code.DEADLINE_EXCEEDED
    call, woken = Call(timeout_s=60.0), []
    with call.woken_by_cancel(lambda: woken.append(1)):
        call.cancel()
    with call.woken_by_cancel(lambda: woken.append(2)):
        pass
    assert woken == [1, 2]
    with pytest.raises(ServingError) as error:
        call.check()
    assert error.value.code == Code.CANCELLED


def _wait_for(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
