#!/usr/bin/env bash
# gensim: a numeric id that the model never saw gets the vector of another item, and `in` calls it known.
#
# gensim 4.4.0. One would guess that items as words, the usual item2vec, may be numbers: training takes
# them, and an item that it did not see is a KeyError, as it is for strings. `KeyedVectors` takes an integer
# that is no key for a place in its table: of 50 items named 100 to 149, the item 7 has the vector of the
# one on place 7, the eighth most clicked, in `wv[7]`, `most_similar(7)`, `similarity`, `get_mean_vector`;
# `7 in wv` is True. Ids from the number of items on are a KeyError, so half of the tests of cold items
# pass. Saved in the format of word2vec the keys become strings: then `wv[7]` is the item on place 7, though
# an item "7" is there.
# For a recommender: a cold item, or one that `min_count` left out, is answered with neighbours of a
# bestseller. Make ids strings before training.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check gensim==4.4.0 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import gensim
import numpy as np
from gensim.models import KeyedVectors, Word2Vec


def fit(items):
    """A model of 300 users with ten clicks each on `items`."""
    rng = np.random.default_rng(0)
    histories = [[items[place] for place in row] for row in rng.integers(0, 50, (300, 10))]
    return Word2Vec(histories, vector_size=8, min_count=1, workers=1, seed=1).wv


def known(vectors, item):
    try:
        vectors[item]
        return True
    except KeyError:
        return False


print("gensim", gensim.__version__)
numbers = fit(list(range(100, 150)))
other = numbers.index_to_key[7]
nearest, of_other = (
    [item for item, _ in numbers.most_similar(asked, topn=3)] for asked in (7, other)
)
print(f"7 is a key: {7 in numbers.key_to_index}, `7 in wv`: {7 in numbers}, 99: {99 in numbers}")
print(f"the vector of 7 is that of {other}: {np.array_equal(numbers[7], numbers[other])}")
print(f"most_similar(7): {nearest}, most_similar({other}): {of_other}")
assert 7 not in numbers.key_to_index and not known(numbers, 99)
assert 7 in numbers and np.array_equal(numbers[7], numbers[other]), (
    "an unknown number is unknown now"
)
assert nearest == of_other
strings = fit([str(item) for item in range(100, 150)])
print('as strings, "7" is known:', known(strings, "7"))
assert not known(strings, "7")

small = fit(list(range(50)))
small.save_word2vec_format("items.txt")
loaded = KeyedVectors.load_word2vec_format("items.txt")
same = np.allclose(loaded[7], small[7], atol=1e-6)
place = np.allclose(loaded[7], small[small.index_to_key[7]], atol=1e-6)
print(
    f"saved and loaded, wv[7] is item 7: {same}, item {small.index_to_key[7]} on place 7: {place}"
)
assert (same, place) == (False, True), "a loaded number is the item of that name now"
assert np.allclose(loaded["7"], small[7], atol=1e-6)
PROGRAM
"$folder/env/bin/python" program.py
