#!/usr/bin/env bash
# TFRS: the correction for popularity takes every item rarer than one in a million for one in a million.
#
# tensorflow-recommenders 0.7.7, tensorflow-cpu 2.20.0, tf_keras 2.20.1. One would guess that
# `tfrs.tasks.Retrieval` with `candidate_sampling_probability` subtracts the logarithm of what it is given.
# It clips the probability at 1e-6 before; no argument changes that, and the documentation does not say so.
# An item of one click in a log of 10^9 gets 13.8 added to its logit in place of 20.7, exactly what an item
# of 1,000 clicks gets: loss and gradient are equal for both.
# For a recommender: in a catalogue of ten million items most are below the limit, so within them popular
# items win as if nothing were corrected, and only the head is corrected as the formula says. Subtract the
# logarithm by oneself, from logits that one has.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-recommenders==0.7.7 tensorflow-cpu==2.20.0 tf_keras==2.20.1 \
  numpy==2.4.6 'setuptools<82'
cd "$folder"
cat > program.py <<'PROGRAM'
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

rng = np.random.default_rng(0)
users, items = (rng.normal(size=(4, 8)).astype("float32") for _ in range(2))
task = tfrs.tasks.Retrieval()


def step(clicks_of_first):
    """Loss and gradient of a batch of four pairs; the others' items have 10^5 clicks of 10^9."""
    shares = tf.constant([clicks_of_first, 1e5, 1e5, 1e5], tf.float32) / 1e9
    vectors = tf.Variable(items)
    with tf.GradientTape() as tape:
        loss = task(users, vectors, candidate_sampling_probability=shares, compute_metrics=False)
    return float(loss), tape.gradient(loss, vectors).numpy(), shares.numpy()


def by_formula(shares):
    logits = users.astype("float64") @ items.T - np.log(shares.astype("float64"))
    return float((np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)).sum())


print("tensorflow", tf.__version__)
losses, gradients = {}, {}
for clicks in (1, 30, 1_000, 30_000):
    losses[clicks], gradients[clicks], shares = step(clicks)
    expected = by_formula(shares)
    print(f"{clicks} of 10^9 clicks: loss {losses[clicks]:.3f}, by the formula {expected:.3f}")
    right = abs(losses[clicks] - expected) < 1e-3
    assert right == (clicks >= 1_000), "shares below one in a million are corrected now"
assert losses[1] == losses[30] == losses[1_000] != losses[30_000]
assert np.array_equal(gradients[1], gradients[1_000])
PROGRAM
TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
