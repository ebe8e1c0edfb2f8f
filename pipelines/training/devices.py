"""What a training job runs on, and the settings that follow from it."""

import contextlib
import dataclasses
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from absl import logging

from pipelines.processes import gpus
from pipelines.training.placement import cluster as clusters
from pipelines.training.placement import exchange
from recall.config import RecallConfig
from recall.errors import InputError

_CACHE_VARIABLE = "RECALL_COMPILATION_CACHE"

_CPU_BATCH_SLOTS = 384
"""256 and 512 took longer to the same quality (measured, TRIALS.md)."""

_GPU_BATCH_SLOTS = 1024
"""A step of 384 slots takes a GPU as long: it waits for the program, not for arithmetic."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""A disk that is full is an exhausted resource for TensorFlow too."""

_GPU_NEGATIVES = 4096
"""On validation users of Beauty .0740 after 17 epochs, where 1,024 had .0712 after 15
(ndcg@10, one seed, measured)."""


def prepare(config: RecallConfig) -> None:
    """Sets up TensorFlow, before it starts, for the step that the settings ask for.

    GPU memory is taken as it is needed, not all of the card. Compiled steps are kept in
    a folder from job to job: `RECALL_COMPILATION_CACHE`, or one of the user's caches; an
    empty value keeps none. Processes of a job with one GPU each exchange within a step, and
    processes of any kind find each other without a proxy.

    Does nothing where TensorFlow has started already.
    """
    cluster = clusters.read()
    clusters.reach_directly(cluster)
    if config.train.jit_compile is not False:  # TensorFlow reads them with its devices.
        exchange.prepare(cluster, len(gpus.find()))
        keep_compiled_steps()
        _compile_on_all_cores(cluster)
    try:
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except (RuntimeError, ValueError):
        logging.debug("TensorFlow has started; it takes memory as it did.")
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()


def complete(
    config: RecallConfig, num_replicas: int = 1, *, may_compile: bool = True
) -> RecallConfig:
    """The settings with those chosen that are left to the devices.

    Args:
        config: Settings, perhaps complete already.
        num_replicas: Replicas that share a step.
        may_compile: Whether a step can be compiled where the job runs.
    """
    train = config.train
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    jit_compile = has_gpu and may_compile if train.jit_compile is None else train.jit_compile
    slots_of_replica = _GPU_BATCH_SLOTS if has_gpu else _CPU_BATCH_SLOTS
    batch_slots = train.batch_slots or num_replicas * slots_of_replica
    num_negatives = config.loss.num_negatives
    if num_negatives is None:
        num_negatives = _GPU_NEGATIVES if has_gpu else config.loss.NUM_NEGATIVES
    return dataclasses.replace(
        config,
        loss=dataclasses.replace(config.loss, num_negatives=num_negatives),
        train=dataclasses.replace(train, jit_compile=jit_compile, batch_slots=batch_slots),
    )


def describe(config: RecallConfig, spread: str = "") -> str:
    """One sentence on what the job runs on, for its first lines.

    Args:
        config: Settings as `complete` gives them.
        spread: Over which devices the job spreads; empty: over none.
    """
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "a GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    cores = len(os.sched_getaffinity(0))
    place = names[0] if names else f"{cores} processor cores"
    if len(names) > 1 and spread:
        place = f"{len(names)} x {place}"
    elif len(names) > 1:
        place += f" (the first of {len(names)} GPUs; train.strategy=processes uses all)"
    step = f"{config.train.batch_slots} slots a step"
    if spread:
        place += f", {spread}"
    if not config.train.jit_compile:
        return f"Training on {place}, {step}."
    return (
        f"Training on {place}, {step}. The step is compiled first: about a minute, once for "
        "these settings and this log."
    )


@contextlib.contextmanager
def enough_memory(config: RecallConfig, num_replicas: int = 1) -> Iterator[None]:
    """Says which settings take less memory where a block has asked for more than there is.

    Args:
        config: The settings, perhaps complete already.
        num_replicas: Replicas that share a step.

    Raises:
        InputError: It has.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        text = str(error)
        if any(os.strerror(number) in text for number in _FULL):
            raise
        device = re.search(r"device:(\w+:\d+)", text)
        wanted = re.search(r"tensor with shape\[[\d,]*\] and type \w+|allocate \d+ bytes", text)
        place = device[1] if device else "the device"
        what = f" ({wanted[0].removeprefix('allocate ')})" if wanted else ""
        completed = complete(config, num_replicas)
        settings = [f"train.batch_slots ({completed.train.batch_slots})"]
        if config.loss.negatives not in ("full", "in_batch"):
            settings.append(f"loss.num_negatives ({completed.loss.num_negatives})")
        raise InputError(
            f"The memory of {place} is too small for a step{what}. Lower "
            f"{' or '.join(settings)}; if that is not enough, model.num_interests "
            f"({config.model.num_interests}) or model.dim ({config.model.dim})."
        ) from error


def keep_compiled_steps() -> None:
    """Gives XLA a folder for compiled programs; flags that are set stay as they are.

    TensorFlow reads them when it looks for devices, which with `absl.app.run` is before
    `main`: a program that uses that calls this first.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recall" / "xla"
    folder = os.environ.get(_CACHE_VARIABLE, str(default))
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if not folder or "tf_xla_persistent_cache_directory" in flags:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logging.warning("Compiled steps are not kept: %s: %s.", folder, error.strerror)
        return
    os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={folder}".strip()


def _compile_on_all_cores(cluster: clusters.Cluster | None) -> None:
    """Lets XLA compile the kernels of a step beside each other; processes share the cores."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_force_compilation_parallelism" not in flags:
        sharing = cluster.num_workers if cluster is not None and cluster.is_of_one_host else 1
        cores = max(1, len(os.sched_getaffinity(0)) // sharing)
        flag = f"--xla_gpu_force_compilation_parallelism={cores}"
        os.environ["XLA_FLAGS"] = f"{flags} {flag}".strip()
