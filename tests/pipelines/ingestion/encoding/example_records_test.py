"""What is written is what TensorFlow writes, byte by byte, and reads."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.ingestion import examples
from pipelines.ingestion.encoding import byte_columns, example_records, number_lists
from recall import features


def by_tensorflow(id_lists, user_id=None):
    example = tf.train.Example()
    for name, ids in id_lists.items():
        example.features.feature[name].int64_list.value.extend(ids)
    if user_id is not None:
        example.features.feature[features.USER_ID].bytes_list.value.append(user_id)
    return example.SerializeToString(deterministic=True)


@pytest.mark.parametrize("values", [[0], [1, 127, 128], [16_383, 16_384, (1 << 62) + 3], [5] * 300])
def test_training_windows(values):
    written = examples.train_example(np.array(values))
    assert written == by_tensorflow({features.ITEM_IDS: values})


@pytest.mark.parametrize("user_id", [b"", b"u1", "Zoë".encode(), b"x" * 200])
def test_held_out_tasks(user_id):
    history, positives = [2, 70_000, 300] * 50, [9]
    written = examples.held_out_example(user_id, np.array(history), np.array(positives), 148)
    lists = {
        features.HISTORY: history,
        features.POSITIVES: positives,
        features.NUM_TRAINED: [148],
    }
    assert written == by_tensorflow(lists, user_id)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 100])
def test_tensorflow_reads_the_files(tmp_path, monkeypatch, chunk_bytes, level):
    """Several files, which begin and end in the middle of what is made at a time."""
    monkeypatch.setattr(examples, "_CHUNK_BYTES", chunk_bytes)
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 40)
    ids = rng.integers(2, 1 << 20, lengths.sum())
    stops = np.cumsum(lengths)
    numbers = number_lists.Numbers.of(ids)
    lists = {features.ITEM_IDS: numbers.ranges(stops - lengths, stops)}
    sizes = {tmp_path / "b.gz": 7, tmp_path / "a.gz": 1, tmp_path / "c.gz": 32}
    examples.write_records(sizes, lists, level)
    assert set(tmp_path.iterdir()) == set(sizes)
    records = [
        list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()) for path in sizes
    ]
    expected = np.split(ids, stops[:-1])
    expected = [by_tensorflow({features.ITEM_IDS: one.tolist()}) for one in expected]
    assert records == [expected[:7], expected[7:8], expected[8:]]


def test_framing_is_that_of_tensorflows_writer(tmp_path):
    numbers = number_lists.Numbers.of(np.array([3, 4, 500]))
    lists = {"a": numbers.ranges(np.array([0, 2]), np.array([2, 3]))}
    with tf.io.TFRecordWriter(str(tmp_path / "file")) as writer:
        writer.write(by_tensorflow({"a": [3, 4]}))
        writer.write(by_tensorflow({"a": [500]}))
    assert example_records.frame(lists, 2).data.tobytes() == (tmp_path / "file").read_bytes()


def test_varints():
    data, offsets = byte_columns.varints(np.array([1, 300, 0]))
    assert data.tobytes() == b"\x01\xac\x02\x00"  # 300 = 0b10_0101100
    assert offsets.tolist() == [0, 1, 3, 4]
