#!/usr/bin/env bash
# `clipnorm=1.0` of a tf_keras optimizer lets a step of length 10 through, for an item clicked 100 times.
#
# tf_keras 2.20.1, tensorflow-cpu 2.20.0. One would guess that a gradient clipped to the norm 1 has at most the
# norm 1. The gradient of an embedding comes as slices, one for every look-up in the batch, and the optimizer
# clips before it adds the slices of the same row: 100 equal slices count as length sqrt(100), not 100, so what
# is left of them adds up to 10. `global_clipnorm` does the same, and `clipvalue=0.01` allows 100 x .01. The
# same gradient as a dense tensor is clipped to 1 (and .01).
# For a recommender: the limit is weakest for the most popular items of a batch, the ones it is there for,
# and grows with the batch. Other variables are clipped more than they should be or less, too, as the
# length of all gradients together is wrong.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0 tf_keras==2.20.1
cd "$folder"
cat > program.py <<'PROGRAM'
from importlib import metadata

import numpy as np
import tensorflow as tf
import tf_keras


def length_of_step(option, value, num_clicks, *, dense):
    """Of one step of plain SGD, rate 1, for a row that is looked up so often."""
    table = tf.Variable(tf.zeros([10, 4]))
    ids = tf.constant([3] * num_clicks)
    with tf.GradientTape() as tape:
        rows = tf.one_hot(ids, 10) @ table if dense else tf.gather(table, ids)
        loss = tf.reduce_sum(rows)
    gradient = tape.gradient(loss, table)
    assert isinstance(gradient, tf.IndexedSlices) is not dense
    tf_keras.optimizers.SGD(1.0, **{option: value}).apply_gradients([(gradient, table)])
    return float(np.linalg.norm(table))


print("tf_keras", metadata.version("tf_keras"), "tensorflow", tf.__version__)
for option, value in (("clipnorm", 1.0), ("global_clipnorm", 1.0), ("clipvalue", 0.01)):
    steps = {n: length_of_step(option, value, n, dense=False) for n in (1, 100, 10_000)}
    dense = length_of_step(option, value, 100, dense=True)
    shown = ", ".join(f"{n} clicks {step:.2f}" for n, step in steps.items())
    print(f"{option}={value}: length of the step: {shown}; 100 clicks, dense gradient {dense:.2f}")
    allowed = value if "norm" in option else 2 * value  # Four values of .01 are .02 long.
    assert np.isclose(steps[1], allowed, rtol=1e-3) and np.isclose(dense, allowed, rtol=1e-3)
    growth = 10 if "norm" in option else 100
    assert np.isclose(steps[100], growth * allowed, rtol=1e-3), "slices of a row are added before clipping now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
