"""Processes in which TensorFlow was imported before `recall`, as notebooks have them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(program: str) -> subprocess.CompletedProcess:
    """A process without the variable that this one's `recall` has set."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_tensorflow_may_be_imported_first():
    result = run("import tensorflow as tf; from recall import towers; print(tf.keras.Model)")
    assert result.returncode == 0, result.stderr
    assert "tf_keras" in result.stdout


KERAS_3 = "import tensorflow as tf; tf.keras.Model; import recall; "


IMPORTS = """
import importlib, traceback
for module in ("layers.dense", "optimizers", "models.dssrec"):
    try:
        importlib.import_module(f"recall.{module}")
    except ImportError as error:
        print(*traceback.format_exception_only(error), sep="", end="")
"""


def test_a_model_in_a_process_with_keras_3_is_refused_in_one_line():
    result = run(f"{KERAS_3}\n{IMPORTS}")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("ImportError: `tf.keras` is Keras 3 in this process")
        assert "Restart the process" in line


def test_a_client_works_in_a_process_with_keras_3():
    result = run(f"{KERAS_3} print(recall.Client('127.0.0.1:8500'))")
    assert result.stdout == "Client('127.0.0.1:8500', timeout_s=10)\n", result.stderr
