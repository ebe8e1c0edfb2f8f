"""Over which devices a job spreads: `train.strategy`, and what is impossible with it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from pipelines.processes import gpus
from pipelines.progress.words import number_of
from pipelines.training.placement import cluster as clusters
from pipelines.training.placement import host_processes, parameter_servers, waiting
from pipelines.training.placement.cluster import Cluster
from pipelines.training.placement.input_share import InputShare
from recall.config import RecallConfig
from recall.errors import InputError

_PAGE = "See docs/training_on_machines.md."

_LOST_PEER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,  # The first process answers no more, but is there.
)
"""What TensorFlow raises when another process is gone."""


class Placement(NamedTuple):
    """Where the replicas of a job are.

    Attributes:
        name: A value of `train.strategy`, not `auto`.
        strategy: TensorFlow's.
        cluster: The processes of the job, None where it is one.
    """

    name: str
    strategy: tf.distribute.Strategy
    cluster: Cluster | None

    @property
    def num_replicas(self) -> int:
        """Copies of the model that take a step together."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_synchronous(self) -> bool:
        """Whether replicas step together; with parameter servers no worker waits for another."""
        return self.name != "parameter_server"

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs and the artifact."""
        return self.cluster is None or self.cluster.is_chief

    def describe(self) -> str:
        """The strategy and its parts in words; empty where the job is on one device."""
        if self.name == "none":
            return ""
        if not self.is_synchronous:
            workers, servers = (
                len(self.cluster.addresses[task]) for task in (clusters.WORKER, clusters.SERVER)
            )
            parts = f"{number_of(workers, 'worker')}, {number_of(servers, 'server')}"
        else:
            parts = number_of(self.num_replicas, "replica")
        return f"strategy {self.name}, {parts}"

    @property
    def share(self) -> InputShare:
        """The replicas of this process."""
        num_replicas = self.num_replicas
        if not self.is_synchronous:
            num_readers = len(self.cluster.addresses[clusters.WORKER])
            return InputShare(num_replicas, range(num_replicas), num_readers)
        if self.name != "multi_worker":
            return InputShare(num_replicas, range(num_replicas))
        num_own = num_replicas // self.cluster.num_workers
        first = self.cluster.number * num_own
        return InputShare(num_replicas, range(first, first + num_own))

    def fit(
        self,
        model: tf.keras.Model,
        read: Callable[..., tf.data.Dataset],
        *,
        epochs: range,
        first_step: int,
        steps_per_epoch: int,
        callbacks: Sequence[tf.keras.callbacks.Callback],
    ) -> None:
        """Trains a model that was made in the scope of the strategy.

        Args:
            model: Has a `train_step`.
            read: First epoch and first step -> batches of the replicas of this process, one
                after the other. Where replicas do not step together, `reader` is the number
                of one.
            epochs: Counted from 0.
            first_step: Steps of the first epoch that are done.
            steps_per_epoch: Steps of all replicas together.
            callbacks: As Keras has them.
        """
        if not self.is_synchronous:
            parameter_servers.fit(
                model,
                self.strategy,
                lambda reader: read(epochs.start, reader=reader),
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                num_workers=self.share.num_readers,
                callbacks=callbacks,
            )
            return
        # Keras counts the steps of an epoch from 0: the rest of one that has begun is its own.
        parts = [(epochs, 0)] if first_step == 0 else [(epochs[:1], first_step), (epochs[1:], 0)]
        for part, step in parts:
            if part and not (step == 0 and model.stop_training):
                model.fit(
                    self.distribute(read(part.start, step)),
                    initial_epoch=part.start,
                    epochs=part.stop,
                    steps_per_epoch=steps_per_epoch - step,
                    callbacks=list(callbacks),
                    verbose=0,
                )

    def distribute(
        self, dataset: tf.data.Dataset
    ) -> "tf.data.Dataset | tf.distribute.DistributedDataset":
        """The stream of the replicas of this process as one of steps."""
        if self.name == "none":
            return dataset
        # Ends only after the last epoch; asking whether there is more costs an exchange a step.
        endless = dataset.apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
        return self.strategy.distribute_datasets_from_function(lambda _: endless)

    def from_chief(self, values: Mapping[str, float]) -> dict[str, float]:
        """The values that the chief has, in all processes; they wait for each other here.

        Args:
            values: The same names everywhere; the numbers of the others do not count.
        """
        own = values if self.is_chief else dict.fromkeys(values, 0.0)
        return self.sum_of_all(own)

    def sum_of_all(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sums of the values of all processes, in all of them; they wait for each other here.

        Args:
            values: The same names everywhere.
        """
        if self.name != "multi_worker":
            return dict(values)
        own = np.array(list(values.values()), np.float64)

        @tf.function
        def add() -> tf.Tensor:
            def one_of_process() -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                is_first = tf.equal(context.replica_id_in_sync_group, self.share.replicas[0])
                return context.all_reduce("SUM", tf.where(is_first, own, tf.zeros_like(own)))

            return self.strategy.run(one_of_process)

        total, *_ = self.strategy.experimental_local_results(add())
        return dict(zip(values, total.numpy().tolist(), strict=True))

    def wait_for_all(self) -> None:
        """Returns when all processes have come here."""
        self.from_chief({"is_done": 1.0})


