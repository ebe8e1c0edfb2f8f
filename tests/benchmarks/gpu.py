"""What one GPU gives: `python -m tests.benchmarks.gpu` prints JSON (`make benchmark-gpu`).

Every case runs in a process of its own, with a limit of time; one that fails says so and
the others go on. At most `--minutes` in all. Where there is no GPU the compiled step runs
on the processor: slow, but the same program.
"""

import itertools
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import app, flags

from pipelines.artifacts import trained_model
from pipelines.training import devices, packed_input, threads
from pipelines.training.epochs.losses import MeanLosses, StopOnNan
from tests.benchmarks import logs, measure, replicas, training

_MODULE = "tests.benchmarks.gpu"

_MINUTES = flags.DEFINE_float("minutes", 8, "Time for all cases together.")
_ONLY = flags.DEFINE_list(
    "only", [], "Cases, or beginnings of their names; empty: all that there are GPUs for."
)
_SEQUENCES = flags.DEFINE_integer("epoch_sequences", 22_512, "Training sequences of `epochs`.", 1)

_README_STEP = ["model.dim=64", "train.batch_slots=1024", "loss.num_negatives=1024"]
_LARGE_STEP = ["model.dim=64", "train.batch_slots=16384", "loss.num_negatives=1024"]
_BASE = {"num_items": 10_000, "num_interests": 4, "seq2seq": "on", "batches": "bucketed"}

_CASES: dict[str, dict[str, Any]] = {
    "readme_step": {"settings": _README_STEP, "steps": 128},
    "readme_step_bfloat16": {
        "settings": [*_README_STEP, "train.compute_dtype=bfloat16"],
        "steps": 128,
    },
    "large_step": {"settings": _LARGE_STEP, "steps": 32},
    "large_step_bfloat16": {
        "settings": [*_LARGE_STEP, "train.compute_dtype=bfloat16"],
        "steps": 32,
    },
    "default_step": {"settings": [], "steps": 128},
    "epochs": {"kind": "epochs", "settings": _README_STEP},
    "small_catalogue_wide": {"settings": ["model.dim=128"], "steps": 64, "averaging": True},
    "large_catalogue_wide": {
        "settings": ["model.dim=128"],
        "steps": 64,
        "num_items": 10_000_000,
        "averaging": True,
    },
    "cores": {"settings": [], "steps": 40, "device": "cores"},
    "cores_2_threads_an_operation": {
        "settings": [],
        "steps": 40,
        "device": "cores",
        "threads": 2,
    },
    "cores_4_threads_an_operation": {
        "settings": [],
        "steps": 40,
        "device": "cores",
        "threads": 4,
    },
}
"""Name -> what differs from `_BASE`. The rows of a table of throughputs, cheapest first."""

_NUM_REPLICAS = (1, 2, 4)
_REPLICA_STEPS = {
    "replicas": {"kind": "replicas", "slots": 1024, "steps": 128},
    "replicas_large": {"kind": "replicas", "slots": 16_384, "steps": 32},
    "replicas_epochs": {"kind": "replicas_epochs", "slots": 1024},
}
_PROCESS_STEPS = {
    "processes": _REPLICA_STEPS["replicas"] | {"kind": "processes"},
    "processes_large": _REPLICA_STEPS["replicas_large"] | {"kind": "processes"},
}
_ONE_OF = {"processes": "replicas_1", "processes_large": "replicas_large_1"}
"""What several processes are compared with."""

for _name, _case in (_REPLICA_STEPS | _PROCESS_STEPS).items():
    for _number in _NUM_REPLICAS[_name in _PROCESS_STEPS :]:
        settings = ["model.dim=64", "loss.num_negatives=1024"]
        _CASES[f"{_name}_{_number}"] = _case | {"replicas": _number, "settings": settings}


def measure_case(case: dict[str, Any]) -> dict[str, float]:
    """What one case costs, in this process."""
    if case.get("kind") == "epochs":
        return measure_epochs(case)
    if case.get("kind") in ("replicas", "process"):
        return replicas.measure_step(case)
    if case.get("kind") == "replicas_epochs":
        return replicas.measure_epochs(case)
    return training.measure_case(case)


