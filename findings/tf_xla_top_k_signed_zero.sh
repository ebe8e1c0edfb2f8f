#!/usr/bin/env bash
# Ties of 0.0 and -0.0: `tf.math.top_k` takes the lower index, compiled by XLA it takes 0.0 first.
#
# tensorflow-cpu 2.20.0. The documentation promises "if two elements are equal, the lower-index element appears
# first", and 0.0 == -0.0. Without XLA that holds. XLA sorts by the total order of IEEE 754, where -0.0 is
# below 0.0, so the same scores give other items. Zeros of both signs are common: scores after a ReLU or a
# mask (x * 0.0 is -0.0 for negative x). Two replicas, one compiled, then recommend different lists.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import tensorflow as tf

scores = tf.constant([-1.0, 2.0, -3.0, 4.0]) * tf.constant(0.0)
plain = tf.math.top_k(scores, 3).indices.numpy().tolist()


@tf.function(jit_compile=True)
def compiled(x):
    return tf.math.top_k(x, 3).indices


xla = compiled(scores).numpy().tolist()
print("tensorflow", tf.__version__)
print("scores", scores.numpy(), "all equal:", bool(tf.reduce_all(scores == 0.0)))
print("top 3 without XLA", plain, " with XLA", xla)

assert plain == [0, 1, 2], "the CPU kernel changed"
assert xla == [1, 3, 0], "XLA changed"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
