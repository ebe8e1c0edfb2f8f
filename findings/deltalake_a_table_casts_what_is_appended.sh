#!/usr/bin/env bash
# deltalake, LanceDB: a table with a schema takes 7.9 into a column of integers, as 7, and "007" too.
#
# deltalake 1.6.6, lancedb 0.40.0, pyarrow 26.0.1. One would guess that a table whose schema says int64
# refuses to append a column of another type, as schemas are there for ("schema enforcement") and as
# pyiceberg does ("Mismatch in fields"); or takes it if no value is changed. Both cast every batch: 7.9 is
# stored as 7, "007" as 7, a time of 1700000010.5 s as 1700000000 in a column of 32 bits. Only what cannot
# be cast at all ("x", NaN, 2^40 into 32 bits) raises. No argument asks for the check; the schema of the
# table and its history show nothing.
# For a log: a producer that begins to send texts for ids ("007" beside "7") is taken in as if nothing were,
# and ratings of 4.5 stars are 4 from the day on that the column was made with whole ones.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  deltalake==1.6.6 lancedb==0.40.0 pyarrow==26.0.1 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import itertools

import deltalake
import lancedb
import pyarrow as pa

APPENDED = {
    "floats to int64": (pa.array([3], pa.int64()), pa.array([7.9, -7.9])),
    "texts to int64": (pa.array([3], pa.int64()), pa.array(["007", "7"])),
    "float64 to float32": (pa.array([3], pa.float32()), pa.array([1700000010.5, 1700000020.5])),
    "NaN to int64": (pa.array([3], pa.int64()), pa.array([7.0, float("nan")])),
    "a word to int64": (pa.array([3], pa.int64()), pa.array(["x"])),
}
numbers = itertools.count()
lance = lancedb.connect("lance")


def in_delta(first, second):
    path = f"delta{next(numbers)}"
    deltalake.write_deltalake(path, pa.table({"id": first}))
    deltalake.write_deltalake(path, pa.table({"id": second}), mode="append")
    return pa.table(deltalake.DeltaTable(path).to_pyarrow_table())["id"]


def in_lance(first, second):
    table = lance.create_table(f"lance{next(numbers)}", pa.table({"id": first}))
    table.add(pa.table({"id": second}))
    return table.to_arrow()["id"]


def append(name, write):
    try:
        found = sorted(write(*APPENDED[name]).to_pylist())
    except Exception as error:  # Each library has its own kind.
        found = "an error"
        assert "ast" in str(error), error
    print(f"{write.__name__}, {name}: {found}")
    return found


print("deltalake", deltalake.__version__, "lancedb", lancedb.__version__)
for write in (in_delta, in_lance):
    assert append("floats to int64", write) == [-7, 3, 7], "floats are refused now"
    assert append("texts to int64", write) == [3, 7, 7], "texts are refused now"
    assert append("float64 to float32", write) == [3.0, 1700000000.0, 1700000000.0]
    assert append("NaN to int64", write) == append("a word to int64", write) == "an error"
PROGRAM
"$folder/env/bin/python" program.py
