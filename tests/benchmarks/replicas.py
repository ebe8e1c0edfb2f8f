"""A training step of several replicas: GPUs, or as many parts of the processor.

The global batch grows with the replicas, so that each has as much to do as one alone.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from pipelines.artifacts import trained_model
from pipelines.processes import gpus as visible_gpus
from pipelines.training import devices, threads
from pipelines.training.epochs.losses import MeanLosses, StopOnNan
from pipelines.training.placement import host_environments, strategies
from pipelines.training.placement.strategies import Placement
from pipelines.training.training_examples import open_examples
from recall.config import RecallConfig
from recall.vocabulary import PADDING_ID
from tests.benchmarks import logs, measure

_NUM_RUNS = 5
"""Passes over the batches; the cheapest counts."""


def open_replicas(case: dict[str, Any]) -> tuple[RecallConfig, Placement]:
    """The settings of a case and its replicas; before TensorFlow has started.

    Args:
        case: `replicas` is their number, `slots` what each has of a step; of the kind `process`
            this process has one of them.

    Raises:
        RuntimeError: There are GPUs, but fewer.
    """
    number = case["replicas"]
    config = RecallConfig().override(
        [
            f"train.strategy={'processes' if _is_process(case) else 'mirrored'}",
            f"model.num_interests={case['num_interests']}",
            *case["settings"],
            f"train.batch_slots={number * case['slots']}",
        ]
    )
    devices.prepare(config)
    threads.share_cores_between_operations()
    if not _is_process(case):  # The environment of one says which GPU it has.
        _choose_devices(number)
    placement = strategies.open_placement(config)
    return devices.complete(config, placement.num_replicas), placement


def _choose_devices(number: int) -> None:
    """Lets TensorFlow see as many GPUs, or parts of the processor where there is none.

    Raises:
        RuntimeError: There are GPUs, but fewer.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if len(gpus) < number:
            raise RuntimeError(f"{number} GPUs are wanted, {len(gpus)} are there.")
        tf.config.set_visible_devices(gpus[:number], "GPU")
        return
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * number
    tf.config.set_logical_device_configuration(cpu, parts)


def _is_process(case: dict[str, Any]) -> bool:
    return case.get("kind") == "process"


def measure_processes(module: str, case: dict[str, Any], timeout_s: float) -> dict[str, float]:
    """What a step costs where every replica is a process, as `train.strategy=processes` has it.

    Args:
        module: That measures the case of its `--case`.
        case: As of `open_replicas`.
        timeout_s: Most seconds that a process may take.

    Raises:
        RuntimeError: There are GPUs, but fewer; or a process failed.
        subprocess.TimeoutExpired: One took too long.
    """
    number = case["replicas"]
    found = visible_gpus.find() or [""] * number
    if len(found) < number:
        raise RuntimeError(f"{number} GPUs are wanted, {len(found)} are there.")

    def measure_one(variables: dict[str, str]) -> dict[str, float]:
        return measure.run_case(
            module, case | {"kind": "process"}, timeout_s=timeout_s, **variables
        )

    with ThreadPoolExecutor(number) as pool:
        return join_processes(list(pool.map(measure_one, host_environments.build(found[:number]))))


def join_processes(facts: Sequence[dict[str, float]]) -> dict[str, float]:
    """What all processes together do; each counts its own slots and its own time."""
    slowest = {name: max(one[name] for one in facts) for name in facts[0]}
    names = ("target_slots_per_second", "target_slots_per_step", "cpu_ms_per_step")
    return slowest | {name: sum(one[name] for one in facts) for name in names}


def measure_step(case: dict[str, Any]) -> dict[str, float]:
    """What a step costs, as Keras takes it, on batches that are in memory.

    Slots and the processor's time are those of this process.
    """
    config, placement = open_replicas(case)
    batches, num_calls = _read_batches(case, config, placement)
    parts = list(batches)
    with placement.strategy.scope():
        catalogue = logs.Catalogue(case["num_items"])
        model = trained_model.build_model(config, catalogue, num_calls)
    stream = iter(placement.distribute(batches.cache().repeat()))
    model.make_train_function()

    def train() -> None:
        for _ in range(num_calls):
            losses = model.train_function(stream)
        float(losses["loss"])

    start = time.perf_counter()
    train()  # Traces, and compiles what depends on shapes.
    seconds_of_the_first_pass = time.perf_counter() - start
    train()
    cost = measure.cheapest(train, _NUM_RUNS)
    num_slots = sum(int((part.positive_ids.numpy() != PADDING_ID).sum()) for part in parts)
    num_steps = num_calls * (parts[0].history_ids.shape[0] if config.train.jit_compile else 1)
    return {
        "seconds_of_the_first_pass": seconds_of_the_first_pass,
        "target_slots_per_second": num_slots / cost.seconds,
        "ms_per_step": 1e3 * cost.seconds / num_steps,
        "cpu_ms_per_step": 1e3 * cost.cpu_seconds / num_steps,
        "target_slots_per_step": num_slots / num_steps,
    }


def measure_epochs(case: dict[str, Any]) -> dict[str, float]:
    """Whole epochs as `recall train` runs them, reading included, validation left out."""
    config, placement = open_replicas(case)
    config = config.override(["train.max_epochs=6"])
    with tempfile.TemporaryDirectory() as folder:
        num_sequences = case["sequences"] * case["replicas"]
        sequences = logs.draw_sequences(num_sequences, case["num_items"])
        logs.write_training_split(f"{folder}/log", sequences)
        data = open_examples(config, f"{folder}/log", placement.share).stream(0)
        with placement.strategy.scope():
            catalogue = logs.Catalogue(case["num_items"])
            model = trained_model.build_model(config, catalogue)
        clock = EpochClock()
        model.fit(
            placement.distribute(data.dataset),
            epochs=config.train.max_epochs,
            steps_per_epoch=data.steps_per_epoch,
            callbacks=[StopOnNan(), MeanLosses(), clock],
            verbose=0,
        )
    num_slots = sum(len(ids) - 1 for members in sequences.values() for ids in members)
    seconds = statistics.median(clock.seconds[1:])
    return {
        "target_slots_per_second": num_slots / seconds,
        "seconds_of_the_first_epoch": clock.seconds[0],
        "seconds_of_an_epoch": seconds,
    }


class EpochClock(tf.keras.callbacks.Callback):
    """Seconds of every epoch; comes last, when the losses have been read."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stops it."""
        self.seconds.append(time.perf_counter() - self._start)


def _read_batches(
    case: dict[str, Any], config: RecallConfig, placement: Placement
) -> tuple[tf.data.Dataset, int]:
    """An epoch of about as many steps as the case names: batches by replica, calls of a step."""
    with tempfile.TemporaryDirectory() as folder:
        num_sequences = int(case["steps"] * config.train.batch_slots / logs.MEAN_SLOTS)
        sequences = logs.draw_sequences(num_sequences, case["num_items"])
        logs.write_training_split(f"{folder}/log", sequences)
        data = open_examples(config, f"{folder}/log", placement.share).stream(0)
        num_calls = min(data.steps_per_epoch, case["steps"])
        parts = list(data.dataset.take(len(placement.share.replicas) * num_calls))
    # Padded batches have different shapes: no tensor holds them all.
    spec = data.dataset.element_spec
    return tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=spec), num_calls
