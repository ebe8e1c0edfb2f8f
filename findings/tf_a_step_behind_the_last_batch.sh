#!/usr/bin/env bash
# TensorFlow: the call that finds the dataset at its end still steps: `fit` takes 11 steps over 10 batches.
#
# tf_keras 2.20.1, tensorflow-cpu 2.20.0. One would guess that in a `tf.function` nothing behind a line that
# raises is executed, as in Python; `tf.function` promises the order of its stateful operations. It keeps that
# order for each variable alone. `next(iterator)` at the end, or an assertion, raises, and whatever does not
# need its result may have been run: a counter behind it is one too high. `fit` over a dataset of unknown size
# (TFRecord files, `filter`, a generator) finds the end by such a call, once each time it is called:
# `optimizer.iterations` grows by one more than there were batches, and decoupled weight decay, which needs no
# gradient, is applied once more. With a dataset whose size is known, with `steps_per_epoch`, or compiled by
# XLA nothing of this happens; nor with the optimizers of `legacy`.
# For a recommender: a model that is trained further every hour, by few batches, decays for one step more each
# time, its learning rate schedule runs ahead of the data, and a step number says another batch than the
# log's.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0 tf_keras==2.20.1
cd "$folder"
cat > program.py <<'PROGRAM'
import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

from importlib import metadata

import tensorflow as tf

NUM_BATCHES, NUM_FITS, DECAY = 10, 5, 0.1
counter = tf.Variable(0)


@tf.function
def take(iterator):
    element = next(iterator)
    counter.assign_add(1)
    return element


def drain():
    """How often the counter grew, and how often the function returned."""
    counter.assign(0)
    iterator, returned = iter(tf.data.Dataset.range(NUM_BATCHES)), 0
    while True:
        try:
            take(iterator)
        except tf.errors.OutOfRangeError:
            return int(counter), returned
        returned += 1


def fit(is_size_known, optimizer):
    """Steps and weight after several calls of `fit`, with gradients of 0."""
    batches = tf.data.Dataset.from_tensors((tf.zeros([4, 3]), tf.zeros([4, 1]))).repeat(NUM_BATCHES)
    if not is_size_known:
        batches = batches.filter(lambda features, labels: True)
    layer = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", input_shape=(3,))
    model = tf.keras.Sequential([layer])
    model.compile(optimizer, "mse")
    for _ in range(NUM_FITS):
        model.fit(batches, verbose=0)
    return int(optimizer.iterations), float(layer.kernel[0, 0])


print("tf_keras", metadata.version("tf_keras"), "tensorflow", tf.__version__)
drained = {drain() for _ in range(20)}
print(f"{NUM_BATCHES} elements: (counted, returned) {sorted(drained)}")
expected = NUM_BATCHES * NUM_FITS, (1 - DECAY) ** (NUM_BATCHES * NUM_FITS)
known = fit(True, tf.keras.optimizers.AdamW(1.0, weight_decay=DECAY))
unknown = fit(False, tf.keras.optimizers.AdamW(1.0, weight_decay=DECAY))
legacy = fit(False, tf.keras.optimizers.legacy.Adam(1.0))
print(f"{NUM_FITS} times fit, {NUM_BATCHES} batches: {expected[0]} steps, weight {expected[1]:.5f} expected")
print(f"size known: {known[0]} steps, weight {known[1]:.5f}")
print(f"size not known: {unknown[0]} steps, weight {unknown[1]:.5f}")
print(f"size not known, legacy optimizer: {legacy[0]} steps")
assert max(drained) == (NUM_BATCHES + 1, NUM_BATCHES), "nothing behind the end is run now"
assert known[0] == legacy[0] == expected[0] and abs(known[1] - expected[1]) < 1e-6
assert unknown[0] > expected[0] and unknown[1] < 0.95 * expected[1], "fit stops at the end now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py 2>errors || { tail -5 errors; exit 1; }
