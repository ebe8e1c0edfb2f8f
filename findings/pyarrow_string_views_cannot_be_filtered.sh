#!/usr/bin/env bash
# pyarrow reads Parquet columns as `string_view` but cannot filter or take rows of what it has read.
#
# pyarrow 25.0.1. A writer that stores its Arrow schema (polars, pyarrow itself) makes pyarrow return columns of type
# `string_view`. One would guess that such a column can be filtered like one of type `string`. `RecordBatch.filter` and
# `RecordBatch.take` raise ArrowNotImplementedError ("Function 'array_take' has no kernel matching input types (string_view,
# ...)"); a cast to `string` first works.
# For a log: code that works on every file of one writer stops at the file of another.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pyarrow==25.0.1
cd "$folder"
cat > program.py <<'PROGRAM'
import pyarrow as pa
import pyarrow.parquet as pq

print("pyarrow", pa.__version__)
table = pa.table({"n": [1, 2, 3], "text": pa.array(["a", "b", "c"], pa.string_view())})
pq.write_table(table, "log.parquet")
(batch,) = pq.ParquetFile("log.parquet").iter_batches()
print("read as", batch.schema.field("text").type)
assert batch.schema.field("text").type == pa.string_view(), "views are no longer read as such"
mask = pa.array([True, False, True])
for name, action in {
    "filter": lambda b: b.filter(mask),
    "take": lambda b: b.take(pa.array([2, 0])),
}.items():
    try:
        action(batch)
    except pa.ArrowNotImplementedError as error:
        print(f"{name}: {error}")
    else:
        raise SystemExit(f"{name} works now")
plain = batch.set_column(1, "text", batch["text"].cast(pa.string()))
assert plain.filter(mask)["text"].to_pylist() == ["a", "c"], "strings changed"
print("as string: filtered")
PROGRAM
"$folder/env/bin/python" program.py
