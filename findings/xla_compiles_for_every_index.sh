#!/usr/bin/env bash
# A compiled function compiles anew for every value of a tensor that stands in brackets.
#
# tensorflow-cpu 2.20.0. A `tf.function(jit_compile=True)` is traced once for all values of an int32 tensor, and one
# expects one program. But `rows[number]` is a strided slice, whose bounds XLA wants to know while it compiles: the
# argument becomes a constant of the program, and each new value costs another compilation, in silence.
# `tf.gather(rows, number)` gives the same numbers from one program. In a loop inside of the compiled function both
# are one program: there the number is no argument. A training step that took its batch out of a stack of fifteen
# in this way was compiled fifteen times, half a minute each on a GPU, and looked like a job that hangs.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import os

# Every program that is compiled is kept as a file: they can be counted.
os.environ["TF_XLA_FLAGS"] = "--tf_xla_persistent_cache_directory=programs"

import tensorflow as tf

STEPS = 6


def count():
    return len(os.listdir("programs")) if os.path.isdir("programs") else 0


def compiled_programs(take):
    traces = []

    @tf.function(jit_compile=True)
    def step(rows, number):
        traces.append(1)
        return tf.reduce_sum(tf.sin(take(rows, number)))

    before = count()
    sums = [float(step(rows, tf.constant(number))) for number in range(STEPS)]
    return len(traces), count() - before, sums


@tf.function(jit_compile=True)
def loop(rows):
    def body(number, total):
        return number + 1, total + tf.reduce_sum(tf.sin(rows[number]))

    return tf.while_loop(lambda number, _: number < STEPS, body, (0, 0.0))[1]


rows = tf.reshape(tf.range(STEPS * 8, dtype=tf.float32), [STEPS, 8])
brackets = compiled_programs(lambda rows, number: rows[number])
gather = compiled_programs(lambda rows, number: tf.gather(rows, number))
before = count()
total = float(loop(rows))
looped = count() - before
print(f"rows[number]: {brackets[0]} trace, {brackets[1]} programs for {STEPS} values")
print(f"tf.gather(rows, number): {gather[0]} trace, {gather[1]} program")
print(f"rows[number] in a compiled loop: {looped} program")
assert brackets[:2] == (1, STEPS) and gather[:2] == (1, 1) and looped == 1
assert brackets[2] == gather[2] and abs(sum(gather[2]) - total) < 1e-4
PROGRAM
TF_CPP_MIN_LOG_LEVEL=2 "$folder/env/bin/python" program.py 2> errors || { cat errors; exit 1; }
