"""Whether TensorFlow and ScaNN work, and what GPU there is. Imports no TensorFlow.

They are tried in a process of their own: one that was compiled for another processor
ends it by a signal.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import recall
from pipelines.inspection import packages
from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW, Finding

_ROOT = Path(recall.__file__).parents[1]

_TRIAL_S = 180
"""Longest import of TensorFlow from a cold disk."""

_ENOUGH_FOUND = 0.95
"""Share that ScaNN finds in all its leaves; its bytes for numbers lose no more."""

_SLOW_IMPORT_S = 20

_DEVICES = Path("/dev")

_TRIAL = """
import importlib.metadata, json, sys, time
found = {}
start = time.perf_counter()
import recall
import tensorflow as tf
found["import_s"] = round(time.perf_counter() - start, 2)
found["version"] = tf.__version__
try:
    is_legacy = tf.keras.Model.__module__.startswith("tf_keras")
    found["keras"] = importlib.metadata.version("tf_keras" if is_legacy else "keras")
except ImportError:  # Servers need none.
    found["keras"] = None
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


def try_tensorflow(python: str | None = None) -> list[Finding]:
    """Imports TensorFlow and searches with ScaNN, in a process of their own.

    Args:
        python: Another interpreter than this one.
    """
    if python is None and packages.version_of("tensorflow") is None:
        remedy = (
            "`recall query` needs none; for servers pip install 'recall[serve]', for jobs [train]."
        )
        return [Finding("tensorflow", NOTE, "not installed.", remedy, {})]
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
    if found["keras"] is None:
        text = f"{found['version']} without Keras, imported in {found['import_s']} s."
        remedy = "Enough for servers; for jobs pip install 'recall[train]'."
        return Finding("tensorflow", NOTE, text, remedy, facts)
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
