#!/usr/bin/env bash
# polars: in rows of Python numbers a 7.9 behind the first hundred rows is 7; a 7 among booleans is False.
#
# polars 2.1.0. One would guess that a value that does not fit the type which was inferred is an error, as
# `strict` is True by default, as a word among numbers is one ("make sure that all rows have the same
# schema"), and as the same values given as a column are. Rows (dictionaries or tuples) are read by the
# types of the first 100, and later numbers are cast: 7.9 to 7, "8" to 8, 2^53 + 1 among floats to 2^53, and
# of the numbers 7, 1, 0 behind booleans only 1 is true. A key that is new there is dropped. With 99 rows
# before it 7.9 is 7.9. `read_database` reads SQLite so.
# For a log: events from `json.loads` or a database, in which the first hundred ratings or times happen to
# be whole numbers, lose the fractions of all others, and a test of a few rows never shows it.
# `infer_schema_length=None` looks at all rows.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0
cd "$folder"
cat > program.py <<'PROGRAM'
import sqlite3

import polars as pl


def read(first, later, count=100, **arguments):
    """The last rows of a table that has `first` `count` times before them, or "refused"."""
    rows = [{"x": first}] * count + [{"x": value} for value in later]
    try:
        found = pl.DataFrame(rows, **arguments)["x"].to_list()[count:]
    except (pl.exceptions.ComputeError, TypeError):
        found = "refused"
    print(f"{count} times {first!r}, then {later} {arguments or ''}: {found}")
    return found


def read_column():
    try:
        return pl.DataFrame({"x": [4] * 100 + [7.9]})["x"].to_list()[100:]
    except TypeError:
        return "refused"


print("polars", pl.__version__)
assert read(4, [7.9, -7.9]) == [7, -7], "fractions are refused or kept now"
assert read(4, [7.9], strict=True) == [7]
assert read(4, ["8"]) == [8], "texts are refused now"
assert read(True, [7, 1, 0]) == [False, True, False], "numbers are no booleans now"
assert read(0.5, [2**53 + 1]) == [2.0**53]
assert read(4, ["x"]) == "refused"
assert read(4, [7.9], count=99) == [7.9]
assert read(4, [7.9], infer_schema_length=None) == [7.9]
print("as a column:", read_column())
assert read_column() == "refused"
columns = pl.DataFrame([{"x": 4}] * 100 + [{"x": 4, "y": 5}]).columns
database = sqlite3.connect(":memory:")
database.execute("create table events (rating)")
database.executemany("insert into events values (?)", [(4,)] * 100 + [(7.9,)])
ratings = pl.read_database("select rating from events", database)["rating"].to_list()
print(f"columns with a late `y`: {columns}; from SQLite: {ratings[100:]}")
assert columns == ["x"], "late keys are kept now"
assert ratings[100:] == [7], "a database is read as it is now"
PROGRAM
"$folder/env/bin/python" program.py
