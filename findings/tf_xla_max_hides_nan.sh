#!/usr/bin/env bash
# Compiled by XLA for the CPU, `tf.reduce_max` and `tf.reduce_min` pass over NaN; uncompiled they return it.
#
# tensorflow-cpu 2.20.0. One would guess that `jit_compile=True` changes the speed and the last digits only.
# But reduce_max([1, nan, 3, 2]) is nan without XLA and 3.0 with it, reduce_min is nan and 1.0, and
# tf.maximum(1, nan), of two elements of that vector, is nan and 1.0. tf.reduce_logsumexp is nan in both.
# A guard of a training step written as "the largest gradient is finite" therefore passes once the step
# is compiled. Ask tf.reduce_all(tf.math.is_finite(x)) instead: it sees the NaN in both.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import tensorflow as tf


def facts(x):
    return (
        tf.reduce_max(x),
        tf.reduce_min(x),
        tf.maximum(x[0], x[1]),
        tf.reduce_logsumexp(x),
        tf.cast(tf.reduce_all(tf.math.is_finite(x)), tf.float32),
    )


vector = tf.constant([1.0, float("nan"), 3.0, 2.0])
plain = [float(value) for value in tf.function(facts)(vector)]
compiled = [float(value) for value in tf.function(facts, jit_compile=True)(vector)]
names = ("reduce_max", "reduce_min", "maximum", "reduce_logsumexp", "all finite")
print("tensorflow", tf.__version__)
for row in zip(names, plain, compiled, strict=True):
    print("{:17s} graph {:6}  XLA {:6}".format(*row))

assert [str(value) for value in plain] == ["nan", "nan", "nan", "nan", "0.0"], "graph mode changed"
assert [str(value) for value in compiled] == ["3.0", "1.0", "1.0", "nan", "0.0"], "XLA changed"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
