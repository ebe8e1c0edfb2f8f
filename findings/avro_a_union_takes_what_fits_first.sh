#!/usr/bin/env bash
# fastavro: of a union the first type that takes a number gets it, so ids of 64 bits are stored as doubles.
#
# fastavro 1.13.1. One would guess that an integer in a union ["null", "double", "long"] is stored as the
# long that it is, as Avro's Java library chooses by the class of the value. fastavro asks the types in
# their order which of them takes the value; a double takes every integer, so 2^53 + 1 comes back as
# 9007199254740992.0 and 7 as 7.0, and with "float" first all ids above 2^24 are rounded. With "long" first
# both kinds of numbers keep their own type. Where the column is a plain "double" the reader at least knows;
# here the schema promises a long. `strict=True` changes nothing; the pair ("long", value) names the branch.
# For a log: the order of a union means nothing for whoever reads the schema, and ids that differ only in
# their last digits (snowflakes, hashes) become one user. Beam's `WriteToAvro` writes by fastavro.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check fastavro==1.13.1
cd "$folder"
cat > program.py <<'PROGRAM'
import io

import fastavro

FIRST, SECOND = 2**53, 2**53 + 1


def store(union, values, **arguments):
    """What a reader gets of `values` in a field of type `union`."""
    schema = {"type": "record", "name": "Event", "fields": [{"name": "user", "type": union}]}
    file = io.BytesIO()
    fastavro.writer(file, schema, [{"user": value} for value in values], **arguments)
    file.seek(0)
    found = [record["user"] for record in fastavro.reader(file)]
    print(f"{union}: {values} are {found} {arguments or ''}")
    return found


print("fastavro", fastavro.__version__)
double = store(["null", "double", "long"], [FIRST, SECOND, 7, None])
assert repr(double) == "[9007199254740992.0, 9007199254740992.0, 7.0, None]", (
    "integers are longs now"
)
assert repr(store(["null", "float", "long"], [16777217])) == "[16777216.0]"
assert repr(store(["null", "long", "double"], [FIRST, SECOND, 7.5])) == str([FIRST, SECOND, 7.5])
assert store(["null", "double", "long"], [SECOND], strict=True) == [float(FIRST)]
named = store(["null", "double", "long"], [("long", FIRST), ("long", SECOND)])
assert named == [FIRST, SECOND] and type(named[0]) is int
PROGRAM
"$folder/env/bin/python" program.py
