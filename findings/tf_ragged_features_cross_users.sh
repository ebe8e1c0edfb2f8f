#!/usr/bin/env bash
# TensorFlow: parsed in a batch, one user's odd list hands its last item to the next user.
#
# tensorflow-cpu 2.20.0. One would guess that `tf.io.parse_example` of many examples gives each what
# `tf.io.parse_single_example` gives it. With `RaggedFeature(partitions=[...])`, the way to read lists of
# lists, the values of all examples of a batch are joined first and cut by the partitions afterwards; no
# check says that an example's values are as many as its partitions ask for. Three numbers in pairs
# (`UniformRowLength(2)`) are an error for one example; in a batch the user with one number after them gets
# [3, 9], where the 3 is the first user's. `RowLengths` and `RowSplits` do so too. What is left over at the
# end of the batch is dropped.
# For a recommender: a truncated list, or one without its last price, gives a user another one's clicks, and
# which one depends on the batch. In float features of pairs (item, weight) the roles are swapped for all
# users behind.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.20.0 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import tensorflow as tf

PAIRS = tf.io.RaggedFeature.UniformRowLength(2)
LENGTHS = tf.io.RaggedFeature.RowLengths("lengths")


def example(items, lengths):
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        for name, values in (("items", items), ("lengths", lengths))
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def parse(name, examples, partition):
    """What each user gets in a batch, and alone (None where that is an error)."""
    feature = {"items": tf.io.RaggedFeature(tf.int64, "items", partitions=[partition])}
    batch = tf.io.parse_example(examples, feature)["items"].to_list()
    alone = []
    for one in examples:
        try:
            alone.append(tf.io.parse_single_example(one, feature)["items"].numpy().tolist())
        except tf.errors.InvalidArgumentError:
            alone.append(None)
    print(f"{name}: in a batch {batch}, alone {alone}")
    return batch, alone


print("tensorflow", tf.__version__)
good = parse("pairs", [example([1, 2], []), example([8, 9], [])], PAIRS)
assert good == ([[[1, 2]], [[8, 9]]], [[[1, 2]], [[8, 9]]])
odd = parse("pairs, odd lists", [example([1, 2, 3], []), example([9], [])], PAIRS)
assert odd[0] == [[[1, 2]], [[3, 9]]], "a batch of odd lists is refused now"
assert odd[1] == [None, None]
users = [example([1, 2, 3], [2]), example([8, 9], [2]), example([5], [1])]
short = parse("lengths, one too short", users, LENGTHS)
assert short[0] == [[[1, 2]], [[3, 8]], [[9]]], "lengths are compared with the values now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
