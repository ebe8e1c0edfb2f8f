"""Streams that end when they are left."""

import time

import tensorflow as tf

from recall.datasets import without_tuning

_COUNT, _ALIVE_S = 40, 3.0


def test_an_iterator_ends_at_once():
    """With the tuning thread some of 40 take up to a minute each: 9 and 3 in two tries."""

    def start():
        numbers = tf.data.Dataset.range(10**9).map(lambda n: n + 1, tf.data.AUTOTUNE).prefetch(2)
        return iter(without_tuning(numbers))

    iterators = [start() for _ in range(_COUNT)]
    ready_s = time.monotonic() + _ALIVE_S
    while time.monotonic() < ready_s:
        for iterator in iterators:
            next(iterator)
        time.sleep(0.01)
    longest_s = 0.0
    while iterators:
        started_s = time.monotonic()
        iterators.pop()
        longest_s = max(longest_s, time.monotonic() - started_s)
    assert longest_s < 1.0


def test_the_stream_is_the_same():
    numbers = tf.data.Dataset.range(100).map(lambda n: n * n, tf.data.AUTOTUNE).batch(7)
    found = [batch.tolist() for batch in without_tuning(numbers).as_numpy_iterator()]
    assert found == [batch.tolist() for batch in numbers.as_numpy_iterator()]
