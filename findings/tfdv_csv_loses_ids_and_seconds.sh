#!/usr/bin/env bash
# TFDV: of a CSV file, the ids 007, 07 and 7 are one, and times with decimals are off by up to 64 seconds.
#
# tensorflow-data-validation 1.16.1 (tfx-bsl 1.16.1, whose reader CsvExampleGen of TFX 1.16 has, too). One would guess
# that statistics of a column tell its texts apart: the user ids `007`, `07` and `7` are three. A column of nothing but
# digits becomes one of integers: three users are 7, its smallest and its largest value. A column with decimals becomes
# one of floats of 24 bits: the times 1700000000.5, 1700000010.5 and 1700000020.5 are all 1700000000, so smallest and
# largest are equal, and the standard deviation is 0. Nothing says so. In a Parquet file texts stay texts.
# For a log: users are merged, and the order of events is lost, before anything looks at them.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.10}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-data-validation==1.16.1 \
    tfx-bsl==1.16.1 tensorflow-metadata==1.16.1 tensorflow==2.16.2 'apache-beam[gcp]==2.60.0' numpy==1.26.4
cd "$folder"
cat > program.py <<'PROGRAM'
import tensorflow_data_validation as tfdv

with open("log.csv", "w") as file:
    file.write("user_id,timestamp\n")
    for user, seconds in (("007", 0.5), ("07", 10.5), ("7", 20.5)):
        file.write(f"{user},{1_700_000_000 + seconds}\n")
print("tensorflow-data-validation", tfdv.__version__)
(dataset,) = tfdv.generate_statistics_from_csv("log.csv").datasets
found = {feature.path.step[0]: feature for feature in dataset.features}
for name, feature in found.items():
    numbers = feature.num_stats
    print(
        f"{name}: {feature.Type.Name(feature.type)}, {numbers.common_stats.num_non_missing} values, "
        f"smallest {numbers.min:.1f}, largest {numbers.max:.1f}, deviation {numbers.std_dev:.1f}"
    )
users, times = found["user_id"].num_stats, found["timestamp"].num_stats
assert (users.min, users.max) == (7, 7), "ids are told apart now"
assert (times.min, times.max) == (1_700_000_000, 1_700_000_000), "seconds are told apart now"
PROGRAM
"$folder/env/bin/python" -W ignore program.py 2>/dev/null
