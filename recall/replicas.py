"""What the replicas of a step share under a `tf.distribute` strategy.

Every replica has a part of the step's batch. With one replica nothing of this adds an
operation to the step.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator, Mapping

import tensorflow as tf

_ODD = 2246822519
"""Its multiples below 2^32 are far apart, and others than those of dropout's masks."""

SUMS_OF_PROGRAM = 2
"""Keys that a program has for `sum_in_place`."""

_PROGRAM_KEYS = itertools.count(2**20, SUMS_OF_PROGRAM)
"""Those of strategies count from 1."""

NCCL_ADDRESS = "NCCL_COMM_ID"
"""Variable of the environment: where the processes of a job find each other for NCCL. XLA has
no other way to tell them."""

NO_CUDA_GRAPHS = "--xla_gpu_enable_command_buffer="
"""For `XLA_FLAGS`: with CUDA graphs a compiled program that exchanges ends its process
(TensorFlow 2.20, NCCL 2.28, measured)."""


def count() -> int:
    """Replicas of the step that is being built; 1 outside one."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def sum_over_all(tensors: tf.Tensor | list[tf.Tensor]) -> tf.Tensor | list[tf.Tensor]:
    """The sum of each tensor over all replicas, the same in all of them.

    Args:
        tensors: One, or several of the same type: together they cost as much as one.
    """
    if count() == 1 or (isinstance(tensors, list) and not tensors):
        return tensors
    return tf.distribute.get_replica_context().all_reduce("SUM", tensors)


def sum_in_place(tensor: tf.Tensor, key: int, number: int, order: tf.Variable) -> tf.Tensor:
    """The sum over all replicas, without leaving the function of a replica.

    That of a strategy leaves it, which no compiled program can. In a loop that is not
    compiled it waits for ever, as loops of two replicas have different names.

    Args:
        tensor: Of a fixed shape.
        key: Of all sums of a program; one of another model waits for its own replicas alone.
        number: Of this sum among those of the program, below `SUMS_OF_PROGRAM`.
        order: Has a copy in every replica; the sums of one follow each other. Without it
            those of one replica would wait for those of another, which wait for them.
    """
    context = tf.distribute.get_replica_context()
    has_gpus = all("GPU" in device for device in context.strategy.extended.worker_devices)
    total = tf.raw_ops.CollectiveReduceV2(
        # XLA for GPUs compiles the sum of one axis alone: it gives every sum such a layout.
        input=tf.reshape(tensor, [-1]),
        group_size=context.num_replicas_in_sync,
        group_key=key,
        instance_key=key + number,
        ordering_token=[order.handle],
        merge_op="Add",
        final_op="Id",
        communication_hint="nccl" if has_gpus else "ring",
    )
    return tf.reshape(total, tensor.shape)


def can_sum_in_place(
    strategy: tf.distribute.Strategy, environment: Mapping[str, str] = os.environ
) -> bool:
    """Whether compiled programs of the replicas may call `sum_in_place`.

    Where one process has several GPUs they end it in some step, whatever the flags (measured).

    Args:
        strategy: Of the model.
        environment: Of the process since before TensorFlow started.

    Returns:
        Whether every process has one replica, knows `NCCL_ADDRESS` and has no CUDA graphs.
        All processes of a job must come to the same answer.
    """
    flags = [
        flag for flag in environment.get("XLA_FLAGS", "").split() if flag.startswith(NO_CUDA_GRAPHS)
    ]
    has_one_replica = len(strategy.extended.worker_devices) == 1 < strategy.num_replicas_in_sync
    return has_one_replica and NCCL_ADDRESS in environment and flags[-1:] == [NO_CUDA_GRAPHS]


def next_program_key() -> int:
    """A key for `sum_in_place` that no program has had in this process.

    Processes of one job that build the same programs in the same order get the same keys.
    """
    return next(_PROGRAM_KEYS)


def join_all(tensor: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, one replica after the other, the same in each of them.

    Args:
        tensor: `[num_rows, ...]`; where the number is no constant, it may differ.
    """
    if count() == 1:
        return tensor
    context = tf.distribute.get_replica_context()
    if not tensor.shape.is_fully_defined():
        return context.all_gather(tensor, axis=0)
    return sum_over_all(place_own(tensor))


def place_own(tensor: tf.Tensor) -> tf.Tensor:
    """The rows of this replica among zeros for those of the others: their sum has all rows.

    Args:
        tensor: `[num_rows, ...]` of a fixed shape.

    Returns:
        `[count() * num_rows, ...]`.
    """
    context = tf.distribute.get_replica_context()
    places = tf.one_hot(context.replica_id_in_sync_group, count(), dtype=tensor.dtype)
    parts = tf.reshape(places, [-1, *[1] * tensor.shape.rank]) * tensor[tf.newaxis]
    return tf.reshape(parts, [count() * tensor.shape[0], *tensor.shape[1:]])


_TOTALS = threading.local()
"""`clicks`, `pairs`: those of the step that this thread is building, if they are known."""


@contextlib.contextmanager
def known_totals(totals: tf.Tensor) -> Iterator[None]:
    """Inside the block `total` says nothing to the other replicas.

    Args:
        totals: `[2]` float, clicks and confident pairs of the step in all replicas.
    """
    _TOTALS.clicks, _TOTALS.pairs = tf.unstack(totals)
    try:
        yield
    finally:
        _TOTALS.clicks = _TOTALS.pairs = None


def total(name: str, own: tf.Tensor) -> tf.Tensor:
    """The number of `clicks` or `pairs` in all replicas.

    Args:
        name: `clicks` or `pairs`.
        own: Number of this replica.
    """
    known = getattr(_TOTALS, name, None)
    return sum_over_all(own) if known is None else tf.cast(known, own.dtype)


def seed_of_own(seed: tf.Tensor) -> tf.Tensor:
    """Another seed in every replica, so that they draw other numbers; that of the first is `seed`.

    Args:
        seed: `[2]` int64, the first below 2^32.
    """
    if count() == 1:
        return seed
    number = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)
    return tf.bitwise.bitwise_xor(seed, tf.stack([number * _ODD % 2**32, 0]))
