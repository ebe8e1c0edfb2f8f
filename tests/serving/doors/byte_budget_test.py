"""Tests of `serving.doors.byte_budget`."""

import pytest

from serving.doors.byte_budget import ByteBudget
from serving.protocol.status import Code, ServingError


def test_all_requests_share_one_bound_and_give_back_what_they_took():
    budget = ByteBudget(max_request_bytes=60, max_total_bytes=100)
    with budget.held(60):
        with budget.held(40):
            assert budget.used == 100
            with pytest.raises(ServingError) as caught:
                budget.take(1)
            assert caught.value.code == Code.RESOURCE_EXHAUSTED
        assert budget.used == 60
    assert budget.used == 0


def test_one_request_that_is_too_large_is_the_clients_fault():
    budget = ByteBudget(max_request_bytes=60, max_total_bytes=100)
    budget.take(60)
    with pytest.raises(ServingError) as caught:
        budget.take(61)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert "61 bytes, at most 60" in caught.value.message
    assert budget.used == 60


def test_an_error_in_the_block_gives_back_too():
    budget = ByteBudget(10, 10)
    with pytest.raises(KeyError), budget.held(10):
        raise KeyError
    assert budget.used == 0
