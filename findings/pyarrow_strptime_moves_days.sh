#!/usr/bin/env bash
# `pyarrow.compute.strptime` and the CSV reader's `timestamp_parsers` move days that do not exist into the next month.
#
# pyarrow 25.0.1. One would guess that 2019-02-30 is a parsing error, as it is for `datetime.strptime`, and for
# pyarrow itself when it casts the same text to a timestamp; with `error_is_null=True` it would be null. With a
# format it is read without a word as 2019-03-02, 2019-02-29 as 2019-03-01, 2019-04-31 as 2019-05-01. So the two
# ways of reading one ISO text differ: by cast it is refused, by the format "%Y-%m-%d" it is another day.
# For a log: events of a faulty exporter land behind later ones, and a check for nulls counts none of them.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pyarrow==25.0.1
cd "$folder"
cat > program.py <<'PROGRAM'
import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

FORM = "%Y-%m-%d"
MOVED = {"2019-02-29": "2019-03-01", "2019-02-30": "2019-03-02", "2019-04-31": "2019-05-01"}


def python_refuses(text):
    try:
        datetime.datetime.strptime(text, FORM)
    except ValueError:
        return True
    return False


def cast_refuses(text):
    try:
        pa.array([text]).cast(pa.timestamp("s"))
    except pa.ArrowInvalid:
        return True
    return False


def read_csv(text):
    options = pa.csv.ConvertOptions(
        column_types={"day": pa.timestamp("s")}, timestamp_parsers=[FORM]
    )
    table = pa.csv.read_csv(pa.py_buffer(f"day\n{text}\n".encode()), convert_options=options)
    return str(table["day"][0].as_py().date())


print("pyarrow", pa.__version__)
for text, moved in MOVED.items():
    with_form = pc.strptime(pa.array([text]), format=FORM, unit="s", error_is_null=True)
    day = None if with_form.null_count else str(with_form[0].as_py().date())
    in_csv = read_csv(text)
    refused = python_refuses(text), cast_refuses(text)
    print(f"{text}: strptime {day}, CSV {in_csv}, refused by Python and by the cast: {refused}")
    assert refused == (True, True), "Python or the cast changed"
    assert day == moved, "strptime changed"
    assert in_csv == moved, "the CSV reader changed"
PROGRAM
"$folder/env/bin/python" program.py
