#!/usr/bin/env bash
# A loaded SavedModel that is dropped leaves its lookup tables in memory; its variables go.
#
# tensorflow-cpu 2.20.0. One would guess that `del model; gc.collect()` frees what `tf.saved_model.load` read. It
# frees the variables, but a `tf.lookup.StaticHashTable` stays in TensorFlow's resource manager under a name of
# that load, with all its keys, until the process ends: every load of a model with a vocabulary of 100,000 words
# adds 7.0 MiB. A server that loads new versions grows with each. `tf.raw_ops.DestroyResourceOp` with the
# table's handle frees it, once nobody uses the model.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import gc
import os
import pathlib

import tensorflow as tf

WORDS = 100_000


class Model(tf.Module):
    def __init__(self):
        super().__init__()
        words = tf.constant([f"word {number}" for number in range(WORDS)])
        numbers = tf.range(WORDS, dtype=tf.int64)
        init = tf.lookup.KeyValueTensorInitializer(words, numbers)
        self.table = tf.lookup.StaticHashTable(init, default_value=-1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def find(self, words):
        return self.table.lookup(words)


def memory_mib():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def load_and_drop(destroy):
    model = tf.saved_model.load("model")
    handle = model.table.resource_handle
    del model
    gc.collect()
    if destroy:
        tf.raw_ops.DestroyResourceOp(resource=handle)
    try:
        return tf.raw_ops.LookupTableSizeV2(table_handle=handle).numpy()
    except tf.errors.NotFoundError:
        return 0


def grow(destroy):
    for _ in range(5):
        size = load_and_drop(destroy)
    before = memory_mib()
    for _ in range(20):
        size = load_and_drop(destroy)
    return int(size), memory_mib() - before


tf.saved_model.save(Model(), "model")
stays, leaked = grow(destroy=False)
gone, level = grow(destroy=True)
print(f"dropped: {stays} words still there, {leaked / 20:.1f} MiB a load")
print(f"dropped and destroyed: {gone} words still there, {level / 20:.1f} MiB a load")
assert stays == WORDS and gone == 0, (stays, gone)
assert leaked / 20 > 3 and level < leaked / 4, (leaked, level)
PROGRAM
TF_CPP_MIN_LOG_LEVEL=2 "$folder/env/bin/python" program.py 2> errors || { cat errors; exit 1; }