def measure_epochs(case: dict[str, Any]) -> dict[str, float]:
    """Whole epochs as `recall train` runs them, reading included, validation left out."""
    config = training.case_config(case).override(["train.max_epochs=12", "train.jit_compile=true"])
    threads.share_cores_between_operations()
    with tempfile.TemporaryDirectory() as folder:
        logs.write_training_split(
            f"{folder}/log", logs.draw_sequences(case["sequences"], case["num_items"])
        )
        start = time.perf_counter()
        examples = packed_input.PackedExamples(f"{folder}/log", config)
        seconds_to_read = time.perf_counter() - start
    data = examples.stream()
    model = trained_model.build_model(config, logs.Catalogue(case["num_items"]))
    clock = replicas.EpochClock()
    model.fit(
        data.dataset,
        epochs=config.train.max_epochs,
        steps_per_epoch=data.steps_per_epoch,
        callbacks=[StopOnNan(), MeanLosses(), clock],
        verbose=0,
    )
    return {
        "target_slots_per_second": examples.num_slots / statistics.median(clock.seconds[1:]),
        "seconds_of_the_first_epoch": clock.seconds[0],
        "seconds_of_an_epoch": statistics.median(clock.seconds[1:]),
        "seconds_to_read": seconds_to_read,
        "steps_per_epoch": examples.steps_per_epoch,
    }


def run_cases(names: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    """Runs the named cases one after the other; those that time is short for say so."""
    end, cases = time.monotonic() + seconds, []
    for name in names:
        case = _BASE | {"examples": None, "sequences": _SEQUENCES.value} | _CASES[name]
        case["settings"] = [*case["settings"], *measure.SETTINGS.value]
        measure.show_progress(name)
        cases.append({"name": name, **case} | _run(case, end - time.monotonic()))
    return cases


def _run(case: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The facts of a case, or why there are none."""
    variables = {}
    if case.get("device") == "cores":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    if "threads" in case:
        variables["TF_NUM_INTRAOP_THREADS"] = str(case["threads"])
    if seconds <= 0:
        return {"failed": "no time was left"}
    try:
        if case.get("kind") == "processes":
            return replicas.measure_processes(_MODULE, case, seconds)
        return measure.run_case(_MODULE, case, timeout_s=seconds, **variables)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {seconds:.0f} s"}
    except RuntimeError as error:
        return {"failed": str(error)[-1500:]}


def ratios(cases: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What is compared with what; a case that failed is in none."""
    speed = {
        case["name"]: case["target_slots_per_second"]
        for case in cases
        if "target_slots_per_second" in case
    }
    ms = {case["name"]: case["ms_per_step"] for case in cases if "ms_per_step" in case}
    found = {}
    if {"epochs", "readme_step"} <= set(speed):
        found["epochs_against_the_step_alone"] = speed["epochs"] / speed["readme_step"]
    cores = [value for name, value in speed.items() if name.startswith("cores")]
    if cores and "default_step" in speed:
        found["gpu_against_the_best_of_the_cores"] = speed["default_step"] / max(cores)
    if {"large_catalogue_wide", "small_catalogue_wide"} <= set(ms):
        found["step_of_10_million_items_against_10_thousand"] = (
            ms["large_catalogue_wide"] / ms["small_catalogue_wide"]
        )
    for kind, number in itertools.product(_REPLICA_STEPS | _PROCESS_STEPS, _NUM_REPLICAS[1:]):
        one, several = _ONE_OF.get(kind, f"{kind}_1"), f"{kind}_{number}"
        if {one, several} <= set(speed):
            found[f"{several}_against_1"] = speed[several] / speed[one]
    return {name: round(value, 2) for name, value in found.items()}


def choose_cases(wanted: Sequence[str], num_gpus: int) -> list[str]:
    """Names of the cases: those that begin as wanted, or all that there are GPUs for.

    Several replicas are left out where there is one GPU, or none, unless they are wanted.
    """
    if wanted:
        return [name for name in _CASES if name.startswith(tuple(wanted))]
    most = num_gpus if num_gpus > 1 else 0
    return [name for name, case in _CASES.items() if case.get("replicas", 0) <= most]


def main(_: Sequence[str]) -> None:
    """Measures the case that is named, or every case in a process of its own."""
    if measure.answer_case(measure_case):
        return
    num_gpus = len(tf.config.list_physical_devices("GPU"))
    cases = run_cases(choose_cases(_ONLY.value, num_gpus), 60 * _MINUTES.value)
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "all that there are")
    measure.print_report(cases, ratios=ratios(cases), visible_gpus=gpu)


if __name__ == "__main__":
    devices.keep_compiled_steps()
    app.run(main)
