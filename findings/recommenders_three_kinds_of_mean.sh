#!/usr/bin/env bash
# recommenders: nDCG counts users without an answer, recall does not, R-precision only those with a hit.
#
# recommenders 1.2.1 (python_evaluation). One would guess that a metric is the mean over the users of the
# truth, for all metrics of one library the same ones. Recall, precision and MAP are means over users who
# are in both tables: who got no answer (cold, all filtered out) is left out. nDCG takes all users of the
# truth. R-precision is the mean over users with a hit among their k; the others are dropped, so it is 1
# where one of three users has his one item first and the two others have nothing. So a model that is silent
# for those it would fail, with the same hits, gains in recall, keeps its nDCG, and has a perfect
# R-precision in both cases.
# For a recommender: recall of two models is compared over different users, and no warning says so. Give
# every user of the truth at least one row (an item that does not exist will do).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
# Its other dependencies belong to models that are not used here.
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  pandas==2.3.3 scikit-learn==1.8.0 numpy==2.4.6
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-deps recommenders==1.2.1
cd "$folder"
cat > program.py <<'PROGRAM'
import importlib.metadata

import pandas as pd
from recommenders.evaluation import python_evaluation as metrics

NAMES = ["recall_at_k", "precision_at_k", "map_at_k", "ndcg_at_k", "r_precision_at_k"]
truth = pd.DataFrame({"userID": [1, 2, 3], "itemID": [10, 20, 30], "rating": 1.0})


def evaluate(name, rows):
    lists = pd.DataFrame(rows, columns=["userID", "itemID", "prediction"])
    found = [round(getattr(metrics, metric)(truth, lists, k=2), 3) for metric in NAMES]
    print(f"{name}: " + ", ".join(f"{metric} {value}" for metric, value in zip(NAMES, found)))
    return found


print("recommenders", importlib.metadata.version("recommenders"))
hits = [(1, 10, 0.9), (1, 11, 0.8)]
misses = [(user, item, 1.0 - item / 100) for user in (2, 3) for item in (41, 42)]
full = evaluate("three users, one hit", hits + misses)
silent = evaluate("no answer for the two others", hits)
assert full == [0.333, 0.167, 0.333, 0.333, 1.0], "R-precision counts users without a hit now"
assert silent == [1.0, 0.5, 1.0, 0.333, 1.0], "users without an answer count alike now"
PROGRAM
"$folder/env/bin/python" program.py
