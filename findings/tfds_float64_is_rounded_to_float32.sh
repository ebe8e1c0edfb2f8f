#!/usr/bin/env bash
# TensorFlow Datasets: a feature of type float64 has 24 bits; its type says 53.
#
# tensorflow-datasets 4.9.10, tensorflow 2.20.0. One would guess that a feature declared as `np.float64` comes
# back as it was written; integers of 64 bits do, and the dataset's type is float64. The writer puts every
# floating number into a `FloatList` of tf.train.Example, which has 32 bits, in TFRecord and in ArrayRecord
# files alike, and the reader casts it back: times in seconds are multiples of 128, and all clicks of two
# minutes have one time. `download_and_prepare` checks the type of what the generator gives and says nothing.
# `tfds.features.Tensor(shape=(), dtype=np.float64, encoding=tfds.features.Encoding.BYTES)` keeps the bits.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check tensorflow-datasets==4.9.10 \
  tensorflow-cpu==2.20.0 array_record==0.8.6 importlib_resources==6.5.2 'setuptools<82'
cd "$folder"
cat > program.py <<'PROGRAM'
import importlib.metadata
import tempfile

import numpy as np
import tensorflow_datasets as tfds

TIMES = [1_700_000_000.5, 1_700_000_010.5, 1_700_000_060.5]
BYTES = tfds.features.Tensor(shape=(), dtype=np.float64, encoding=tfds.features.Encoding.BYTES)


def prepare(feature, values, file_format):
    class Clicks(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({"value": feature})
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield from enumerate({"value": value} for value in values)

    builder = Clicks(data_dir=tempfile.mkdtemp(dir="."), file_format=file_format)
    builder.download_and_prepare()
    if file_format == "array_record":
        return [example["value"] for example in builder.as_data_source(split="train")]
    return [example["value"] for example in tfds.as_numpy(builder.as_dataset(split="train"))]


def show(name, values):
    values = np.asarray(values)
    print(f"{name}: {values.tolist()} {values.dtype}")
    return values.tolist(), values.dtype


print("tensorflow-datasets", importlib.metadata.version("tensorflow-datasets"))
print(f"given: {TIMES}")
plain = show("tfrecord", prepare(np.float64, TIMES, "tfrecord"))
arrays = show("array_record", prepare(np.float64, TIMES, "array_record"))
kept = show("tfrecord, bytes", prepare(BYTES, TIMES, "tfrecord"))
integers = show("tfrecord, int64", prepare(np.int64, [2**62 + 1], "tfrecord"))
assert plain[1] == arrays[1] == np.float64, "the type is another one now"
assert len(set(plain[0])) == 1 and len(set(arrays[0])) == 1, "times are told apart now"
assert kept == (TIMES, np.float64) and integers[0] == [2**62 + 1], "bytes or integers changed"
PROGRAM
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" program.py 2>errors > output || { tail -5 errors; exit 1; }
grep -E "^(tensorflow-datasets|given|tfrecord|array_record)" output
