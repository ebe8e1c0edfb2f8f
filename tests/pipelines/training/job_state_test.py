"""The state of a job: every value comes back, and reading it costs no second copy."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from pipelines.training.job_state import JobState


def test_every_variable_gets_its_value_back(tmp_path):
    table, step = tf.Variable([[1.0, 2.0], [3.0, 4.0]]), tf.Variable(7, dtype=tf.int64)
    first, second = tf.Variable([5.0]), tf.Variable([6.0])
    state = JobState({"weight": [table, first], "optimizer": [step, second]})
    path = state.checkpoint.write(str(tmp_path / "state"))
    for variable in (table, step, first, second):
        variable.assign(tf.zeros_like(variable))

    state.restore(path)

    np.testing.assert_array_equal(table, [[1, 2], [3, 4]])
    assert int(step) == 7
    np.testing.assert_array_equal(first, [5])
    np.testing.assert_array_equal(second, [6])


def test_a_state_that_lacks_a_variable_is_refused(tmp_path):
    path = JobState({"weight": [tf.Variable(1.0)]}).checkpoint.write(str(tmp_path / "state"))
    with pytest.raises(AssertionError):
        JobState({"weight": [tf.Variable(1.0), tf.Variable(2.0)]}).restore(path)


def test_a_state_of_another_shape_is_refused(tmp_path):
    path = JobState({"weight": [tf.Variable([1.0])]}).checkpoint.write(str(tmp_path / "state"))
    with pytest.raises(ValueError, match="shape"):
        JobState({"weight": [tf.Variable([1.0, 2.0])]}).restore(path)


MEGABYTES = 128

RESTORE = f"""
import re, sys
import tensorflow as tf
from pipelines.training.job_state import JobState

variables = [tf.Variable(tf.ones([{MEGABYTES} << 18])) for _ in range(4)]
state = JobState({{"weight": variables}})
path = state.checkpoint.write(sys.argv[1] + "/state")

def status(name):
    with open("/proc/self/status") as file:
        return int(re.search(name + r":\\s*(\\d+)", file.read())[1]) / 1024

def restore_all_at_once(path):
    state.checkpoint.read(path).assert_consumed()

before = status("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # The peak starts anew.
(state.restore if sys.argv[2] == "state" else restore_all_at_once)(path)
print(status("VmHWM") - before)
"""


def measure_extra_megabytes(tmp_path, how):
    """What restoring four variables takes beyond the variables, in a process of its own."""
    command = [sys.executable, "-c", RESTORE, str(tmp_path), how]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return float(run.stdout.split()[-1])


@pytest.mark.slow
def test_restoring_holds_one_variable_twice(tmp_path):
    assert measure_extra_megabytes(tmp_path, "state") < 1.7 * MEGABYTES
    # What it avoids: TensorFlow's own way reads everything before it assigns.
    assert measure_extra_megabytes(tmp_path, "at once") > 2.5 * MEGABYTES
