#!/usr/bin/env bash
# Beam: the keys 7 and 7.0, or 1 and True, are one key or two, by the transform and by the other keys.
#
# apache-beam 2.77.0, DirectRunner. One would guess that `CombinePerKey(f)` gives what `GroupByKey` and f of
# each group give. `GroupByKey` and `CoGroupByKey` compare keys by their encoded bytes, so 7 and 7.0 are two
# keys. Combining begins before that, in a dictionary of the worker, where they are one: both are added, under
# the key that came first. So do `Count.PerElement` and `Distinct`, and keys that are tuples. The dictionary
# holds 100,000 keys (10^6 for `sum`, `min`, `max` and counts); where more come between 7 and 7.0, they are
# two again.
# For a log: ids that are 7 in one source and 7.0 in another (JSON of JavaScript, a column that had gaps) are
# one in the counts of a small catalogue, two in those of a large one, and never meet in a join: the item has
# the clicks of both and the attributes of neither.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check apache-beam==2.77.0 'setuptools<82'
cd "$folder"
cat > program.py <<'PROGRAM'
import json

import apache_beam as beam

CLICKS = [(7, 1), (7.0, 1), (7, 1), (True, 1), (1, 1)]


def run(name, build):
    """Prints the elements of a collection; returns them as sorted texts."""
    with beam.Pipeline("DirectRunner") as pipeline:
        texts = build(pipeline) | beam.Map(repr)
        texts | beam.io.WriteToText(name, num_shards=1, shard_name_template="")
    with open(name) as file:
        found = sorted(file.read().splitlines())
    print(f"{name}: {', '.join(found)}")
    return found


def add(values):
    return sum(values)


def between(number):
    """7, a number of other keys, 7.0."""
    clicks = [(7, 1), *((key, 1) for key in range(100, 100 + number)), (7.0, 1)]

    def build(pipeline):
        made = pipeline | beam.Create([0]) | beam.FlatMap(lambda _: clicks)
        return made | beam.CombinePerKey(add) | beam.Filter(lambda pair: pair[0] == 7)

    return build


def join(pipeline):
    clicks = pipeline | "clicks" >> beam.Create([(7.0, "click")])
    titles = pipeline | "titles" >> beam.Create([(7, "title")])
    return {"clicks": clicks, "titles": titles} | beam.CoGroupByKey()


print("apache-beam", beam.__version__)
combined = run("CombinePerKey(sum)", lambda p: p | beam.Create(CLICKS) | beam.CombinePerKey(sum))
grouped = run(
    "GroupByKey, sum",
    lambda p: p | beam.Create(CLICKS) | beam.GroupByKey() | beam.MapTuple(lambda k, v: (k, sum(v))),
)
distinct = run("Distinct", lambda p: p | beam.Create([7, 7.0, True, 1]) | beam.Distinct())
few = run("with 1,000 keys between", between(1_000))
many = run("with 100,000 keys between", between(100_000))
joined = run("CoGroupByKey", join)
assert len(combined) == 2, "sums are by bytes now"
assert grouped == ["(1, 1)", "(7, 2)", "(7.0, 1)", "(True, 1)"], "groups changed"
assert len(distinct) == 2, "distinct elements are by bytes now"
assert few == ["(7, 2)"] and many == ["(7, 1)", "(7.0, 1)"], "other keys do not matter now"
assert len(joined) == 2, "a join finds 7 for 7.0 now"
PROGRAM
"$folder/env/bin/python" program.py 2>errors || { tail -5 errors; exit 1; }
