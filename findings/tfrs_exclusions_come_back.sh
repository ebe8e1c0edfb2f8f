#!/usr/bin/env bash
# TFRS: items that are excluded from a query are answered, where scores are large or candidates few.
#
# tensorflow-recommenders 0.7.7, tensorflow-cpu 2.20.0, tf_keras 2.20.1. One would guess that no answer of
# `query_with_exclusions` has an item of `exclusions`, "to exclude previously seen candidates". To exclude
# is to take 100,000 off the score before the best k are looked for; the score that is returned is the full
# one. So an excluded item whose score is more than that above the others' stays first, with no mark. And
# where fewer than k candidates are left, `Streaming` fills the list with excluded ones, behind the others,
# at their full score: the scores are then not in order. (`BruteForce` raises if k and the exclusions
# together exceed the candidates.)
# For a recommender: vectors that are not normalised (longer than 316 on both sides), or scores in which a
# price or a time is a factor, and all users see again what they saw; so do users of a small catalogue or
# shard.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-recommenders==0.7.7 tensorflow-cpu==2.20.0 tf_keras==2.20.1 \
  numpy==2.4.6 'setuptools<82'
cd "$folder"
cat > program.py <<'PROGRAM'
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

LAYERS = tfrs.layers.factorized_top_k
names = np.array(["a", "b", "c", "d", "e"])
vectors = np.array([[5.0], [4.0], [3.0], [2.0], [1.0]], "float32")


def answer(layer, scale, seen, k):
    """Names and scores for a user who has seen `seen`; scores are 5, 4, 3, 2, 1 times `scale`."""
    pairs = tf.data.Dataset.from_tensor_slices((names, vectors * scale)).batch(5)
    index = layer(k=k).index_from_dataset(pairs)
    scores, found = index.query_with_exclusions(
        tf.ones([1, 1]), exclusions=tf.constant([list(seen)])
    )
    names_found = "".join(name.decode() for name in found.numpy()[0])
    what = f"{layer.__name__}, scores times {scale:g}, without {seen}"
    print(f"{what}: {names_found}, {scores.numpy()[0]}")
    return names_found, scores.numpy()[0].tolist()


print("tensorflow", tf.__version__)
for layer in (LAYERS.BruteForce, LAYERS.Streaming):
    assert answer(layer, 1, "a", 3)[0] == "bcd"
    assert answer(layer, 1e5, "a", 3)[0][0] in "ab"
    assert answer(layer, 1e6, "a", 3)[0] == "abc", "large scores are excluded now"
few = answer(LAYERS.Streaming, 1, "abc", 4)
assert few == ("deab", [2.0, 1.0, 5.0, 4.0]), "lists are no longer filled with excluded items"
PROGRAM
TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
