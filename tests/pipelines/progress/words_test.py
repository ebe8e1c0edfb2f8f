"""Durations and numbers in words, at their borders."""

import pytest

from pipelines.progress import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.7, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (200_000, "2 d 7 h"),
    ],
)
def test_duration(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "x 0.5000"), (123456.7, "x 1.235e+05"), (12345, "x 12,345")]
)
def test_fact(value, text):
    assert words.fact("x", value) == text


def test_speed():
    assert words.speed(99.94, "users") == "99.9 users/s"
    assert words.speed(1234.4, "users") == "1,234 users/s"
