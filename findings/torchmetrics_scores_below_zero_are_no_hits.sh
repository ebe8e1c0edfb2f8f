#!/usr/bin/env bash
# torchmetrics: items with a score of zero or less are never hits, for recall and MAP; for nDCG they are.
#
# torchmetrics 1.9.0, torch 2.14.1. One would guess that metrics of a ranking depend on the order of the
# scores. `RetrievalRecall`, `RetrievalPrecision`, `RetrievalMRR` and `RetrievalMAP` count an item among the
# first k only if its score is above zero; `RetrievalHitRate`, `RetrievalNormalizedDCG`,
# `RetrievalRPrecision` and `RetrievalAUROC` count all. With 5 taken off every score one list has recall 0
# in place of 1, and a hit rate of 1 still. Their documentation speaks of scores as "estimated
# probabilities"; negative ones are taken without a word.
# For a recommender: inner products, cosines, logits and negative distances are below zero for many items. A
# model with a bias of the user looks worse the lower the bias is, and a softmax of the same scores does
# not. Give `scores.sigmoid()`, or the rank turned around.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
# torch brings its GPU libraries along, some gigabytes.
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import torch
import torchmetrics
from torchmetrics import retrieval

NAMES = ["Recall", "Precision", "MRR", "MAP", "HitRate", "NormalizedDCG", "RPrecision", "AUROC"]
scores = torch.tensor([0.9, 0.8, 0.7, 0.2])
clicked = torch.tensor([False, True, False, True])
user = torch.zeros(4, dtype=torch.long)


def evaluate(name, scores):
    """Metrics of one user, who clicked the second and the last of four items."""
    metrics = [getattr(retrieval, "Retrieval" + metric)() for metric in NAMES]
    found = [round(float(metric(scores, clicked, indexes=user)), 3) for metric in metrics]
    print(f"{name}: " + ", ".join(f"{metric} {value}" for metric, value in zip(NAMES, found)))
    return found


print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)
plain = evaluate("scores .9 to .2", scores)
lower = evaluate("the same minus .75", scores - 0.75)
below = evaluate("the same minus 5", scores - 5)
sigmoid = evaluate("sigmoid of that", (scores - 5).sigmoid())
assert plain == sigmoid == [1.0, 0.5, 0.5, 0.5, 1.0, 0.651, 0.5, 0.25]
assert below[:4] == [0.0] * 4, "scores below zero are hits now"
assert below[4:] == plain[4:], "all metrics drop scores below zero now"
assert lower[:2] == [0.5, 0.25]
PROGRAM
"$folder/env/bin/python" program.py
