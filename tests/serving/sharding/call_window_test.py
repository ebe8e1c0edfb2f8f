"""Turns of a window, one by one."""

import functools

import pytest

from serving.sharding.call_window import CallWindow


def test_turns_are_given_in_the_order_they_were_asked_for():
    window, given = CallWindow(2), []
    for name in "abcd":
        window.ask(functools.partial(given.append, name))
    assert given == ["a", "b"]
    window.end()
    assert given == ["a", "b", "c"]
    window.end()
    assert given == ["a", "b", "c", "d"]


def test_ended_turns_are_free_for_those_who_come_later():
    window, given = CallWindow(1), []
    for name in "ab":
        window.ask(functools.partial(given.append, name))
        window.end()
    assert given == ["a", "b"]


def test_what_is_withdrawn_is_not_given():
    window, given = CallWindow(1), []
    first, second, third = (functools.partial(given.append, name) for name in "abc")
    for start in (first, second, third):
        window.ask(start)
    window.withdraw(second)
    window.end()
    assert given == ["a", "c"]


def test_a_turn_that_is_withdrawn_too_late_goes_to_the_next():
    window, given = CallWindow(1), []
    first, second = (functools.partial(given.append, name) for name in "ab")
    window.ask(first)
    window.ask(second)
    window.withdraw(first)
    assert given == ["a", "b"]


def test_a_caller_that_cannot_be_told_keeps_no_turn():
    window, given = CallWindow(1), []

    def fails():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        window.ask(fails)
    window.ask(functools.partial(given.append, "a"))
    window.ask(fails)
    window.ask(functools.partial(given.append, "b"))
    with pytest.raises(KeyboardInterrupt):
        window.end()
    assert given == ["a", "b"]
