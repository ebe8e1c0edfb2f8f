#!/usr/bin/env bash
# tf_keras: ten equal buckets of `Discretization.adapt` hold between 3 % and 23 % of the values.
#
# tf_keras 2.20.1, tensorflow-cpu 2.20.0. One would guess that `Discretization(num_bins=10)` finds the
# deciles up to its `epsilon`, 1 %, "the error tolerance". It keeps a summary of what it has seen and adds
# every batch to it, and each time a part is lost: of 100,000 values in batches of 32, which is what
# `adapt(array)` takes without `batch_size`, the lowest bucket gets 23 % of a lognormal feature and the
# highest 3 %. In one batch all have 10 %. The same values sorted come out right in batches of 32, so the
# order decides as well. A hundredth of the default, `epsilon=1e-4`, gives buckets of 9 % to 10 %.
# For a recommender: prices, counts and ages in buckets that were to be equal: the cheap end is one bucket,
# the expensive end many empty ones, and boundaries change with the batch size of the job that adapts.
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

prices = np.random.default_rng(0).lognormal(0, 2, 100_000).astype("float32")


def shares(values, batch_size, epsilon=0.01):
    """The share of all prices that each of ten buckets has."""
    layer = tf_keras.layers.Discretization(num_bins=10, epsilon=epsilon)
    layer.adapt(values, batch_size=batch_size)
    buckets = np.searchsorted(layer.bin_boundaries, prices, side="right")
    found = np.bincount(buckets, minlength=10) / len(prices)
    print(f"batches of {batch_size or 'the default size'}, epsilon {epsilon:g}: {found.round(3)}")
    return found


print("tf_keras", tf_keras.__version__, "tensorflow", tf.__version__)
whole = shares(prices, len(prices))
default = shares(prices, None)
small = shares(prices, 32)
fine = shares(prices, 32, epsilon=1e-4)
in_order = shares(np.sort(prices), 32)
assert abs(whole - 0.1).max() < 0.02
assert (default == small).all()
assert small.max() > 0.15 and small.min() < 0.05, "small batches give equal buckets now"
assert abs(fine - 0.1).max() < 0.02
assert abs(in_order - 0.1).max() < 0.02
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py
