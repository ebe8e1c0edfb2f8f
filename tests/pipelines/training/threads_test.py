"""The threads of a training job. TensorFlow fixes them when it starts: each case is a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from pipelines.training import threads

ROOT = Path(__file__).parents[3]


def intra_op_threads(before: str = "", **environment: str) -> int:
    """What a fresh process on all cores of this one ends up with."""
    script = (
        "import recall\n"
        "import tensorflow as tf\n"
        "from pipelines.training import threads\n"
        f"{before}\n"
        "threads.share_cores_between_operations()\n"
        "print(tf.config.threading.get_intra_op_parallelism_threads())\n"
    )
    inherited = {k: v for k, v in os.environ.items() if k != "TF_NUM_INTRAOP_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout)


def test_an_operation_gets_half_of_the_cores():
    assert intra_op_threads() == max(1, len(os.sched_getaffinity(0)) // 2)


@pytest.mark.slow
def test_the_choice_of_the_caller_stays():
    # 0 is TensorFlow's own default, which reads the variable.
    assert intra_op_threads(TF_NUM_INTRAOP_THREADS="7") == 0
    assert intra_op_threads("tf.config.threading.set_intra_op_parallelism_threads(5)") == 5


def test_nothing_changes_where_tensorflow_has_started():
    tf.zeros([1]).numpy()
    before = tf.config.threading.get_intra_op_parallelism_threads()

    threads.share_cores_between_operations()

    assert tf.config.threading.get_intra_op_parallelism_threads() == before
