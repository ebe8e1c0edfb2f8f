#!/usr/bin/env bash
# `tfrs.metrics.FactorizedTopK` gives a tower that answers zeros for everybody an accuracy of 1.0.
#
# tensorflow-recommenders 0.7.7, tensorflow-cpu 2.20.0, tf_keras 2.20.1. One would guess that a model which
# scores all 1,000 candidates the same is right by chance: 1 % in the top 10. Without `true_candidate_ids`,
# as in the tutorials, the metric compares scores only, and a true candidate whose score equals that of the
# k-th is in the top k, however many others have the same score: top 1 and top 10 are both 1.0. With
# `true_candidate_ids` the same lists have what chance and the order of the candidates give.
# For a recommender: a tower that ends in a ReLU and has died, or an embedding that starts at zeros, looks
# perfect, and early stopping by this metric keeps just that model.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-recommenders==0.7.7 tensorflow-cpu==2.20.0 tf_keras==2.20.1
cd "$folder"
cat > program.py <<'PROGRAM'
import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
from importlib import metadata

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

NUM_ITEMS, NUM_USERS, DIM = 1000, 500, 16
generator = np.random.default_rng(0)
items = generator.normal(size=(NUM_ITEMS, DIM)).astype(np.float32)
names = np.array([str(item) for item in range(NUM_ITEMS)])
clicked = generator.integers(NUM_ITEMS, size=NUM_USERS)
# A last layer whose biases have become so low that ReLU lets nothing through.
tower = tf.keras.layers.Dense(DIM, activation="relu", bias_initializer=tf.constant_initializer(-50.0))
users = tower(generator.normal(size=(NUM_USERS, DIM)).astype(np.float32)).numpy()
assert not users.any()


def accuracy(**options):
    layer = tfrs.layers.factorized_top_k.BruteForce(k=10).index(items, names)
    metric = tfrs.metrics.FactorizedTopK(candidates=layer, ks=(1, 10))
    metric.update_state(users, items[clicked], **options)
    return [round(float(value), 3) for value in metric.result()]


by_scores = accuracy()
by_ids = accuracy(true_candidate_ids=names[clicked][:, None])
print("tensorflow-recommenders", metadata.version("tensorflow-recommenders"), "tensorflow", tf.__version__)
print("top 1 and top 10 of a tower that answers zeros, by scores:", by_scores, " by ids:", by_ids)
assert by_scores == [1.0, 1.0], "ties are no longer hits"
assert by_ids[1] < 0.05, "the ids count otherwise now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
