#!/usr/bin/env bash
# pyarrow: a filter of a column of hashed ids works until the first id of 2^63 or more, then none does.
#
# pyarrow 26.0.1 (25.0.1 alike). One would guess that `filters=[("user", "==", 7)]` finds user 7 in a column
# of unsigned integers of 64 bits, whatever else is in it. A Python number is a signed scalar, and to compare
# it the whole column is made signed: with one value of 2^63 or more in it, every such filter raises
# ArrowInvalid, for any user, in a table and in a Parquet file; there already the statistics of a row group do
# it. The column's own large values cannot be asked for at all: `== 2**63` is an OverflowError. `pa.scalar(7,
# pa.uint64())` works everywhere.
# For a log: half of all hashes of 64 bits (`polars.Series.hash` gives such a column) are that large, but
# those of a test with few users need not be.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cd "$folder"
cat > program.py <<'PROGRAM'
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq


def ask(users, wanted):
    """Numbers of rows found in a table, in a file, by `filters` and by `isin`, or the errors' names."""
    table = pa.table({"user": pa.array(users, pa.uint64())})
    pq.write_table(table, "log.parquet")
    field = pc.field("user")
    ways = {
        "table": lambda: table.filter(field == wanted),
        "file": lambda: ds.dataset("log.parquet").to_table(filter=field == wanted),
        "filters": lambda: pq.read_table("log.parquet", filters=[("user", "==", wanted)]),
        "in": lambda: pq.read_table("log.parquet", filters=[("user", "in", [wanted])]),
    }
    found = {}
    for name, way in ways.items():
        try:
            found[name] = way().num_rows
        except (pa.ArrowInvalid, OverflowError) as error:
            found[name] = type(error).__name__
    print(f"users {users}, wanted {wanted!r}: {found}")
    return set(found.values())


print("pyarrow", pa.__version__)
small = ask([7, 2**63 - 1], 7)
large = ask([7, 2**63], 7)
own = ask([7, 2**63], 2**63)
typed = ask([7, 2**63], pa.scalar(7, pa.uint64())) | ask([7, 2**63], pa.scalar(2**63, pa.uint64()))
assert small == {1} and typed == {1}
assert large == {"ArrowInvalid"}, "large ids no longer stop a filter"
assert own == {"OverflowError"}, "large ids can be asked for now"
PROGRAM
"$folder/env/bin/python" program.py
