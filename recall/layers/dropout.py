"""Dropout from eight random bits per element, and how much of it a log needs."""

import contextlib
import itertools
import math
import threading
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

_MOST, _MOST_CLICKS = 0.4, 30
_LEAST, _LEAST_CLICKS = 0.2, 300
"""Rates at the ends of the scale and where, in clicks per item, it ends: measured on
logs of 16 (Beauty) and 290 clicks per item (MovieLens 1M), TRIALS.md."""

_LEVELS = 256
"""Values of a random byte; the rate is rounded to a multiple of 1/256."""


_FORGOTTEN = 26
"""Of 256 histories, those that are learnt without times, or features of users: a tenth."""

_ODD = 2654435769
"""2^32 over the golden ratio: its multiples are far apart."""

_STEP = threading.local()
"""`seeds`: those of the step that this thread is building, if it is building one."""


@contextlib.contextmanager
def dropout_seed(seed: tf.Tensor) -> Iterator[None]:
    """Inside the block masks are a function of `seed`, and of their order in the block.

    A step that draws them from the program's generator cannot be repeated when a job
    goes on, and a compiler may replace that generator by one of its own.

    Args:
        seed: `[2]` int64, the first below 2^32; other random numbers of the step may be
            drawn from it as well.
    """
    before = getattr(_STEP, "seeds", None)
    # Other seeds below 2^32: a compiled step reads no more than 32 bits of them.
    _STEP.seeds = (
        tf.bitwise.bitwise_xor(seed, [number * _ODD % 2**32, 0]) for number in itertools.count(1)
    )
    try:
        yield
    finally:
        _STEP.seeds = before


def _next_seed() -> tf.Tensor:
    """`[2]` int of the step, or else drawn from the program's generator."""
    seeds = getattr(_STEP, "seeds", None)
    if seeds is None:
        return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    return next(seeds)


class Dropout(tf.keras.layers.Layer):
    """Sets elements to zero at random and scales the others up.

    Keras' layer draws a float per element, which on CPUs took a fifth of a
    training step; a byte per element is five times cheaper (measured) and rounds
    the rate by at most .002. The scale is that of the rounded rate, so the
    expectation is exact.

    Reference:
        Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks
        from Overfitting", JMLR 2014.
    """

    def __init__(self, rate: float, *, is_scaled: bool = True, **kwargs):
        """Creates the layer.

        Args:
            rate: Share of zeros, in [0, 1).
            is_scaled: Whether the other elements are scaled up, to keep the expectation.
            **kwargs: Of Keras' layer.
        """
        super().__init__(**kwargs)
        self._num_dropped = min(round(rate * _LEVELS), _LEVELS - 1)
        self._is_scaled = is_scaled

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops elements of a float tensor of any shape while `training`."""
        if not training or self._num_dropped == 0:
            return inputs
        # The bytes come from a counter: the program's generator is slow per element.
        size = tf.size(inputs)
        words = tf.random.stateless_uniform([(size + 3) // 4], _next_seed(), None, None, tf.int32)
        bytes_ = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]
        scale = _LEVELS / (_LEVELS - self._num_dropped) if self._is_scaled else 1.0
        kept = tf.cast(bytes_ >= self._num_dropped, inputs.dtype) * scale
        return inputs * tf.reshape(kept, tf.shape(inputs))


def keep_rows(num_rows: tf.Tensor) -> tf.Tensor:
    """`[num_rows]` bool: True for nine in ten, so that a model also learns to do without."""
    words = tf.random.stateless_uniform([num_rows], _next_seed(), None, None, tf.int32)
    return tf.bitwise.bitwise_and(words, _LEVELS - 1) >= _FORGOTTEN


def forget_times(times: tf.Tensor) -> tf.Tensor:
    """Takes the times away from some histories, so that a model also answers without them.

    Args:
        times: `[batch, length, 2]` int, 0 where a time is not known.

    Returns:
        The same with zeros in a tenth of the rows.
    """
    is_kept = keep_rows(tf.shape(times)[0])
    return times * tf.cast(is_kept, times.dtype)[:, tf.newaxis, tf.newaxis]


def choose_dropout_rate(item_counts: np.ndarray) -> float:
    """The rate for a log: the fewer clicks an item has, the sooner its embedding overfits.

    .4 up to 30 clicks per item, .2 from 300, and between them linear in the
    logarithm.

    Args:
        item_counts: `[num_items]` training clicks.
    """
    mean = float(np.mean(item_counts))
    if mean <= _MOST_CLICKS:
        return _MOST
    share = math.log(mean / _MOST_CLICKS) / math.log(_LEAST_CLICKS / _MOST_CLICKS)
    return _MOST + (_LEAST - _MOST) * min(share, 1.0)
