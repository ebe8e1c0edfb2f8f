#!/usr/bin/env bash
# pyarrow: into an int64 column goes a Python 7.9 as 7; the same number from NumPy or pandas is refused.
#
# pyarrow 26.0.1 (25.0.1 alike). One would guess that `pa.array(values, type)` refuses what the type cannot
# hold, as it does for NumPy arrays and pandas columns ("Float value 7.9 was truncated"), as a cast does,
# and as it does for the Python integer 2^53 + 1 in a float64 column. Python floats and decimals are cut to
# integers: in `pa.array`, `pa.scalar`, `pa.table(..., schema=)`, `Table.from_pylist`, in lists and structs,
# and for a pandas column of type object. A Python datetime with .9 seconds is cut in a column of seconds
# (from NumPy it is refused), and one with a zone becomes UTC in a column without, beside others that stay
# as they are.
# For a log: one source or sink of rows of Python (`WriteToParquet` of Beam is one) changes ids, ratings and
# times where the same job on whole columns stops, and nothing counts them. Build the array without a type
# and cast it.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
cd "$folder"
cat > program.py <<'PROGRAM'
import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa

INT = pa.int64()
SCHEMA = pa.schema([("x", INT)])
SECONDS = pa.timestamp("s")


def attempt(name, build):
    try:
        found = build()
    except pa.ArrowInvalid:
        found = "refused"
    print(f"{name}: {found}")
    return found


def in_a_frame(column):
    frame = pd.DataFrame({"x": column})
    return pa.Table.from_pandas(frame, schema=SCHEMA)["x"].to_pylist()


late = datetime.datetime(2020, 1, 1, 23, 59, 59, 900_000)
zone = datetime.timezone(datetime.timedelta(hours=2))
print("pyarrow", pa.__version__)
cut = [
    attempt("Python floats", lambda: pa.array([7.9, -7.9], INT).to_pylist()) == [7, -7],
    attempt("decimals", lambda: pa.array([decimal.Decimal("7.9")], INT).to_pylist()) == [7],
    attempt("a scalar", lambda: pa.scalar(7.9, INT).as_py()) == 7,
    attempt("rows", lambda: pa.Table.from_pylist([{"x": 7.9}], SCHEMA)["x"].to_pylist()) == [7],
    attempt("lists", lambda: pa.array([[7.9]], pa.list_(INT)).to_pylist()) == [[7]],
    attempt("pandas, objects", lambda: in_a_frame(pd.Series([7.9], dtype=object))) == [7],
    attempt("a datetime", lambda: pa.array([late], SECONDS).to_pylist())
    == [late.replace(microsecond=0)],
    attempt(
        "with and without a zone",
        lambda: [str(time) for time in pa.array([late, late.replace(tzinfo=zone)], SECONDS)],
    )
    == ["2020-01-01 23:59:59", "2020-01-01 21:59:59"],
]
assert all(cut), f"some are refused or kept now: {cut}"
refused = [
    attempt("NumPy floats", lambda: pa.array(np.array([7.9]), INT)),
    attempt("pandas, floats", lambda: in_a_frame(pd.Series([7.9]))),
    attempt("a cast", lambda: pa.array([7.9]).cast(INT)),
    attempt("2^53 + 1 as float64", lambda: pa.array([2**53 + 1], pa.float64())),
    attempt("a datetime of NumPy", lambda: pa.array(np.array([late], "M8[us]"), SECONDS)),
]
assert refused == ["refused"] * 5, refused
PROGRAM
"$folder/env/bin/python" program.py
