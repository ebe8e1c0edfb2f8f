#!/usr/bin/env bash
# TensorFlow: a number that does not fit is not refused, it wraps: an int32 tensor of 7 equals 4294967303.
#
# tensorflow-cpu 2.20.0, numpy 2.4.6. One would guess that `tf.constant(2**32 + 7, tf.int32)` raises, as NumPy
# does. It is 7, with NumPy 1.26 and TensorFlow 2.17 as well. So is what `Dataset.from_generator` makes of
# such an element with `TensorSpec((), tf.int32)`, what a `tf.function` with that input_signature gets, a
# `tf.Variable`, a ragged constant. Python numbers beside a tensor are converted alike: `tf.constant([7]) ==
# 2**32 + 7` is True, and adding it adds 7. `np.int64` values wrap to int32 and `np.uint64` ones to int64;
# only a Python number beyond 64 bits' range is an error, and without a dtype the type grows to int64.
# For a recommender: raw ids are joined with others (hashes of 64 bits modulo 2^32, user 4294967303 becomes
# user 7) by a type that was chosen when ids were small, and a mask `ids == item` hides another item.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import numpy as np
import tensorflow as tf

LARGE = 2**32 + 7
SPEC = tf.TensorSpec((), tf.int32)


def generate():
    yield LARGE


@tf.function(input_signature=[SPEC])
def called(number):
    return number


WAYS = {
    "tf.constant": lambda: tf.constant(LARGE, tf.int32),
    "tf.constant of np.int64": lambda: tf.constant(np.int64(LARGE), tf.int32),
    "tf.constant in a graph": tf.function(lambda: tf.constant(LARGE, tf.int32)),
    "tf.Variable": lambda: tf.Variable(LARGE, dtype=tf.int32),
    "tf.function": lambda: called(LARGE),
    "Dataset.from_generator": lambda: next(
        iter(tf.data.Dataset.from_generator(generate, output_signature=SPEC))
    ),
    "0 +": lambda: tf.constant(0, tf.int32) + LARGE,
}
print("tensorflow", tf.__version__, "numpy", np.__version__)
for name, way in WAYS.items():
    found = int(way())
    print(f"{name}: {found}")
    assert found == 7, "large numbers are refused, or kept, now"
equal = bool(tf.constant(7, tf.int32) == LARGE)
print(f"tf.constant(7) == {LARGE}: {equal}")
assert equal, "7 is another number now"
assert int(tf.constant(np.uint64(2**64 - 1), tf.int64)) == -1
assert tf.constant(LARGE).dtype == tf.int64
for refused in (lambda: np.array(LARGE, np.int32), lambda: tf.constant(2**64, tf.int64)):
    try:
        refused()
        raise SystemExit("nothing is refused now")
    except (OverflowError, ValueError) as error:
        print("refused:", error)
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py 2>errors || { tail -5 errors; exit 1; }
