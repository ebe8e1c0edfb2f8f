"""The packages: versions, conflicts, and whether TensorFlow and ScaNN work. Imports no TensorFlow.

These are tried in a process of their own: one that was compiled for another processor
ends it by a signal.
"""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import recall
from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW, Finding

_ROOT = Path(recall.__file__).parents[1]
_TRIAL_S = 180
"""Longest import of TensorFlow from a cold disk."""

_ENOUGH_FOUND = 0.95
"""Share that ScaNN finds in all its leaves; its bytes for numbers lose no more."""

_SLOW_IMPORT_S = 20

_DEVICES = Path("/dev")

_SHOWN = ("tensorflow", "tf_keras", "scann", "tensorflow-recommenders", "apache-beam", "numpy")
_TENSORFLOWS = (
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-gpu",
    "tensorflow-intel",
    "tensorflow-macos",
    "tf-nightly",
    "tf-nightly-cpu",
    "intel-tensorflow",
)
"""Distributions that write the same folder `tensorflow`."""

_TRIAL = """
import importlib.metadata, json, sys, time
found = {}
start = time.perf_counter()
import recall
import tensorflow as tf
found["import_s"] = round(time.perf_counter() - start, 2)
found["version"] = tf.__version__
is_legacy = tf.keras.Model.__module__.startswith("tf_keras")
found["keras"] = importlib.metadata.version("tf_keras" if is_legacy else "keras")
build = tf.sysconfig.get_build_info()
found["is_cuda_build"] = bool(build.get("is_cuda_build"))
found["cuda"] = build.get("cuda_version")
found["gpus"] = [
    tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    for gpu in tf.config.list_physical_devices("GPU")
]
print("FOUND" + json.dumps(found), flush=True)
import numpy as np
from recall.config import IndexConfig
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import build_index
rows = np.random.default_rng(0).normal(size=(5000, 16)).astype(np.float32)
index = build_index(rows, IndexConfig(kind="scann"), "inner_product")
# All leaves: what is then missing, the search itself has lost.
index = index.with_setting(index.parameters.num_leaves, 200)
mine, exact = (of.search(rows[:50], 10).rows for of in (index, ExactIndex(rows)))
shared = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(mine, exact)]
found["scann_recall"] = sum(shared) / 500
print("FOUND" + json.dumps(found), flush=True)
"""


def check_versions() -> Finding:
    """Whether the installed packages are those that this version asks for."""
    facts = {"python": ".".join(map(str, sys.version_info[:3])), "recall": recall.__version__}
    for name in _SHOWN:
        facts[name] = _version(name)
    text = ", ".join(f"{name} {version or 'missing'}" for name, version in facts.items())
    unmet = _unmet()
    if unmet is None:
        remedy = "Install it: `make install` in the source, or `pip install` of a wheel."
        return Finding("versions", NOTE, f"{text}. recall is not installed.", remedy, facts)
    if unmet:
        return Finding(
            "versions",
            BROKEN,
            f"{text}. Not as recall needs them: {', '.join(unmet)}.",
            "Install recall anew into an environment of its own, with the versions of "
            "constraints.txt: pip install 'recall[serve,train]' -c constraints.txt",
            facts,
        )
    return Finding("versions", OK, f"{text}.", "", facts)


_EXTRAS = ("serve", "train")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _unmet() -> list[str] | None:
    """Needs of recall that are not met; None where it is not installed as a package."""
    from packaging.requirements import Requirement

    try:
        needs = importlib.metadata.requires("recall") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    unmet = []
    for need in map(Requirement, needs):
        extras = [
            e for e in ("", *_EXTRAS) if not need.marker or need.marker.evaluate({"extra": e})
        ]
        version = _version(need.name)
        if version is None:  # Which extras were installed is not kept anywhere.
            unmet += [f"{need.name} is missing"] if "" in extras else []
        elif extras and not need.specifier.contains(version, prereleases=True):
            unmet.append(f"{need.name} {version} instead of {need.specifier}")
    return unmet


def check_conflicts() -> Finding:
    """Packages that write the same folders as ours, or as TensorFlow."""
    tensorflows = [name for name in _TENSORFLOWS if _version(name) is not None]
    foreign = [
        f"{name} ({path})"
        for name in ("recall", "serving", "pipelines")
        if (path := _folder_of(name)) is not None and path.parent != _ROOT
    ]
    facts = {"tensorflows": tensorflows, "foreign": foreign}
    if len(tensorflows) > 1:
        others = " ".join(tensorflows[1:])
        return Finding(
            "conflicts",
            BROKEN,
            f"Several packages of TensorFlow share one folder: {', '.join(tensorflows)}.",
            f"pip uninstall {others}, then pip install --force-reinstall --no-deps tensorflow "
            "-c constraints.txt",
            facts,
        )
    if foreign:
        return Finding(
            "conflicts",
            BROKEN,
            f"Other packages have the names of ours: {', '.join(foreign)}.",
            "Install recall into an environment of its own, and look at PYTHONPATH.",
            facts,
        )
    return Finding("conflicts", OK, "none.", "", facts)


