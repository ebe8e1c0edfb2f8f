"""Compiled steps of several replicas: what is local to one is compiled, sums go between the parts.

XLA's own exchange between GPUs ended the process in the first step (TensorFlow 2.20, NCCL
2.28, measured), so a compiled part says nothing to the other replicas.
"""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from recall import replicas
from recall.features import PackedBatch
from recall.gradient_exchange import Exchanged, divide, restore
from recall.models.queues import QueueRows
from recall.models.step_numbers import join_report, name_report, split_report


def build_train_function(model: Any, *, jit_compile: bool) -> Callable[[Iterator], dict]:
    """What `tf.keras.Model.make_train_function` builds, for `PackedBatch`es of several steps.

    Args:
        model: A `DSSRec`, made under a strategy whose replicas have a device each.
        jit_compile: Whether the parts are compiled; the same numbers without.

    Returns:
        A function of an iterator of the strategy that takes as many steps as a batch has,
        and gives the means of their losses.
    """
    strategy, step = model.distribute_strategy, StepParts(model)
    count, compute, apply = (
        tf.function(part, jit_compile=True) if jit_compile else part
        for part in (step.count, step.compute, step.apply)
    )

    def add(values: Any) -> Any:
        if strategy.experimental_local_results(values)[0].shape.num_elements() == 0:
            return values
        return strategy.extended.reduce_to("SUM", values, values)

    def train_function(iterator: Iterator) -> dict[str, tf.Tensor]:
        batches = next(iterator)
        num_steps = strategy.experimental_local_results(batches)[0].history_ids.shape[0]
        totals = add(strategy.run(count, args=(batches,)))

        def body(number: tf.Tensor, reports: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            parts = strategy.run(compute, args=(batches, totals, number))
            sums = tuple(add(part) for part in strategy.run(_join, args=(parts,)))
            report = strategy.run(apply, args=(sums,))
            return number + 1, reports + strategy.experimental_local_results(report)[0]

        names = model.report_names
        _, reports = tf.while_loop(
            lambda number, _: number < num_steps, body, (0, tf.zeros([len(names)]))
        )
        return dict(zip(names, tf.unstack(reports / num_steps), strict=True))

    return tf.function(train_function, autograph=False)


class StepParts:
    """The parts of a step that are local to a replica."""

    def __init__(self, model: Any):
        self._model = model
        # What the sums are of: known once `compute` has been traced, which comes first.
        self._gradients, self._shapes, self._types, self._rows = None, None, None, None

    def count(self, batches: PackedBatch) -> tf.Tensor:
        """`[num_steps, 2]` float: clicks and confident pairs of each step of this replica."""
        return self._model.count_terms(batches)

    def compute(self, batches: PackedBatch, totals: tf.Tensor, number: tf.Tensor) -> tuple:
        """All that is added up: tensors of floats, and of integers."""
        model = self._model
        # An index in brackets would be a constant of the compiled part: one for every step.
        batch = tf.nest.map_structure(lambda field: tf.gather(field, number), batches)
        with replicas.known_totals(tf.gather(totals, number)):
            gradients, terms, *report = model.compute_gradients(batch)
        exchanged = divide(gradients, model.trainable_variables)
        rows = tf.nest.map_structure(replicas.place_own, model.queue_rows(terms))
        tensors = (
            [join_report(*report), *exchanged.floats, *rows.futures],
            [*exchanged.integers, *rows.clicks, *rows.has_future],
        )
        self._gradients, self._rows = gradients, rows
        self._shapes = [[tensor.shape for tensor in part] for part in tensors]
        self._types = [tensor.dtype for tensor in tensors[1]]
        return tuple(tuple(part) for part in tensors)

    def apply(self, sums: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Updates the weights and the queue; the report of the step."""
        model, variables = self._model, self._model.trainable_variables
        (report, *floats), integers = (
            _split(tensor, shapes) for tensor, shapes in zip(sums, self._shapes, strict=True)
        )
        integers = [
            tf.cast(tensor, dtype) for tensor, dtype in zip(integers, self._types, strict=True)
        ]
        integers, *of_integers = _divide(integers, self._rows.clicks, self._rows.has_future)
        floats, futures = _divide(floats, self._rows.futures)
        exchanged = Exchanged(floats, integers)
        gradients = restore(exchanged, self._gradients, variables)
        model.optimizer.apply_gradients(
            zip(gradients, variables, strict=True), skip_gradients_aggregation=True
        )
        model.enqueue(QueueRows(of_integers[0], futures, of_integers[1]))
        report = split_report(report, len(model.loss_names))
        return tf.stack(list(name_report(model.loss_names, *report).values()))


def _join(parts: tuple[tuple[tf.Tensor, ...], ...]) -> tuple[tf.Tensor, tf.Tensor]:
    """One flat tensor of each part: their sum over the replicas costs one exchange.

    GPUs of several processes exchange no int32 (TensorFlow 2.20), so integers are int64.
    """
    floats, integers = ([tf.reshape(tensor, [-1]) for tensor in part] for part in parts)
    wide = [tf.cast(tensor, tf.int64) for tensor in integers]
    return tf.concat(floats, axis=0), tf.concat(wide or [tf.zeros([0], tf.int64)], axis=0)


def _divide(tensors: list[tf.Tensor], *parts: list[tf.Tensor]) -> list[list[tf.Tensor]]:
    """Tensors before the last ones, and those, in parts as long as `parts`."""
    divided, end = [], len(tensors)
    for part in reversed(parts):
        divided.append(tensors[end - len(part) : end])
        end -= len(part)
    return [tensors[:end], *reversed(divided)]


def _split(tensor: tf.Tensor, shapes: list[tf.TensorShape]) -> list[tf.Tensor]:
    """The tensors that were joined."""
    sizes = [shape.num_elements() for shape in shapes]
    if not sizes:
        return []
    parts = tf.split(tensor, sizes)
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
