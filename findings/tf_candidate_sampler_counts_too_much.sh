#!/usr/bin/env bash
# TensorFlow: a sampler that draws each candidate at most once expects the popular ones more often than once.
#
# tensorflow-cpu 2.20.0. With `unique=True` a candidate is drawn at most once, so one would guess that its
# expected count is a probability, and near the share of calls that draw it (the documentation calls it
# approximate). For the most popular of 1,000 items `log_uniform_candidate_sampler` with `num_sampled=10` says
# .84 on average and draws it in .68 of the calls. A call that needed 11 tries says 1 - (1 - p)^11 = .69; one
# that needed 10, none of them a repeat, is taken for one with `unique=False` and says 10 p = 1.003.
# `num_sampled=20`: 2.007. `fixed_unigram_candidate_sampler` with shares of 1 / rank is alike: 1.34.
# For a recommender: `sampled_softmax_loss` subtracts the logarithm of this count, so popular items are
# corrected by .4 to .8 too much in a call without a repeat, and about rightly in the next. With 100 negatives
# there always is a repeat, with ten in every second call.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.20.0
cd "$folder"
cat > program.py <<'PROGRAM'
import numpy as np
import tensorflow as tf

NUM_ITEMS, NUM_CALLS = 1000, 20_000
MOST_POPULAR = tf.constant([[0]], tf.int64)
log_shares = np.diff(np.log(np.arange(1, NUM_ITEMS + 2))) / np.log(NUM_ITEMS + 1)
rank_shares = 1 / np.arange(1, NUM_ITEMS + 1)
rank_shares /= rank_shares.sum()


def log_uniform(num_sampled):
    return tf.random.log_uniform_candidate_sampler(MOST_POPULAR, 1, num_sampled, True, NUM_ITEMS, seed=1)


def by_rank(num_sampled):
    shares = rank_shares.tolist()
    return tf.random.fixed_unigram_candidate_sampler(
        MOST_POPULAR, 1, num_sampled, True, NUM_ITEMS, unigrams=shares, seed=1
    )


def measure(sampler, num_sampled, share):
    """Mean and largest count said, share of the calls that drew the item, counts after 0 and 1 repeats."""

    @tf.function
    def run():
        def call(_):
            ids, said, _ = sampler(num_sampled)
            return tf.reduce_any(ids == 0), said[0, 0]

        return tf.map_fn(call, tf.range(NUM_CALLS), fn_output_signature=(tf.bool, tf.float32))

    drawn, said = (values.numpy() for values in run())
    unrepeated = np.isclose(said, num_sampled * share, rtol=1e-4)
    one_repeat = np.isclose(said, 1 - (1 - share) ** (num_sampled + 1), rtol=1e-4)
    print(
        f"{sampler.__name__}, {num_sampled} of {NUM_ITEMS}: drawn {drawn.mean():.3f}, "
        f"said {said.mean():.3f}, at most {said.max():.3f}; "
        f"calls without a repeat {unrepeated.mean():.3f}, with one {one_repeat.mean():.3f}"
    )
    return drawn.mean(), said.mean(), said.max(), unrepeated.mean(), one_repeat.mean()


print("tensorflow", tf.__version__)
ten = measure(log_uniform, 10, log_shares[0])
twenty = measure(log_uniform, 20, log_shares[0])
hundred = measure(log_uniform, 100, log_shares[0])
ranks = measure(by_rank, 10, rank_shares[0])
assert ten[1] > ten[0] + 0.1 and ten[2] > 1, "the count is a probability now"
assert ten[3] > 0.3 and ten[4] > 0.1, "the counts are computed otherwise now"
assert twenty[2] > 2 and ranks[2] > 1.3
assert abs(hundred[0] - hundred[1]) < 0.01
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py 2>errors || { tail -5 errors; exit 1; }
