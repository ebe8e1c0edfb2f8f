#!/usr/bin/env bash
# ir_measures: RR@10 of a list is larger than its RR, as each ranks the list anew, and not in the same order.
#
# ir_measures 0.4.3 (pytrec_eval-terrier 0.5.11). One would guess that all measures of one call look at one
# ranking, and that of two scores the larger stands first. RR, R@k, P@k, nDCG@k, AP and Success@k go to
# trec_eval, which rounds scores to 24 bits and ranks what is equal then by name, last name first; RR@k goes
# to the rules of MS MARCO, which keep 53 bits and rank equals by name, first name first. So two scores that
# differ in the eighth digit are a tie for most measures, and no measure says so: the same list has R@1 0 and
# RR@1 1, RR .5 and RR@10 1.
# For a recommender: "the latest first", with times in seconds as scores, is evaluated by the names of the
# items for all that lies within two minutes; sums of a large and a small term (a boost, a rank fusion) suffer
# alike. Give ranks (-1, -2, ...) as scores: every measure then sees the order that was meant.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  ir_measures==0.4.3 pytrec_eval-terrier==0.5.11
cd "$folder"
cat > program.py <<'PROGRAM'
import importlib.metadata

import ir_measures
from ir_measures import RR, R, nDCG

MEASURES = [R @ 1, nDCG @ 10, RR, RR @ 1, RR @ 10]


def evaluate(name, scores):
    """Measures of the list of one user, who clicked item `a` alone."""
    found = ir_measures.calc_aggregate(MEASURES, {"user": {"a": 1}}, {"user": scores})
    print(f"{name}: " + ", ".join(f"{measure} {found[measure]:.2f}" for measure in MEASURES))
    return [round(found[measure], 2) for measure in MEASURES]


print("ir_measures", importlib.metadata.version("ir_measures"))
times = evaluate("`a` 10 s later than `z`, times in seconds", {"a": 1_700_000_020.0, "z": 1_700_000_010.0})
other = evaluate("the same, the other item named `A`", {"a": 1_700_000_020.0, "A": 1_700_000_010.0})
boosted = evaluate("`a` .5 above `z`, both boosted by 10^8", {"a": 1e8 + 0.8, "z": 1e8 + 0.3})
equal = evaluate("`a` and `z` equal", {"a": 1.0, "z": 1.0})
ranks = evaluate("`a` first, ranks as scores", {"a": -1.0, "z": -2.0})
assert ranks == [1.0] * 5
assert times == equal == [0.0, 0.63, 0.5, 1.0, 1.0], "times are told apart now, or by one order"
assert boosted == times, "53 bits are kept now"
assert other == ranks, "names no longer decide"
PROGRAM
"$folder/env/bin/python" program.py
