#!/usr/bin/env bash
# pyarrow: what a filter keeps of a Parquet file depends on which rows were written together.
#
# pyarrow 26.0.1 (25.0.1 alike). One would guess that a filter of a file gives what the same filter gives of
# the table that was read from it. Statistics of a row group leave NaN out, as the format demands, and pyarrow
# takes them for the bounds of all rows: a group whose largest number is .3 is passed over by `~(score <
# 0.5)`, with the NaN in it, for which the filter holds. The NaN of a group that has a .8 as well is kept.
# `read_table(filters=...)`, datasets and `count_rows` do so; without statistics, and in Feather files, all
# are kept.
# For a recommender: "everything that is not below the limit" is meant to catch broken scores, too; it catches
# those that lie beside good ones, and misses groups in which nothing else is above it.
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
import pyarrow.feather as feather
import pyarrow.parquet as pq

NAN = float("nan")
table = pa.table({"score": [0.1, NAN, 0.3, 0.2, NAN, 0.8]})
pq.write_table(table, "one_group.parquet")
pq.write_table(table, "two_groups.parquet", row_group_size=3)
pq.write_table(table, "no_statistics.parquet", row_group_size=3, write_statistics=False)
feather.write_feather(table, "log.feather")
not_below = ~(pc.field("score") < 0.5)

print("pyarrow", pa.__version__)
found = {"table": table.filter(not_below).num_rows}
for name in ("one_group", "two_groups", "no_statistics"):
    found[name] = pq.read_table(f"{name}.parquet", filters=not_below).num_rows
    assert found[name] == ds.dataset(f"{name}.parquet").count_rows(filter=not_below)
found["feather"] = ds.dataset("log.feather", format="feather").count_rows(filter=not_below)
print("rows that are not below .5:", found)
assert found.pop("two_groups") == 2, "groups with NaN are read now"
assert set(found.values()) == {3}, "the other ways changed"
PROGRAM
"$folder/env/bin/python" program.py
