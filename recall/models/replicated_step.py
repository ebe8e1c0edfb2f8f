"""Compiled steps of several replicas, with one exchange a step, of one flat tensor.

Where every process has one GPU, all steps of a batch are one program, which exchanges itself
(1.86 x one GPU with two, measured). Where a process has several, such a program ends it with a
segmentation fault in some step (TensorFlow 2.20, NCCL 2.28, measured): there a step is a
program before the exchange and one behind it, which the host starts, and an exchange between
them, of the strategy (.63 x).
"""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from recall import replicas
from recall.features import PackedBatch
from recall.gradient_exchange import Exchanged, divide, join_parts, restore, split_parts
from recall.models.queues import QueueRows
from recall.models.step_numbers import join_report, name_report, split_report


def build_train_function(
    model: Any, *, jit_compile: bool, exchanges_inside: bool = False
) -> Callable[[Iterator], dict[str, tf.Tensor]]:
    """What `tf.keras.Model.make_train_function` builds, for `PackedBatch`es of several steps.

    Args:
        model: A `DSSRec`, made under a strategy whose replicas have a device each.
        jit_compile: Whether what is local is compiled; the same numbers without.
        exchanges_inside: Whether all steps of a batch are one program, which exchanges the
            sums itself; else there is a program before a sum and one behind it.

    Returns:
        A function of an iterator of the strategy that takes as many steps as a batch has,
        and gives the means of their losses.
    """
    build = _build_whole if exchanges_inside else _build_parts
    take_steps = build(model, StepParts(model), jit_compile)

    def train_function(iterator: Iterator) -> dict[str, tf.Tensor]:
        reports = take_steps(next(iterator))
        return dict(zip(model.report_names, tf.unstack(reports), strict=True))

    return tf.function(train_function, autograph=False)


def _build_parts(model: Any, step: "StepParts", jit_compile: bool) -> Callable:
    """Batches of all replicas -> the report; the strategy adds up between compiled parts."""
    strategy = model.distribute_strategy
    count, compute, apply = (
        tf.function(part, autograph=False, jit_compile=True) if jit_compile else part
        for part in (step.count, step.compute, step.apply)
    )

    def add(values: Any) -> Any:
        return strategy.extended.reduce_to("SUM", values, values)

    def take_steps(batches: Any) -> tf.Tensor:
        totals = add(strategy.run(count, args=(batches,)))

        def take_step(number: tf.Tensor) -> tf.Tensor:
            sums = add(strategy.run(compute, args=(batches, totals, number)))
            return strategy.experimental_local_results(strategy.run(apply, args=(sums,)))[0]

        first, *_ = strategy.experimental_local_results(batches)
        return _mean_report(model, take_step, first.history_ids.shape[0])

    return take_steps


def _build_whole(model: Any, step: "StepParts", jit_compile: bool) -> Callable:
    """Batches of all replicas -> the report; the compiled program adds up."""
    strategy, key = model.distribute_strategy, replicas.next_program_key()
    with strategy.scope():
        order = tf.Variable(0.0, trainable=False)

    def steps_of_replica(batches: PackedBatch) -> tf.Tensor:
        totals = replicas.sum_in_place(step.count(batches), key, 0, order)

        def take_step(number: tf.Tensor) -> tf.Tensor:
            sums = replicas.sum_in_place(step.compute(batches, totals, number), key, 1, order)
            return step.apply(sums)

        return _mean_report(model, take_step, batches.history_ids.shape[0])

    take = steps_of_replica
    if jit_compile:
        take = tf.function(take, autograph=False, jit_compile=True)

    def take_steps(batches: Any) -> tf.Tensor:
        return strategy.experimental_local_results(strategy.run(take, args=(batches,)))[0]

    return take_steps


def _mean_report(
    model: Any, take_step: Callable[[tf.Tensor], tf.Tensor], num_steps: int
) -> tf.Tensor:
    """Takes the steps one after the other."""
    if num_steps == 1:
        return take_step(tf.constant(0))
    _, reports = tf.while_loop(
        lambda number, _: number < num_steps,
        lambda number, reports: (number + 1, reports + take_step(number)),
        (0, tf.zeros([len(model.report_names)])),
    )
    return reports / num_steps


class StepParts:
    """The parts of a step that are local to a replica."""

    def __init__(self, model: Any):
        self._model = model
        # What the sums are of: known once `compute` has been traced, which comes first.
        self._gradients, self._rows, self._shapes = None, None, None

    def count(self, batches: PackedBatch) -> tf.Tensor:
        """`[num_steps, 2]` float: clicks and confident pairs of each step of this replica."""
        return self._model.count_terms(batches)

    def compute(self, batches: PackedBatch, totals: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """All that is added up, as one flat tensor."""
        model = self._model
        # An index in brackets would be a constant of the compiled part: one for every step.
        batch = tf.nest.map_structure(lambda field: tf.gather(field, number), batches)
        with replicas.known_totals(tf.gather(totals, number)):
            gradients, terms, *report = model.compute_gradients(batch)
        exchanged = divide(gradients, model.trainable_variables)
        rows = tf.nest.map_structure(replicas.place_own, model.queue_rows(terms))
        parts = Exchanged(
            [join_report(*report), *exchanged.floats, *rows.futures],
            [*exchanged.integers, *rows.clicks, *rows.has_future],
        )
        self._gradients, self._rows = gradients, rows
        self._shapes = tf.nest.map_structure(lambda tensor: tensor.shape, parts)
        return join_parts(parts)

    def apply(self, sums: tf.Tensor) -> tf.Tensor:
        """Updates the weights and the queue; the report of the step."""
        model, variables, rows = self._model, self._model.trainable_variables, self._rows
        (report, *floats), integers = split_parts(sums, self._shapes)
        integers, clicks, has_future = _divide(integers, rows.clicks, rows.has_future)
        floats, futures = _divide(floats, rows.futures)
        gradients = restore(Exchanged(floats, integers), self._gradients, variables)
        model.optimizer.apply_gradients(
            zip(gradients, variables, strict=True), skip_gradients_aggregation=True
        )
        model.enqueue(QueueRows(clicks, futures, has_future))
        report = split_report(report, len(model.loss_names))
        return tf.stack(list(name_report(model.loss_names, *report).values()))


def _divide(tensors: list[tf.Tensor], *parts: list[tf.Tensor]) -> list[list[tf.Tensor]]:
    """Tensors before the last ones, and those, in parts as long as `parts`."""
    divided, end = [], len(tensors)
    for part in reversed(parts):
        divided.append(tensors[end - len(part) : end])
        end -= len(part)
    return [tensors[:end], *reversed(divided)]
