#!/usr/bin/env bash
# tf_keras: `load_weights` restores an embedding and not the vocabulary that says whose rows they are.
#
# tf_keras 2.20.1, tensorflow-cpu 2.20.0. One would guess that weights of a model with an adapted
# `StringLookup` bring its vocabulary along: the vocabulary is among `model.weights`, `get_weights()` has
# it, `set_weights` sets it, and adapted `Normalization` and `Discretization` layers take their numbers from
# a checkpoint. From a checkpoint or a `.weights.h5` file the lookup keeps the words that it was adapted to
# before: nothing is said, `assert_consumed()` passes, the embedding is that of the file. A lookup that was
# never adapted raises at its first call ("Table not initialized"), so one adapts it, to the newest log, and
# items get the vectors of others.
# For a recommender: a nightly training that goes on from yesterday's weights with today's vocabulary, in
# which two items have changed places. Take `set_weights(get_weights())`, or save the whole model.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.20.0 tf_keras==2.20.1 numpy==2.4.6 'setuptools<82'
cd "$folder"
cat > program.py <<'PROGRAM'
import numpy as np
import tensorflow as tf
import tf_keras


def build(clicks):
    """A model of item vectors, its vocabulary adapted to a log: most clicked items first."""
    lookup = tf_keras.layers.StringLookup()
    lookup.adapt(clicks)
    embedding = tf_keras.layers.Embedding(10, 2)
    return tf_keras.Sequential([tf_keras.Input((1,), dtype="string"), lookup, embedding])


def vector_of(model, item):
    return model(tf.constant([[item]])).numpy().ravel()


def report(name, model):
    words = [str(word) for word in model.layers[0].get_vocabulary()]
    places = model.layers[0](["lamp", "desk"]).numpy().tolist()
    right = bool(np.allclose(vector_of(model, "lamp"), vector_of(yesterday, "lamp")))
    rows = np.array_equal(model.layers[1].get_weights(), yesterday.layers[1].get_weights())
    print(f"{name}: {words}, lamp and desk are {places}")
    print(f"  rows as saved: {rows}, lamp has its vector: {right}")
    return places, rows, right


print("tf_keras", tf_keras.__version__, "tensorflow", tf.__version__)
yesterday = build(["lamp", "lamp", "desk"])
TODAY = ["lamp", "desk", "desk"]
saved = report("saved", yesterday)
assert saved == ([1, 2], True, True)
for path in ("checkpoint/weights", "items.weights.h5"):
    yesterday.save_weights(path)
    model = build(TODAY)
    model.load_weights(path)
    found = report(path, model)
    assert found == ([2, 1], True, False), "the vocabulary is loaded with the weights now"
path = tf.train.Checkpoint(model=yesterday).save("other/checkpoint")
model = build(TODAY)
tf.train.Checkpoint(model=model).restore(path).assert_consumed()
found = report("tf.train.Checkpoint, assert_consumed()", model)
assert found == ([2, 1], True, False), "the vocabulary is restored now"
model = build(TODAY)
model.set_weights(yesterday.get_weights())
assert report("set_weights", model) == ([1, 2], True, True)
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
