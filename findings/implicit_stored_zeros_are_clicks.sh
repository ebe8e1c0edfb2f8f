#!/usr/bin/env bash
# implicit: a zero that is stored in a matrix is a click, for the evaluation and for the filter of seen items.
#
# implicit 0.7.3, scipy 1.17.1. One would guess that two sparse matrices that are equal give equal metrics.
# Ratings made to clicks by their values (`m.data = (m.data >= 4).astype("float32")`) keep a stored zero for
# every low rating. SciPy calls that matrix equal to the one without zeros. `ranking_metrics_at_k` looks at
# places, not at values: items that users disliked count as relevant, so the same model has precision@10 .18
# in place of .69 here. `recommend` leaves items with a stored zero out as liked already. Training reads the
# zeros as what they are, so the model itself looks right. `m.eliminate_zeros()` first.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  implicit==0.7.3 scipy==1.17.1 numpy==2.4.6 threadpoolctl==3.8.0
cd "$folder"
cat > program.py <<'PROGRAM'
import importlib.metadata
import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import numpy as np
import scipy.sparse as sp
from implicit.evaluation import ranking_metrics_at_k
from implicit.nearest_neighbours import CosineRecommender

NUM_USERS, NUM_ITEMS, K = 400, 120, 10
generator = np.random.default_rng(0)
# Users rate items of all kinds, and like those of their own kind.
kinds, likes = generator.integers(6, size=NUM_ITEMS), generator.integers(6, size=NUM_USERS)
rated = generator.random((NUM_USERS, NUM_ITEMS)) < 0.4
stars = np.where(kinds[None] == likes[:, None], 5, generator.integers(1, 4, size=rated.shape))
held_out = generator.random(rated.shape) < 0.3


def to_clicks(part):
    """Clicks from a part of the ratings, with the zeros of low ratings and without."""
    ratings = sp.csr_matrix(np.where(part, stars, 0))
    ratings.data = (ratings.data >= 4).astype(np.float32)
    without = ratings.copy()
    without.eliminate_zeros()
    assert (ratings != without).nnz == 0
    return ratings, without


(train, train_without), (test, test_without) = to_clicks(rated & ~held_out), to_clicks(rated & held_out)
model = CosineRecommender(K=20)
model.fit(train_without, show_progress=False)
print("implicit", importlib.metadata.version("implicit"))
print(f"test: {test.nnz} stored, {test_without.nnz} clicks; equal for SciPy")


def measure(clicks):
    return ranking_metrics_at_k(model, train_without, clicks, K=K, show_progress=False, num_threads=1)


with_zeros, plain = measure(test), measure(test_without)
for name, metrics in {"with zeros": with_zeros, "without": plain}.items():
    print(f"{name}: precision {metrics['precision']:.3f}, ndcg {metrics['ndcg']:.3f}")
clicks = train_without[0].toarray()
best = int(model.recommend(0, train_without[0], N=1)[0][0])
row = sp.csr_matrix(np.where(np.arange(NUM_ITEMS) == best, 1, clicks))
row.data[row.indices == best] = 0
second = int(model.recommend(0, row, N=1)[0][0])
print(f"best item of user 0: {best}; with a zero stored there: {second}")
again = CosineRecommender(K=20)
again.fit(train, show_progress=False)
trained = abs(again.similarity - model.similarity).max()
print("trained with zeros, the model differs by", trained)
assert plain["precision"] > 2 * with_zeros["precision"], "zeros are no clicks now"
assert second != best, "zeros are not filtered now"
assert trained < 1e-6
PROGRAM
"$folder/env/bin/python" -W ignore program.py
