#!/usr/bin/env bash
# TensorFlow Datasets: a dataset prepared as Parquet has a part of its examples.
#
# tensorflow-datasets 4.9.10, file_format="parquet". A generator gives 20,000 examples; `download_and_prepare` succeeds,
# and `dataset_info.json` says 20,000. The file has 1,900. The writer takes batches of 100 by
# `itertools.islice(iterator, i, i + 100)` with a growing i, which skips i more examples before each batch: all is well
# up to 100 examples, 301 become 200, and the larger the dataset, the smaller the share. Reading through
# `as_dataset` ends in "Input dataset was expected to contain 20000 elements but contained only 1900 elements";
# who reads the file itself, or with `as_data_source`, is told nothing. TFRecord and ArrayRecord files have all.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-datasets==4.9.10 tensorflow==2.20.0 \
  pyarrow==25.0.1 array_record==0.8.6 importlib_resources==6.5.2 'setuptools<82'
cd "$folder"
cat > program.py <<'PROGRAM'
import glob
import importlib.metadata
import tempfile

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_datasets as tfds


def prepare(file_format, num_examples):
    class Numbers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({"number": tfds.features.Scalar(np.int64)})
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number in range(num_examples):
                yield number, {"number": number}

    builder = Numbers(data_dir=tempfile.mkdtemp(dir="."), file_format=file_format)
    builder.download_and_prepare()
    (path,) = glob.glob(f"{builder.data_dir}/numbers-train*")
    return builder.info.splits["train"].num_examples, path


print("tensorflow-datasets", importlib.metadata.version("tensorflow-datasets"))
found = {}
for num_examples in (100, 301, 20_000):
    said, path = prepare("parquet", num_examples)
    found[num_examples] = pq.read_metadata(path).num_rows
    print(f"parquet: {num_examples} given, {said} said to be there, {found[num_examples]} in the file")
    assert said == num_examples
said, path = prepare("tfrecord", 20_000)
print("tfrecord: 20000 given,", sum(1 for _ in tf.data.TFRecordDataset(path)), "in the file")

assert found[100] == 100, "100 examples are not all there"
assert found[301] < 301 and found[20_000] < 20_000, "Parquet files are complete now"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py 2>/dev/null | grep -E "^(tensorflow-datasets|parquet|tfrecord)"
