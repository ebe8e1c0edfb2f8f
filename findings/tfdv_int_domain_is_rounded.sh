#!/usr/bin/env bash
# TFDV: the largest value that a schema allows is compared as a double, so larger integers pass.
#
# tensorflow-data-validation 1.16.1. `int_domain { max: ... }` of a schema is an int64. One would guess that a value
# one above it is an anomaly, as 11 is for a maximum of 10. Statistics keep the largest value as a double: beyond 2^53
# it is rounded, and a value above the maximum that rounds to it passes. Of times in nanoseconds the largest that
# passes is 128 above the maximum.
# For a log: ids of 64 bits (hashes, snowflakes) just outside their range are not noticed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.10}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-data-validation==1.16.1 \
    tfx-bsl==1.16.1 tensorflow-metadata==1.16.1 tensorflow==2.16.2 'apache-beam[gcp]==2.60.0' numpy==1.26.4
cd "$folder"
cat > program.py <<'PROGRAM'
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2


def is_refused(value, maximum):
    """Whether a column of this value is an anomaly under this maximum."""
    column = pa.array([[value], [value]], pa.list_(pa.int64()))
    batch = pa.RecordBatch.from_arrays([column], ["number"])
    statistics = stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions())
    schema = schema_pb2.Schema()
    schema.feature.add(name="number", type=schema_pb2.INT).int_domain.max = maximum
    return "number" in tfdv.validate_statistics(statistics, schema).anomaly_info


print("tensorflow-data-validation", tfdv.__version__)
cases = {(11, 10): True, (2**53 + 1, 2**53): False, (2**53 + 2, 2**53): True}
nanoseconds = 1_700_000_000_000_000_000
cases |= {(nanoseconds + 128, nanoseconds): False, (nanoseconds + 129, nanoseconds): True}
for (value, maximum), expected in cases.items():
    refused = is_refused(value, maximum)
    print(f"value {value}, maximum {maximum}: {'refused' if refused else 'passes'}")
    assert refused == expected, "the comparison changed"
PROGRAM
"$folder/env/bin/python" -W ignore program.py 2>/dev/null
