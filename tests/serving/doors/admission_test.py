import pytest

from serving.doors.admission import Admission
from serving.protocol.call import Call
from serving.protocol.status import Code, ServingError


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
