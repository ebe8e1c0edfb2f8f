"""Training with parameter servers: who serves, and epochs of steps that nobody waits for."""

import collections
import time
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf
from absl import logging

from pipelines.training.placement import cluster as clusters
from pipelines.training.placement.cluster import CHIEF, Cluster

_STEPS_AHEAD = 16
"""Steps that are handed out to each worker before the first of them is done."""

_SECONDS_BETWEEN_LOOKS = 1.0

_LOOKS_AT_A_GONE_CHIEF = 10
"""In a row, before a worker or server believes that it has ended."""

_MIN_SHARD_BYTES = 256 << 10
"""A table is divided among the servers where each gets at least so much of it."""


def open_strategy(cluster: Cluster) -> tf.distribute.Strategy:
    """The strategy of the chief; its variables lie on the servers."""
    num_servers = len(cluster.addresses["ps"])
    partitioner = tf.distribute.experimental.partitioners.MinSizePartitioner(
        min_shard_bytes=_MIN_SHARD_BYTES, max_shards=num_servers
    )
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=partitioner)


def serve(cluster: Cluster) -> None:
    """Does what the chief says, as a worker or a server, until the chief has ended."""
    tf.distribute.Server(
        {task: list(addresses) for task, addresses in cluster.addresses.items()},
        job_name=cluster.task,
        task_index=cluster.index,
        protocol="grpc",
    )
    (chief,) = cluster.addresses[CHIEF]
    logging.info("%s %d waits for the chief at %s.", cluster.task, cluster.index, chief)
    while not clusters.is_reachable(chief):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    num_misses = 0
    while num_misses < _LOOKS_AT_A_GONE_CHIEF:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        num_misses = 0 if clusters.is_reachable(chief) else num_misses + 1
    logging.info("The chief has ended.")


def fit(
    model: tf.keras.Model,
    strategy: tf.distribute.Strategy,
    make_stream: Callable[[tf.Tensor], tf.data.Dataset],
    *,
    epochs: range,
    steps_per_epoch: int,
    num_workers: int,
    callbacks: Sequence[tf.keras.callbacks.Callback],
) -> None:
    """Runs epochs as `model.fit` does. A worker takes its next step when it is done with one.

    Args:
        model: Made in the scope of `strategy`.
        strategy: That of `open_strategy`.
        make_stream: Number of a worker -> its batches, as operations that it can run.
        epochs: Counted from 0.
        steps_per_epoch: Steps of all workers together.
        num_workers: How many there are.
        callbacks: Are told of losses in the order in which steps were handed out.
    """
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    stream = coordinator.create_per_worker_dataset(
        lambda: make_stream(tf.distribute.coordinator.experimental_get_current_worker_index())
    )
    iterator = iter(stream)

    @tf.function(autograph=False)
    def step(iterator):
        return strategy.run(model.train_step, args=(next(iterator),))

    def results() -> Iterator[dict[str, float]]:
        """Of all steps of an epoch, each as soon as it is there."""
        waiting = collections.deque()
        for _ in range(steps_per_epoch):
            waiting.append(coordinator.schedule(step, args=(iterator,)))
            if len(waiting) > _STEPS_AHEAD * num_workers:
                yield waiting.popleft().fetch()
        coordinator.join()
        yield from (result.fetch() for result in waiting)

    hooks = tf.keras.callbacks.CallbackList(
        list(callbacks), model=model, epochs=epochs.stop, steps=steps_per_epoch
    )
    model.stop_training = False
    hooks.on_train_begin()
    for epoch in epochs:
        hooks.on_epoch_begin(epoch)
        logs = {}
        for number, losses in enumerate(results()):
            logs = losses
            hooks.on_train_batch_begin(number)
            hooks.on_train_batch_end(number, logs)
        hooks.on_epoch_end(epoch, dict(logs))
        if model.stop_training:
            break
    hooks.on_train_end()
