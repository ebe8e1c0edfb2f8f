#!/usr/bin/env bash
# ScaNN: names and vectors of a searcher that is changed in place come apart, and a deleted item is found.
#
# scann 1.4.2. One would guess that an upsert of a batch in which an item occurs twice leaves its last vector,
# as it does for an item that is in the index already, and that a deletion that raises changes nothing. A new
# item twice in one batch becomes two rows of one name; a deletion takes one of them, the other is still found
# under the deleted name, and `delete` cannot remove it (KeyError). And `delete(["5", "unknown"])` raises
# KeyError after it has taken "5" out of the list of names alone: the row of "5" stays, and is from then on
# returned as "299", the last item, whose own row raises IndexError.
# For a recommender: two changes of a new item in one batch of events, or a deletion that comes twice, and
# users see an item that is gone, or a name that belongs to another item.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check scann==1.4.2 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import importlib.metadata

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

generator = np.random.default_rng(0)
items = generator.normal(size=(300, 16)).astype(np.float32)
first, second = generator.normal(size=(2, 1, 16)).astype(np.float32)


def build():
    builder = scann_ops_pybind.builder(items, 1, "squared_l2")
    names = [str(row) for row in range(300)]
    return builder.tree(10, 10).score_ah(2).reorder(100).build(docids=names), names


def nearest(searcher, vector):
    try:
        return searcher.search(vector.ravel())[0][0]
    except IndexError:
        return "IndexError"


print("scann", importlib.metadata.version("scann"))
searcher, _ = build()
searcher.upsert(["5", "5"], np.concatenate([first, second]))
known = searcher.size(), nearest(searcher, first) == "5", nearest(searcher, second)
print("a known item twice in a batch: rows, first vector found, name at the second:", known)

searcher, _ = build()
searcher.upsert(["new", "new"], np.concatenate([first, second]))
rows = searcher.size()
searcher.delete(["new"])
found = {nearest(searcher, first), nearest(searcher, second)}
print(f"a new item twice in a batch: {rows} rows; after its deletion its vectors find {sorted(found)}")
try:
    searcher.delete(["new"])
    again = "worked"
except KeyError:
    again = "KeyError"
print("deleted once more:", again)

searcher, names = build()
try:
    searcher.delete(["5", "unknown"])
except KeyError as error:
    print("a deletion that fails:", error, "- rows", searcher.size(), "names", len(names))
moved = nearest(searcher, items[5]), nearest(searcher, items[299]), nearest(searcher, items[6])
print("names at the vectors of 5, 299 and 6:", moved)

assert known == (300, False, "5"), "a known item became two"
assert rows == 302 and "new" in found and again == "KeyError", "a new item is one row now"
assert (searcher.size(), len(names)) == (300, 299), "a deletion that fails changes nothing now"
assert moved == ("299", "IndexError", "6"), "names stay now"
PROGRAM
"$folder/env/bin/python" program.py 2>/dev/null
