#!/usr/bin/env bash
# DuckDB: `isnan` finds nothing in a Parquet file of pyarrow, and BETWEEN returns NaN.
#
# duckdb 2.0.1, pyarrow 26.0.1. One would guess that a query of a Parquet file answers as it does of a table
# filled from that file. Statistics of a Parquet file leave NaN out, as the format demands, and DuckDB takes
# them for the bounds of all rows while it simplifies a query: `isnan(x)` is replaced by false, the upper end
# of a BETWEEN above the largest number is dropped (for DuckDB NaN is larger than all numbers, so it passes),
# `max` is read from the statistics. The same expression counted by `count(*) filter (...)` is right, as are
# files without statistics and DuckDB's own files, which have none where a NaN is. Nothing says that the
# answers differ.
# For a recommender: the check that no score of last night's file is NaN passes, whatever is in it.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 duckdb==2.0.1
cd "$folder"
cat > program.py <<'PROGRAM'
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

NAN = float("nan")
pq.write_table(pa.table({"score": [0.1, NAN, 0.3, 0.2, NAN, 0.8]}), "log.parquet")
duckdb.sql("create table scores as select * from 'log.parquet'")
QUESTIONS = {
    "isnan": ("count(*)", "where isnan(score)"),
    "isnan, counted by filter": ("count(*) filter (isnan(score))", ""),
    "between .5 and 1": ("count(*)", "where score between 0.5 and 1"),
    "maximum": ("max(score)::varchar", ""),
}


def ask(what, source, where):
    return duckdb.sql(f"select {what} from {source} {where}").fetchall()[0][0]


print("duckdb", duckdb.__version__, "pyarrow", pa.__version__)
answers = {}
for name, (what, where) in QUESTIONS.items():
    table, file = ask(what, "scores", where), ask(what, "'log.parquet'", where)
    print(f"{name}: table {table}, file {file}")
    answers[name] = table, file
assert answers["isnan"] == (2, 0), "isnan looks into files now"
assert answers["isnan, counted by filter"] == (2, 2)
assert answers["between .5 and 1"] == (1, 3), "BETWEEN returns no NaN now"
assert answers["maximum"] == ("nan", "0.8"), "the maximum is that of the rows now"
PROGRAM
"$folder/env/bin/python" program.py
