#!/usr/bin/env bash
# TensorFlow: a checkpoint's path is taken for a pattern, when it is read and when it is removed.
#
# tensorflow 2.20.0. In a folder named `run [1]` tf.train.CheckpointManager saves (the files are there), and restoring
# what it names as its latest checkpoint is a NotFoundError; tf.saved_model.load of a SavedModel saved there is one too.
# In a folder named `run*` both work, but `max_to_keep` removes old checkpoints by the pattern `run*/ckpt-1.*`: the
# checkpoint of the same number in the folder `run2` beside it is removed as well. Quoting (`run \[1\]`) does not
# help: the files are then found by the pattern and opened by the same, now wrong, name.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.20.0 'setuptools<82'
cd "$folder"
cat > program.py <<'PROGRAM'
import os

import tensorflow as tf

value = tf.Variable(1.0)


def manager_of(folder):
    return tf.train.CheckpointManager(tf.train.Checkpoint(value=value), folder, max_to_keep=1)


def outcome(action):
    try:
        action()
    except (tf.errors.NotFoundError, OSError) as error:
        return type(error).__name__
    return "works"


print("tensorflow", tf.__version__)
manager = manager_of("run [1]")
manager.save()
print("files:", sorted(os.listdir("run [1]")))
restored = outcome(lambda: manager.checkpoint.restore(manager.latest_checkpoint))
print("restore:", restored)

module = tf.Module()
module.value = value
tf.saved_model.save(module, "run [1]/saved")
loaded = outcome(lambda: tf.saved_model.load("run [1]/saved"))
print("load a SavedModel:", loaded)

manager_of("run2").save()
before = os.path.exists("run2/ckpt-1.index")
manager = manager_of("run*")
manager.save()
manager.save()  # Removes run*/ckpt-1.
after = os.path.exists("run2/ckpt-1.index")
print(f"run2/ckpt-1.index before: {before}, after `run*` has removed its own: {after}")

assert (restored, loaded) != ("works", "works"), "brackets are read as they are now"
assert before and not after, "the neighbour's checkpoint stays now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py 2>/dev/null
