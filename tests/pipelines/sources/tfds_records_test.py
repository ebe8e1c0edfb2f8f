"""Datasets built by TFDS in all its file formats: the values are those TFDS itself gives."""

import json
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

import recall  # noqa: F401  chooses the Keras of TensorFlow, so it comes before TFDS
from pipelines.ingestion.open_log import open_events
from pipelines.sources import tfds_records
from pipelines.sources.events import EventColumns
from recall.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")

FORMATS = ("tfrecord", "array_record", "parquet")
NUM_TRAIN, NUM_TEST = 7, 3
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64")
ENCODINGS = ("none", "bytes", "zlib")

VALUES = {
    **{n: [np.iinfo(n).max, np.iinfo(n).min, 1, 7, np.iinfo(n).max - 1] for n in INTEGERS},
    **{n: [0.5, -1.25, 30000.0, 0.0, 1 / 3] for n in FLOATS},
    "bool": [True, False, False, True, True],
}
"""What number i of a dataset holds is entry i modulo 5."""


def features():
    """Every kind of scalar: name -> (feature, name of its values)."""
    found = {"text": (tfds.features.Text(), "text")}
    found["label"] = (tfds.features.ClassLabel(names=["x", "y", "z"]), "label")
    for dtype, encoding in ((d, e) for d in VALUES for e in ENCODINGS):
        tensor = tfds.features.Tensor(
            shape=(), dtype=np.dtype(dtype), encoding=tfds.features.Encoding(encoding)
        )
        found[f"{dtype}_{encoding}"] = (tensor, dtype)
        found[f"{dtype}_scalar"] = (tfds.features.Scalar(np.dtype(dtype)), dtype)
    return found


def value(kind, number):
    if kind == "text":
        return f"ü{number}"
    if kind == "label":
        return "zyx"[number % 3]
    return np.dtype(kind).type(VALUES[kind][number % 5])


def write(folder, file_format, described, rows):
    """A dataset `small:1.0.0` with the splits train and test in two files each."""

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(described), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {
                "train": self._generate_examples(rows[:NUM_TRAIN]),
                "test": self._generate_examples(rows[NUM_TRAIN:]),
            }

        def _generate_examples(self, part):
            yield from enumerate(part)

    builder = Small(data_dir=str(folder), file_format=file_format)
    config = tfds.download.DownloadConfig(num_shards=2)
    builder.download_and_prepare(download_config=config)
    return builder


@pytest.fixture(scope="module")
def builders(tmp_path_factory):
    """By file format, a dataset with every feature."""
    described = {name: feature for name, (feature, _) in features().items()}
    kinds = {name: kind for name, (_, kind) in features().items()}
    rows = [
        {name: value(kind, number) for name, kind in kinds.items()}
        for number in range(NUM_TRAIN + NUM_TEST)
    ]
    folder = tmp_path_factory.mktemp("tfds")
    return {name: write(folder / name, name, described, rows) for name in FORMATS}


def read(builder, split, names):
    batches = list(tfds_records.read_examples(builder, split, names))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


def values_of_tfds(builder, split, names):
    decoders = tfds.decode.PartialDecoding(dict.fromkeys(names, True))
    dataset = builder.as_dataset(split=split, decoders=decoders)
    examples = list(tfds.as_numpy(dataset))
    return {name: np.array([example[name] for example in examples]).tolist() for name in names}


SPLITS = {
    "train": range(7),
    "test": range(7, 10),
    "train+test": range(10),
    "all": range(10),
    "train[5:]": range(5, 7),
    "train[:3]": range(3),
    "train[-2:]": range(5, 7),
    "train[:1shard]": range(4),
    "train[50%:]": range(4, 7),
    "test[1:]+train[3:5]": (8, 9, 3, 4),
    "train[2:3]+train": (2, *range(7)),
}


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_split_is_that_of_tfds(builders, file_format, split):
    texts = read(builders[file_format], split, ["text"])["text"].tolist()
    assert texts == [f"ü{number}".encode() for number in SPLITS[split]]


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_feature_is_what_was_written_and_what_tfds_gives(builders, file_format):
    kinds = {name: kind for name, (_, kind) in features().items()}
    found = read(builders[file_format], "all", list(kinds))
    # TFDS itself cannot decode these; ArrayRecord it does not open as a `tf.data.Dataset`.
    names = [name for name in kinds if name not in ("uint32_bytes", "uint32_zlib")]
    by_tfds = values_of_tfds(builders["tfrecord"], "all", names)
    for name, kind in kinds.items():
        if kind == "text":
            expected = [f"ü{number}".encode() for number in range(10)]
        elif kind == "label":
            expected = [2 - number % 3 for number in range(10)]
        else:
            # TFDS keeps plain numbers with a point as float32.
            kept = (
                np.float32 if kind == "float64" and not name.endswith(("bytes", "zlib")) else kind
            )
            expected = np.array([value(kind, n) for n in range(10)]).astype(kept).tolist()
            assert found[name].dtype == kind
        assert found[name].tolist() == expected, name
        assert name not in by_tfds or by_tfds[name] == expected, name


