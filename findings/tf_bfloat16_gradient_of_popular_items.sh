#!/usr/bin/env bash
# Gradients of a bfloat16 embedding table stop growing at 256 equal contributions, of a float16 one at 2,048.
#
# tensorflow-cpu 2.20.0. One would guess that the sum of 3,000 ones is about 3,000 in any type, as it is for
# `tf.reduce_sum` and `tf.matmul`, which add in float32 inside. But `tf.math.unsorted_segment_sum`,
# `tf.math.segment_sum`, `tf.tensor_scatter_nd_add` and with them the summed gradient of `tf.gather` add in the
# type of the values: 256 + 1 is 256 in bfloat16. So an item that occurs more than 256 times in a step gets
# the gradient of 256, whatever its popularity. XLA on the CPU does the same. Keep the table, or at least the
# sum over equal ids, in float32.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import tensorflow as tf

CLICKS = 3000


def sums(dtype):
    ones = tf.ones([CLICKS, 1], dtype)
    ids = tf.zeros([CLICKS], tf.int32)
    table = tf.Variable(tf.zeros([2, 1], dtype))
    with tf.GradientTape() as tape:
        score = tf.reduce_sum(tf.cast(tf.gather(table, ids), tf.float32))
    slices = tape.gradient(score, table)
    return {
        "reduce_sum": tf.reduce_sum(ones, 0),
        "unsorted_segment_sum": tf.math.unsorted_segment_sum(ones, ids, 1),
        "segment_sum": tf.math.segment_sum(ones, ids),
        "gradient of gather": tf.convert_to_tensor(slices)[:1],
    }


print("tensorflow", tf.__version__, "sum of", CLICKS, "ones:")
found = {}
for dtype in (tf.float32, tf.bfloat16, tf.float16):
    found[dtype.name] = {
        name: int(tf.cast(value, tf.float32).numpy().item()) for name, value in sums(dtype).items()
    }
    print(f"{dtype.name:9s}", found[dtype.name])

assert all(value == CLICKS for value in found["float32"].values())
for name, limit in (("bfloat16", 256), ("float16", 2048)):
    assert abs(found[name].pop("reduce_sum") - CLICKS) <= 8
    assert all(value == limit for value in found[name].values()), "sums grow further now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