def _folder_of(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve().parent


def check_settings(environment: dict[str, str] | None = None) -> list[Finding]:
    """Variables of the environment that change what TensorFlow and numpy do."""
    given = dict(os.environ) if environment is None else environment
    findings = []
    legacy = given.get("TF_USE_LEGACY_KERAS")
    if legacy is not None and legacy.lower() not in ("1", "true"):
        findings.append(
            Finding(
                "keras",
                NOTE,
                f"TF_USE_LEGACY_KERAS={legacy} asks for Keras 3; recall sets it to 1.",
                "Unset it. In a program of yours, import recall before tensorflow.",
                {"TF_USE_LEGACY_KERAS": legacy},
            )
        )
    cores = len(os.sched_getaffinity(0))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        value = given.get(name, "")
        if value.isdigit() and 0 < int(value) < cores:
            findings.append(
                Finding(
                    name,
                    SLOW,
                    f"{value} of {cores} cores are used.",
                    f"Unset {name}, unless the others are for other work.",
                    {name: int(value)},
                )
            )
    if given.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        findings.append(
            Finding(
                "oneDNN",
                SLOW,
                "TF_ENABLE_ONEDNN_OPTS=0: a training step takes up to 1.6 times as long.",
                "Unset TF_ENABLE_ONEDNN_OPTS; recall sets it to 1.",
                {"TF_ENABLE_ONEDNN_OPTS": "0"},
            )
        )
    return findings


def try_tensorflow(python: str | None = None) -> list[Finding]:
    """Imports TensorFlow and searches with ScaNN, in a process of their own.

    Args:
        python: Another interpreter than this one.
    """
    found, failure = _run_trial(python or sys.executable)
    if "version" not in found:
        return [
            Finding(
                "tensorflow",
                BROKEN,
                f"cannot be imported: {failure}",
                "Install recall anew into an environment of its own: pip install recall -c "
                "constraints.txt. A signal (ILL) means a processor without AVX2.",
                {},
            )
        ]
    return [_tensorflow(found), _gpu(found), _scann(found, failure)]


def _run_trial(python: str) -> tuple[dict[str, Any], str]:
    """What the trial found before it failed, and why it did."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    )
    try:
        run = subprocess.run(
            [python, "-c", _TRIAL],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TRIAL_S,
        )
    except subprocess.TimeoutExpired:
        return {}, f"it took longer than {_TRIAL_S} s"
    except OSError as error:
        return {}, f"{python}: {error.strerror}"
    lines = [line[5:] for line in run.stdout.splitlines() if line.startswith("FOUND")]
    found = json.loads(lines[-1]) if lines else {}
    if run.returncode == 0:
        return found, ""
    if run.returncode < 0:
        return found, f"signal {-run.returncode} ended it"
    return found, (run.stderr.strip().splitlines() or ["no reason given"])[-1]


def _tensorflow(found: dict[str, Any]) -> Finding:
    facts = {name: found[name] for name in ("version", "keras", "import_s")}
    if not found["keras"].startswith("2."):
        return Finding(
            "tensorflow",
            BROKEN,
            f"{found['version']} comes with Keras {found['keras']}; Keras 2 (tf_keras) is needed.",
            "pip install tf_keras -c constraints.txt, and unset TF_USE_LEGACY_KERAS.",
            facts,
        )
    text = f"{found['version']} with Keras {found['keras']}, imported in {found['import_s']} s."
    if found["import_s"] > _SLOW_IMPORT_S:
        remedy = "Give it once more: the first import reads many files. Else look at their disk."
        return Finding("tensorflow", SLOW, text, remedy, facts)
    return Finding("tensorflow", OK, text, "", facts)


def _gpu(found: dict[str, Any]) -> Finding:
    facts = {"gpus": found["gpus"], "is_cuda_build": found["is_cuda_build"]}
    if found["gpus"]:
        return Finding("gpu", OK, f"{', '.join(found['gpus'])}.", "", facts)
    devices = sorted(path.name for path in _DEVICES.glob("nvidia[0-9]*"))
    facts["devices"] = devices
    if not devices:
        return Finding(
            "gpu", OK, "none in this machine; recall trains on the processor.", "", facts
        )
    if not found["is_cuda_build"]:
        why = "this TensorFlow is built without CUDA"
    else:
        why = f"TensorFlow finds no CUDA {found['cuda']} libraries, or no driver that is new enough"
    return Finding(
        "gpu",
        SLOW,
        f"{', '.join(devices)} in this machine are not used: {why}.",
        "pip install 'tensorflow[and-cuda]' -c constraints.txt; `nvidia-smi` shows the driver; "
        "CUDA_VISIBLE_DEVICES must not be empty.",
        facts,
    )


def _scann(found: dict[str, Any], failure: str) -> Finding:
    recall_at_10 = found.get("scann_recall")
    if recall_at_10 is None:
        return Finding(
            "scann",
            BROKEN,
            f"cannot search: {failure}",
            "pip install 'scann[tf]' -c constraints.txt, or set index.kind=exact.",
            {},
        )
    facts = {"recall@10": recall_at_10}
    if recall_at_10 < _ENOUGH_FOUND:
        text = f"finds {recall_at_10:.0%} of the exact 10 nearest of 5,000 vectors."
        return Finding("scann", BROKEN, text, "Set index.kind=exact, and tell the makers.", facts)
    return Finding("scann", OK, f"searches ({recall_at_10:.0%} of the exact top 10).", "", facts)
