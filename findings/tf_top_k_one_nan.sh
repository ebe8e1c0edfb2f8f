#!/usr/bin/env bash
# One NaN among the scores makes `tf.math.top_k` lose finite candidates.
#
# tensorflow-cpu 2.20.0. One would guess that a NaN takes a place of its own, first or last, and that the
# other places hold the largest finite scores. On the CPU they do not: the comparison used inside is no order
# once a NaN is there, so a larger finite score can be left out for a smaller one. [1, nan, 3, 2] with k = 3
# gives nan, 3, 1: the 2 is gone. Compiled by XLA the same call gives nan, 3, 2.
# For a recommender: a single broken item vector costs good candidates of other items, and no error tells.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import numpy as np
import tensorflow as tf

scores = tf.constant([1.0, float("nan"), 3.0, 2.0])
eager = tf.math.top_k(scores, 3).values.numpy()


@tf.function(jit_compile=True)
def compiled(x):
    return tf.math.top_k(x, 3).values


xla = compiled(scores).numpy()
print("tensorflow", tf.__version__)
print("CPU kernel:", eager, " XLA:", xla)

generator = np.random.default_rng(0)
lost = 0
for _ in range(300):
    row = generator.normal(size=50).astype(np.float32)
    row[generator.integers(50)] = np.nan
    best = set(np.argsort(-np.where(np.isnan(row), -np.inf, row))[:10].tolist())
    lost += len(best - set(tf.math.top_k(row, 11).indices.numpy().tolist()))
print("finite top-10 candidates missing from the top 11, in 300 rows with one NaN each:", lost)

assert np.isnan(eager[0]) and eager[1:].tolist() == [3.0, 1.0], "the CPU kernel changed"
assert np.isnan(xla[0]) and xla[1:].tolist() == [3.0, 2.0], "XLA changed"
assert lost > 30, "finite candidates are kept now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
