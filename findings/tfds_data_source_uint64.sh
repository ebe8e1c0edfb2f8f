#!/usr/bin/env bash
# TensorFlow Datasets: `as_data_source` cannot read unsigned numbers of 2^63 and more that `as_dataset` reads.
#
# tensorflow-datasets 4.9.10. A Scalar(uint64) is kept as int64 in a tf.train.Example, so 2^64 - 1 is kept as -1.
# `as_dataset` casts it back and gives 18446744073709551615. `as_data_source`, the only way to ArrayRecord files,
# makes a uint64 array of the number -1 and ends in "OverflowError: Python integer -1 out of bounds for uint64"
# (numpy 1 wrapped it around). So a dataset of hashed ids can be prepared as ArrayRecord and not be read again.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-datasets==4.9.10 tensorflow==2.20.0 \
  numpy==2.4.6 array_record==0.8.6 importlib_resources==6.5.2 'setuptools<82'
cd "$folder"
cat > program.py <<'PROGRAM'
import importlib.metadata
import tempfile

import numpy as np
import tensorflow_datasets as tfds

GIVEN = [1, 2**63 - 1, 2**63, 2**64 - 1]


def prepare(file_format):
    class Numbers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({"number": tfds.features.Scalar(np.uint64)})
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for key, number in enumerate(GIVEN):
                yield key, {"number": np.uint64(number)}

    builder = Numbers(data_dir=tempfile.mkdtemp(dir="."), file_format=file_format)
    builder.download_and_prepare()
    return builder


print("tensorflow-datasets", importlib.metadata.version("tensorflow-datasets"))
dataset = prepare("tfrecord").as_dataset(split="train")
by_dataset = [int(example["number"]) for example in tfds.as_numpy(dataset)]
print("as_dataset:", by_dataset)
source = prepare("array_record").as_data_source(split="train")
outcomes = []
for row in range(len(GIVEN)):
    try:
        outcomes.append(int(source[row]["number"]))
    except OverflowError as error:
        outcomes.append(f"OverflowError: {error}")
print("as_data_source:", outcomes)

assert by_dataset == GIVEN, "as_dataset gives other numbers now"
assert outcomes[:2] == GIVEN[:2], "as_data_source gives other numbers now"
assert all("OverflowError" in str(outcome) for outcome in outcomes[2:]), "as_data_source reads them now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py 2>/dev/null | grep -E "^(tensorflow-datasets|as_)"
