#!/usr/bin/env bash
# ScaNN: one vector much longer than the others, and a search that looks further finds less.
#
# scann 1.4.2, inner product, tree and asymmetric hashing, every setting as in its examples. One of 20,000 random rows
# is 1,000 times as long. One would guess that a query loses at most that one row, and that more leaves never find
# less. In fact recall@100 falls as more leaves are searched, from .23 at 7 of 141 leaves to .07 at all of them,
# where the same index without that row goes from .32 to .98. The likely reason: lookup tables are rounded to 8 bits
# (`INT8_LUT16`), and a code word that is as long as the row sets their range. With `min_partition_size=1` the row has
# a leaf of its own, nothing of it is left to be hashed, and one such row does no harm; twenty do.
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

LEAVES = (7, 14, 56, 141)
generator = np.random.default_rng(0)
items = generator.standard_normal((20_000, 32)).astype(np.float32)
queries = generator.standard_normal((200, 32)).astype(np.float32)


def recalls(num_long, **options):
    """recall@100 by the number of leaves searched, with so many rows 1,000 times as long."""
    vectors = items.copy()
    vectors[:num_long] *= 1000
    wanted = np.argsort(-(queries @ vectors.T), axis=1)[:, :100]
    builder = scann_ops_pybind.builder(vectors, 100, "dot_product").tree(141, 7, **options)
    searcher = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(600).build()
    row = []
    for leaves in LEAVES:
        ids, _ = searcher.search_batched(queries, leaves_to_search=leaves)
        row.append(np.mean([np.isin(w, i).mean() for w, i in zip(wanted, ids)]))
    return np.round(row, 3)


print("scann", importlib.metadata.version("scann"), "recall@100 at", LEAVES, "of 141 leaves")
found = {
    "no long row": recalls(0),
    "one": recalls(1),
    "one, min_partition_size=1": recalls(1, min_partition_size=1),
    "twenty, min_partition_size=1": recalls(20, min_partition_size=1),
}
for name, row in found.items():
    print(f"{name:30s}", *row)
assert found["no long row"][-1] > 0.95
assert found["one"][-1] < found["one"][0] < 0.5, "a long row does no harm now"
assert found["one, min_partition_size=1"][-1] > 0.95, "a leaf of its own does not help now"
assert found["twenty, min_partition_size=1"][-1] < 0.5, "twenty long rows do no harm now"
PROGRAM
"$folder/env/bin/python" program.py 2>/dev/null
