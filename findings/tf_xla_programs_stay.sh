#!/usr/bin/env bash
# `tf.function(jit_compile=True)` keeps the memory of its programs after the function is gone; without it none stays.
#
# tensorflow-cpu 2.20.0. One would guess that a compiled function frees what it was compiled to when Python has
# collected it, as a function that is only traced does: 40 such functions, made, called once and dropped, leave
# the process as large as it was. With `jit_compile=True` every one leaves 6 to 7 MB, for as long as the process
# lives: the cache of compiled programs belongs to the device, not to the function, and nothing evicts from it.
# For a recommender: a process that makes models one after the other and compiles their steps (tuning, nightly
# trainings, a test suite) grows without end. Here some hundred tests of compiled steps in one process reached 14 GB. Give each
# training a process of its own.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import gc
import sys
import weakref
from pathlib import Path

import tensorflow as tf


def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def make_call_and_drop(number, *, compiled):
    def step(x):
        for place in range(60):
            x = tf.sin(x @ x + number * 0.001 + place)
        return tf.reduce_sum(x)

    function = tf.function(step, jit_compile=compiled, autograph=False)
    function(tf.ones([8, 8]))
    return weakref.ref(function)


compiled = sys.argv[1] == "compiled"
sizes = []
for number in range(61):
    function = make_call_and_drop(number, compiled=compiled)
    gc.collect()
    assert function() is None  # Python has let go of it.
    if number in (20, 60):
        sizes.append(megabytes())
per_function = (sizes[1] - sizes[0]) / 40
print(f"tensorflow {tf.__version__}, {sys.argv[1]}: {per_function:.1f} MB stay of every function")
assert per_function > 3 if compiled else per_function < 0.5, "this has changed"
PROGRAM
for kind in traced compiled; do
  TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py "$kind"
done
