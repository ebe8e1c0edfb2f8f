#!/usr/bin/env bash
# One seed, one processor: under XLA the stateless generators give the same integers and other floats.
#
# tensorflow-cpu 2.20.0. `tf.random.stateless_uniform` is a function of shape, seed and generator. With the
# default, `alg="auto_select"`, `tf.function` and `tf.function(jit_compile=True)` on the same CPU agree in
# every 32-bit integer, but in no float and no normal number. A test that compares integers therefore says that
# a compiled step draws as the plain one does, while its dropout masks from floats are others. With
# `alg="philox"` written out all kinds agree, although integers show that it is what `auto_select` took.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import tensorflow as tf

KINDS = {
    "integers": lambda alg: tf.random.stateless_uniform(
        [1000], seed=[1, 2], minval=None, maxval=None, dtype=tf.int32, alg=alg
    ),
    "floats": lambda alg: tf.random.stateless_uniform([1000], seed=[1, 2], alg=alg),
    "normals": lambda alg: tf.random.stateless_normal([1000], seed=[1, 2], alg=alg),
}

print("tensorflow", tf.__version__)
equal = {}
for alg in ("auto_select", "philox"):
    for kind, draw in KINDS.items():
        plain = tf.function(draw)(alg).numpy()
        compiled = tf.function(draw, jit_compile=True)(alg).numpy()
        near = abs(plain.astype("float64") - compiled) <= 1e-5
        equal[alg, kind] = float(near.mean())
        print(f"{alg:12} {kind:9} plain {plain[:3]}  XLA {compiled[:3]}  equal {equal[alg, kind]:.3f}")

assert equal["auto_select", "integers"] == 1, "integers differ now"
assert equal["auto_select", "floats"] < 0.01, "floats agree now"
assert equal["auto_select", "normals"] < 0.01, "normal numbers agree now"
assert all(equal["philox", kind] == 1 for kind in KINDS), "Philox differs now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
