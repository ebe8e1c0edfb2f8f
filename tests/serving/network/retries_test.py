"""When a call is sent again; waits are bounded by hand-made numbers."""

import time

import pytest

from serving.network.retries import Attempts, RetryBudget, RetryPolicy

POLICY = RetryPolicy(max_attempts=4, first_wait_s=0.1, max_wait_s=0.3, budget=3.0)


def attempts(policy=POLICY, budget=None, timeout_s=100.0):
    return Attempts(policy, budget or RetryBudget(policy), timeout_s)


def test_waits_double_up_to_the_longest_and_end_with_the_attempts():
    waits = []
    for _ in range(300):
        call = attempts()
        waits.append([call.wait_s() for _ in range(4)])
    for number, longest_s in enumerate([0.1, 0.2, 0.3]):
        of_number = [row[number] for row in waits]
        assert 0 <= min(of_number) < 0.2 * longest_s
        assert 0.8 * longest_s < max(of_number) <= longest_s
    assert {row[3] for row in waits} == {None}


def test_one_attempt_is_never_sent_again():
    assert attempts(RetryPolicy(max_attempts=1)).wait_s() is None


def test_what_the_server_asks_for_comes_before_the_wait():
    assert 0.2 <= attempts().wait_s(0.2) <= 0.3
    assert attempts().wait_s(0.4) is None  # Longer than the policy waits at all.


def test_no_attempt_that_would_begin_too_late():
    call = attempts(timeout_s=0.15)
    assert call.wait_s(0.2) is None
    assert 0 < call.time_left_s() <= 0.15


def test_time_left_goes_down_and_stays_positive():
    call = attempts(timeout_s=0.02)
    time.sleep(0.03)
    assert call.time_left_s() == pytest.approx(0.001)


def test_a_lasting_failure_spends_the_budget_and_answers_earn_it_back():
    budget = RetryBudget(POLICY)
    sent_again = [attempts(budget=budget).wait_s() is not None for _ in range(6)]
    assert sent_again == [True] * 3 + [False] * 3
    for _ in range(9):  # .9 of one.
        budget.earn()
    assert attempts(budget=budget).wait_s() is None
    budget.earn()
    budget.earn()  # .1 + .1 make it 1.1: sums of .1 are not exact.
    assert attempts(budget=budget).wait_s() is not None


def test_the_budget_has_an_upper_end():
    budget = RetryBudget(POLICY)
    for _ in range(1000):
        budget.earn()
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