def check(config: RecallConfig, *, has_warm_start: bool = False) -> None:
    """Refuses what is impossible; starts nothing.

    Args:
        config: All settings.
        has_warm_start: Whether weights of an earlier training are to be carried over.

    Raises:
        InputError: `train.strategy` is impossible here, or with something else.
    """
    name = choose(config, clusters.read())
    if name == "processes":
        host_processes.check()
    if name == "parameter_server" and has_warm_start:
        raise InputError(
            "--warm_start does not go with parameter servers: rows are not carried into a table "
            "that is divided. Leave it out."
        )


@contextlib.contextmanager
def losing_no_peer() -> Iterator[None]:
    """Turns what TensorFlow raises when another process of the job is gone into one line.

    Raises:
        InputError: Instead.
    """
    try:
        yield
    except _LOST_PEER as error:
        if clusters.read() is None:
            raise
        raise InputError(
            f"{clusters.LOST_PEER} Start all of them again: the job goes on from its last "
            f"checkpoint. {_PAGE}"
        ) from error


def starts_processes(config: RecallConfig) -> bool:
    """Whether this process is to start others that train, see `host_processes`."""
    return choose(config, clusters.read()) == "processes"


def serve_chief() -> bool:
    """Does what the chief says until it has ended; False where this process is to train itself."""
    cluster = clusters.read()
    if cluster is None or not cluster.has_servers or cluster.is_chief:
        return False
    parameter_servers.serve(cluster)
    return True


def open_placement(config: RecallConfig) -> Placement:
    """The placement that `train.strategy` asks for. Comes before TensorFlow starts.

    Raises:
        InputError: It is impossible here, or with another setting.
    """
    cluster = clusters.read()
    name = choose(config, cluster)
    if name == "none":
        return Placement(name, tf.distribute.get_strategy(), None)
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        _check_compiling(config, len(devices))
        return Placement(name, strategy, None)
    if name == "parameter_server":
        return Placement(name, parameter_servers.open_strategy(cluster), cluster)
    _check_gpus(cluster)
    if not cluster.is_of_one_host:
        clusters.require_port(cluster)
        others = [each for each in cluster.all_addresses if each != cluster.address]
        logging.info("Waits for the other processes of the job: %s.", ", ".join(others))
    with waiting.ending_at_signals():
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    _check_compiling(config, strategy.num_replicas_in_sync)
    return Placement(name, strategy, cluster)


def choose(config: RecallConfig, cluster: Cluster | None) -> str:
    """The name of the strategy: what `auto` means here.

    Args:
        config: `train.strategy`, `train.jit_compile` and `train.deterministic` are read.
        cluster: Of `TF_CONFIG`.

    Raises:
        InputError: It is impossible here, or with another setting.
    """
    name, described = config.train.strategy, None
    if cluster is not None:
        described = "parameter_server" if cluster.has_servers else "multi_worker"
    if name == "auto":
        # In one process two GPUs are no faster than one (measured, TRIALS.md).
        name = described or "none"
    if name == "processes" and cluster is not None and cluster.is_of_one_host:
        name = "multi_worker"  # This process is one of those that were started.
    if cluster is None and name in ("multi_worker", "parameter_server"):
        raise InputError(
            f"train.strategy={name} needs {clusters.VARIABLE}, the addresses of all processes. "
            f"{_PAGE}"
        )
    if cluster is not None and name != described:
        raise InputError(
            f"{clusters.VARIABLE} describes a job of train.strategy={described}, "
            f"train.strategy={name} was asked for. Leave one of the two out."
        )
    if name == "parameter_server":
        clusters.check_servers(config, cluster)
    return name


def _check_gpus(cluster: Cluster) -> None:
    """A process that was started for a GPU would train on processor cores without it.

    Raises:
        InputError: TensorFlow does not see it.
    """
    wanted = gpus.find()
    if cluster.is_of_one_host and wanted and not tf.config.list_physical_devices("GPU"):
        raise InputError(
            f"TensorFlow sees no GPU in the process of GPU {wanted[0]}. `recall doctor` says what "
            f"it lacks; {gpus.VARIABLE} names the GPUs to use."
        )


def _check_compiling(config: RecallConfig, num_replicas: int) -> None:
    """XLA has no exchange between processor cores.

    Raises:
        InputError: A step of several replicas is to be compiled for them.
    """
    if config.train.jit_compile and num_replicas > 1 and not tf.config.list_logical_devices("GPU"):
        raise InputError(
            "train.jit_compile=true with several replicas needs GPUs: a compiled step of processor "
            "cores cannot exchange gradients. Leave train.jit_compile out."
        )
