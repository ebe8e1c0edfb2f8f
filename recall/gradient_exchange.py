"""Gradients as dense tensors whose sums over all replicas are the gradients of the whole batch.

Tensors of fixed shapes are what compiled steps give, and what NCCL adds best. As one flat
tensor they cost one exchange.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from recall import replicas

Gradient = tf.Tensor | tf.IndexedSlices | None
"""Dense, or of some rows of a table; None of a variable that no loss depends on."""

_HALF_BITS = 16
"""Of an int32: a float32 has every integer up to 2^24."""


class Exchanged(NamedTuple):
    """What is added up.

    Attributes:
        floats: Tensors of float32.
        integers: Tensors of int32; each element is zero in all replicas but one.
    """

    floats: list[tf.Tensor]
    integers: list[tf.Tensor]


def divide(gradients: Sequence[Gradient], variables: Sequence[Any]) -> Exchanged:
    """The gradients of one replica, as what is added up.

    A table is exchanged whole where the rows that all replicas have would be more; of a
    larger one every replica has its rows in a place of its own.
    """
    exchanged = Exchanged([], [])
    for gradient, variable in zip(gradients, variables, strict=True):
        if isinstance(gradient, tf.IndexedSlices):
            values, rows, num_rows = gradient.values, gradient.indices, variable.shape[0]
            if _is_whole(gradient, variable):
                ones = tf.ones_like(values[:, 0])
                exchanged.floats.append(tf.math.unsorted_segment_sum(values, rows, num_rows))
                exchanged.floats.append(tf.math.unsorted_segment_sum(ones, rows, num_rows))
            else:
                exchanged.floats.append(replicas.place_own(values))
                exchanged.integers.append(replicas.place_own(tf.cast(rows, tf.int32)))
        elif gradient is not None:
            exchanged.floats.append(gradient)
    return exchanged


def restore(
    sums: Exchanged, gradients: Sequence[Gradient], variables: Sequence[Any]
) -> list[Gradient]:
    """The gradients of all replicas together.

    Args:
        sums: Of what `divide` gave in each of them.
        gradients: What it was given, here for its types and shapes alone.
        variables: The same as there.
    """
    floats, integers, restored = iter(sums.floats), iter(sums.integers), []
    for gradient, variable in zip(gradients, variables, strict=True):
        if not isinstance(gradient, tf.IndexedSlices):
            restored.append(None if gradient is None else next(floats))
        elif _is_whole(gradient, variable):
            restored.append(_rows_of_table(next(floats), next(floats)))
        else:
            values, rows = next(floats), next(integers)
            restored.append(tf.IndexedSlices(values, rows, tf.constant(variable.shape.as_list())))
    return restored


def join_parts(parts: Exchanged) -> tf.Tensor:
    """All parts as one flat tensor of float32, whose sum over the replicas `split_parts` takes.

    An integer is exchanged as two floats, its upper and its lower half: they are exact, and
    a second exchange of integers would cost as much as the first.
    """
    flat = [tf.reshape(tensor, [-1]) for tensor in parts.floats]
    for tensor in parts.integers:
        words = tf.reshape(tensor, [-1])
        upper = tf.bitwise.right_shift(words, _HALF_BITS)
        lower = tf.bitwise.bitwise_and(words, 2**_HALF_BITS - 1)
        flat += [tf.cast(upper, tf.float32), tf.cast(lower, tf.float32)]
    return tf.concat(flat, axis=0)


def split_parts(joined: tf.Tensor, shapes: Exchanged) -> Exchanged:
    """The parts that were joined.

    Args:
        joined: What `join_parts` gave, or a sum of such.
        shapes: Of the parts, `tf.TensorShape`s.
    """
    wanted = [*shapes.floats, *(shape for shape in shapes.integers for _ in range(2))]
    flat = tf.split(joined, [shape.num_elements() for shape in wanted])
    parts = [tf.reshape(part, shape) for part, shape in zip(flat, wanted, strict=True)]
    num_floats = len(shapes.floats)
    halves = [tf.cast(part, tf.int32) for part in parts[num_floats:]]
    integers = [
        upper * 2**_HALF_BITS + lower
        for upper, lower in zip(halves[::2], halves[1::2], strict=True)
    ]
    return Exchanged(parts[:num_floats], integers)


def _is_whole(gradient: tf.IndexedSlices, variable: Any) -> bool:
    return variable.shape[0] <= replicas.count() * gradient.indices.shape[0]


def _rows_of_table(sums: tf.Tensor, counts: tf.Tensor) -> tf.IndexedSlices:
    """The gradient of a whole table as one of the rows that have a gradient.

    Args:
        sums: `[num_rows, dim]`, zero where a row has none.
        counts: `[num_rows]` float, how many gradients a row has.
    """
    numbers = tf.range(counts.shape[0])
    # A row without one adds its zeros to a row that has one: no shape depends on them.
    rows = tf.where(counts > 0, numbers, tf.argmax(counts, output_type=tf.int32))
    return tf.IndexedSlices(sums, rows, tf.shape(sums))
