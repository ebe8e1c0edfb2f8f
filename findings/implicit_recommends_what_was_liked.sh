#!/usr/bin/env bash
# implicit: a list too long for what a user has not seen is filled with what he has, and with the item 0.
#
# implicit 0.7.3, scipy 1.17.1. One would guess that `recommend(..., filter_already_liked_items=True)`,
# "don't return items present in the training set", never returns one, and gives a shorter list or a mark
# where too few are left. The matrix factorisations put the excluded items behind the others, with the score
# -3.4e38; so do `filter_items` and `items=[...]`. The neighbour models put them there with the score 0,
# which an item that nobody's neighbours like has, too. Asked for more items than there are, the
# factorisations add the item 0 again and again with the score 0, above that of the excluded. Who takes the
# ids alone sees nothing of it.
# For a recommender: users who have clicked nearly everything of a small shop or shelf see it again;
# evaluated by a list of ids, the item 0 counts as many hits as it has places.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  implicit==0.7.3 scipy==1.17.1 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import warnings

import implicit
import numpy as np
import scipy.sparse
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender

warnings.simplefilter("ignore")  # Hints about threads.
liked = np.random.default_rng(0).random((40, 6)) < 0.5
liked[0] = [True, True, True, True, False, False]
clicks = scipy.sparse.csr_matrix(liked.astype("float32"))
model = AlternatingLeastSquares(factors=4, iterations=3, random_state=0, num_threads=1)
model.fit(clicks, show_progress=False)
neighbours = CosineRecommender(K=6)
neighbours.fit(clicks, show_progress=False)


def recommend(name, model, **arguments):
    ids, scores = model.recommend(0, clicks[0], **arguments)
    print(f"{name}: {ids.tolist()}, scores {['%.2g' % score for score in scores]}")
    return ids.tolist()


print("implicit", implicit.__version__, "- the user likes 0 to 3, of six items")
two = recommend("two items", model, N=2)
five = recommend("five items", model, N=5)
nine = recommend("nine items", model, N=9)
chosen = recommend("three of [1, 2, 4]", model, N=3, items=[1, 2, 4])
other = recommend("five items, neighbours", neighbours, N=5)
assert set(two) == {4, 5}
assert set(five[:2]) == {4, 5} and set(five[2:]) < {0, 1, 2, 3}, "liked items are left out now"
assert sorted(nine[:6]) == [0, 1, 2, 3, 4, 5] and nine[6:] == [0, 0, 0], "the list ends now"
assert chosen[0] == 4 and set(chosen[1:]) == {1, 2}, "chosen items are filtered now"
assert set(other[:2]) == {4, 5} and set(other[2:]) < {0, 1, 2, 3}, (
    "neighbours leave liked items out now"
)
PROGRAM
"$folder/env/bin/python" program.py
