"""`recall train` as real processes of this machine, alone or as a cluster."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[4]
NUM_ITEMS = 20
SECONDS = 240
"""Most that a job may take on a busy machine."""

SETTINGS = (
    "model.extractor=last_state",
    "model.dim=8",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "model.max_history_length=7",
    "loss.num_negatives=16",
    "train.batch_size=32",
    "train.learning_rate=0.03",
    "train.max_epochs=3",
)

LOGICAL_DEVICES = """
import sys
import recall
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pipelines import cli

sys.exit(cli.main(sys.argv[1:]))
"""
"""The command where TensorFlow sees two devices."""

TWO_GPUS = """
import sys
from pipelines.processes import gpus

gpus.find = lambda: ["", ""]
from pipelines import cli

sys.exit(cli.main(sys.argv[1:], catch_signals=True))
"""
"""The command on a host of two GPUs, whose processes train on processor cores."""

WAITS_FOR_EVER = """
import json
import os
import sys
import time
from pipelines import cli
from pipelines.processes import jobs
from pipelines.training.epochs import epoch_lines

on_train_batch_end = epoch_lines.ShowEpochs.on_train_batch_end

def wait(self, batch, logs=None):
    on_train_batch_end(self, batch, logs)
    if batch == 2 and json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
        time.sleep(10**6)

epoch_lines.ShowEpochs.on_train_batch_end = wait
if sys.argv[1].isdecimal():
    jobs.run_part(cli.main)
sys.exit(cli.main(sys.argv[1:]))
"""
"""The command, or a part of one, whose second process waits behind its third step. Its threads
go on, and the others are told that it is there."""

TWO_GPUS_WAITING = f"""
from pipelines.processes import jobs
from tests.pipelines.training.placement import training_processes

popen = jobs.subprocess.Popen

def start(words, **options):
    if "pipelines.part" in words:
        arguments = words[words.index("pipelines.part") + 1:]
        words = [words[0], "-c", training_processes.WAITS_FOR_EVER, *arguments]
    return popen(words, **options)

jobs.subprocess.Popen = start
{TWO_GPUS}
"""
"""The same of `TWO_GPUS`."""

EXCHANGES_INSIDE = """
import sys
import recall
from recall.models import dssrec, replicated_step
from pipelines.training.placement import strategies

build = replicated_step.build_train_function

def build_uncompiled(model, jit_compile, exchanges_inside):
    print("exchanges inside")
    return build(model, jit_compile=False, exchanges_inside=True)

dssrec.build_train_function = build_uncompiled
strategies._check_compiling = lambda *_: None
from pipelines import cli

sys.exit(cli.main(sys.argv[1:]))
"""
"""The command as on a GPU with processes beside it, but that XLA compiles nothing: it has no
exchange for processor cores."""


def chains(num_users, seed=0):
    """Users who walk along a ring of items, 4 to 9 steps."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(0, NUM_ITEMS, num_users), rng.integers(4, 10, num_users)
    return [
        ((start + np.arange(length)) % NUM_ITEMS).tolist()
        for start, length in zip(starts, lengths, strict=True)
    ]


def command(examples_dir, model_dir, *settings):
    """Arguments of `recall train`."""
    return [
        "train",
        f"--examples={examples_dir}",
        f"--output={model_dir}",
        *(f"--set={setting}" for setting in (*SETTINGS, *settings)),
    ]


def start(
    arguments, cluster=None, task=("worker", 0), *, on_two_devices=False, program=None, log=None
):
    """Starts the command.

    Args:
        arguments: Of `recall`.
        cluster: Kind of task -> addresses; None: the process is alone.
        task: Kind and number of the process.
        on_two_devices: Whether TensorFlow sees two devices.
        program: Text of one that is the command, None for the command itself.
        log: File of what it prints.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    if cluster is not None:
        description = {"cluster": cluster, "task": {"type": task[0], "index": task[1]}}
        environment["TF_CONFIG"] = json.dumps(description)
    program = LOGICAL_DEVICES if on_two_devices else program
    words = ["-m", "pipelines.cli"] if program is None else ["-c", program]
    with contextlib.ExitStack() as stack:
        output = subprocess.PIPE if log is None else stack.enter_context(open(log, "ab"))
        return subprocess.Popen(
            [sys.executable, *words, *arguments],
            cwd=ROOT,
            env=environment | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def free_addresses(number):
    """Ports of this machine that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def finish(processes, log=None):
    """Waits for the processes; all must end well."""
    try:
        codes = [process.wait(SECONDS) for process in processes]
    finally:
        for process in processes:
            kill(process)
    said = Path(log).read_text(encoding="utf-8", errors="replace")[-4000:] if log else ""
    assert codes == [0] * len(processes), said


def kill(process):
    """As `kill -9`."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()


def wait_until(condition, processes):
    """Waits while the processes run."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)


def read_log(model_dir):
    """Lines of the training log, without what a clock says."""
    path = Path(model_dir) / "training_log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [
        {name: value for name, value in json.loads(line).items() if name != "seconds"}
        for line in lines
    ]