@pytest.fixture(scope="module")
def ids_dir(tmp_path_factory):
    """Logs with ids beyond int64 and missing values, one data folder per format."""
    described = {
        "user_id": tfds.features.Scalar(np.uint64),
        "item_id": tfds.features.Scalar(np.int64, optional=True),
        "timestamp": tfds.features.Scalar(np.int64),
    }
    rows = [
        {"user_id": np.uint64(2**64 - 1 - number), "item_id": number, "timestamp": number}
        for number in range(NUM_TRAIN + NUM_TEST)
    ]
    rows[4]["item_id"] = None
    folder = tmp_path_factory.mktemp("ids")
    for name in FORMATS:
        write(folder / f"{name} [1]*", name, described, rows)  # A pattern for TFDS.
    return folder


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_log_with_ids_beyond_int64(ids_dir, file_format):
    source = open_events("tfds:small:train", data_dir=str(ids_dir / f"{file_format} [1]*"))
    table = pa.Table.from_batches(source.read_batches(max_bad_rows=1))
    kept = [0, 1, 2, 3, 5, 6]
    assert table["user_id"].to_pylist() == [str(2**64 - 1 - number) for number in kept]
    assert table["item_id"].to_pylist() == [str(number) for number in kept]
    assert table["row"].to_pylist() == kept
    assert source.bad_rows.total == 1  # Without an item.
    assert len(source.fingerprint()) == 64


@pytest.mark.parametrize(
    ("split", "error"),
    [
        ("train[:0]", r"tfds:small:train\[:0\]: The split 'train\[:0\]' selects no example"),
        ("train[100:]", r"The split 'train\[100:\]' selects no example, or more than there are"),
        ("train[3:2]", r"The split 'train\[3:2\]' selects no example"),
        ("train[5:2]", r"The split 'train\[5:2\]' selects no example"),
        ("trian", r"no split 'trian' \(Unknown split 'trian'.*: train \(7\), test \(3\)\.$"),
        ("train[:", r"no split 'train\[:' \(Error parsing split 'train\[:'"),
        ("train[20:30]", r"\(Requested slice \[20:30\] incompatible with 7 examples\)"),
    ],
)
@pytest.mark.parametrize("file_format", FORMATS)
def test_splits_that_select_nothing(ids_dir, file_format, split, error):
    with pytest.raises(InputError, match=error) as caught:
        open_events(f"tfds:small:{split}", data_dir=str(ids_dir / f"{file_format} [1]*"))
    assert "\n" not in str(caught.value)


def test_array_records_without_their_package(ids_dir, monkeypatch):
    source = open_events("tfds:small:train", data_dir=str(ids_dir / "array_record [1]*"))
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    with pytest.raises(InputError, match="Install it with `pip install array_record`"):
        list(source.read_batches())


def test_a_format_whose_package_is_missing(ids_dir, tmp_path):
    shutil.copytree(ids_dir / "tfrecord [1]*", tmp_path / "riegeli")
    info = tmp_path / "riegeli" / "small" / "1.0.0" / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "riegeli"}))
    with pytest.raises(InputError, match="in riegeli files, for which a package is missing"):
        open_events("tfds:small:train", data_dir=str(tmp_path / "riegeli"))


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_damaged_file(ids_dir, tmp_path, file_format):
    shutil.copytree(ids_dir / f"{file_format} [1]*", tmp_path / "damaged")
    source = open_events("tfds:small:train", data_dir=str(tmp_path / "damaged"))
    (path, *_) = sorted((tmp_path / "damaged" / "small" / "1.0.0").glob("small-train*"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cannot be read .*Prepare the dataset again") as caught:
        list(source.read_batches())
    assert path.name in str(caught.value)


def drop_the_last(path):
    """Takes a file's last example away; what is left is a whole file."""
    if ".parquet-" in path.name:
        table = pq.read_table(path)
        pq.write_table(table[: len(table) - 1], path)
        return
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records[:-1]:
            writer.write(record)


@pytest.mark.parametrize("file_format", ["tfrecord", "parquet"])
def test_a_file_that_lacks_examples(ids_dir, tmp_path, file_format):
    shutil.copytree(ids_dir / f"{file_format} [1]*", tmp_path / "short")
    source = open_events("tfds:small:train", data_dir=str(tmp_path / "short"))
    drop_the_last(min((tmp_path / "short" / "small" / "1.0.0").glob("small-train*")))
    with pytest.raises(InputError, match=r"small-train.* has 3 of the 4 examples that the dataset"):
        list(source.read_batches())


def test_the_warning_of_coarse_times(ids_dir, tmp_path, caplog):
    columns = EventColumns(user_id="text", item_id="text", timestamp="time")
    described = {
        "text": tfds.features.Text(),
        "time": tfds.features.Tensor(
            shape=(), dtype=np.float32, encoding=tfds.features.Encoding.BYTES
        ),
    }
    rows = [{"text": "a", "time": 1.0}] * (NUM_TRAIN + NUM_TEST)
    write(tmp_path, "tfrecord", described, rows)
    open_events("tfds:small", columns, data_dir=str(tmp_path))
    assert "too coarse for Unix seconds" in caplog.text
