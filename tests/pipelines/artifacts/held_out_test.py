"""Reading examples, whole and damaged."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import held_out
from pipelines.ingestion import examples as example_writer
from recall.errors import InputError
from serving.release import storage

USERS = [
    (b"u1", [2, 3, 4], [5]),
    ("Zo\u00eb".encode(), [1, 7], [8, 9]),
    (b"u3", [], [2]),
]


def write_split(examples_dir, split, files, counted=True):
    """Writes lists of examples as files, and their counts."""
    directory = examples_dir / f"Split-{split}"
    directory.mkdir(parents=True)
    counts, paths = {}, []
    for shard, examples in enumerate(files):
        path = directory / example_writer.file_name(0, shard, len(files))
        with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
            for example in examples:
                writer.write(example)
        counts[path.name] = len(examples)
        paths.append(path)
    if counted:
        statistics = {"splits": {split: {"files": counts}}}
        storage.write_json(examples_dir / "statistics.json", statistics)
    return paths


def serialize(users):
    return [
        example_writer.held_out_example(user_id, np.array(history, np.int64), np.array(positives))
        for user_id, history, positives in users
    ]


def test_all_users_in_the_order_of_the_files(tmp_path):
    write_split(tmp_path, "test", [serialize(USERS[:1]), serialize(USERS[1:])])
    users = held_out.read_held_out(tmp_path, "test")
    assert users.num_users == 3
    assert users.user_ids.tolist() == [user_id for user_id, *_ in USERS]
    for row, (_, history, positives) in enumerate(USERS):
        assert users.histories[row].tolist() == history
        assert users.positives[row].tolist() == positives
    assert users.histories.values.dtype == np.int64


def test_what_training_learns_of_a_user(tmp_path):
    example = example_writer.held_out_example(b"u", np.array([2]), np.array([3]), num_trained=7)
    write_split(tmp_path, "test", [[example]])
    assert held_out.read_held_out(tmp_path, "test").num_trained.tolist() == [7]


def test_examples_of_earlier_versions_do_not_say_it(tmp_path):
    example = tf.train.Example()
    for name, values in (("history", [2]), ("positives", [3])):
        example.features.feature[name].int64_list.value.extend(values)
    example.features.feature["user_id"].bytes_list.value.append(b"u")
    write_split(tmp_path, "test", [[example.SerializeToString()]])
    users = held_out.read_held_out(tmp_path, "test")
    assert users.num_trained.tolist() == [held_out.UNKNOWN_NUMBER]
    assert users.take(np.array([0])).num_trained.tolist() == [held_out.UNKNOWN_NUMBER]


def test_take(tmp_path):
    write_split(tmp_path, "test", [serialize(USERS)])
    users = held_out.read_held_out(tmp_path, "test").take(np.array([2, 0]))
    assert users.user_ids.tolist() == [b"u3", b"u1"]
    assert users.histories[1].tolist() == [2, 3, 4]
    assert users.positives[0].tolist() == [2]


def test_more_users_than_one_parsing_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(held_out, "_BATCH_SIZE", 2)
    write_split(tmp_path, "valid", [serialize(USERS)])
    assert held_out.read_held_out(tmp_path, "valid").histories[1].tolist() == [1, 7]


def test_training_windows_file_by_file(tmp_path):
    windows = [[[2, 3], [4, 5, 6]], [], [[7, 8]]]
    files = [[example_writer.train_example(np.array(w)) for w in file] for file in windows]
    write_split(tmp_path, "train", files)
    parts = list(held_out.read_training_windows(tmp_path))
    assert [[part[i].tolist() for i in range(len(part))] for part in parts] == [
        [[2, 3], [4, 5, 6]],
        [[7, 8]],
    ]


def many_users():
    generator = np.random.default_rng(0)
    return serialize([(b"u", generator.integers(2, 10**9, 30), [3]) for _ in range(200)])


def cut_in_half(data):
    return data[: len(data) // 2]


def flip_a_bit(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]


def read_everything(examples_dir, split):
    if split == "train":
        return list(held_out.read_training_windows(examples_dir))
    return held_out.read_held_out(examples_dir, split)


@pytest.mark.parametrize(
    "damage",
    [cut_in_half, flip_a_bit, lambda data: data[:9], lambda data: b"", lambda data: b"junk" * 99],
    ids=["half", "flipped_bit", "nine_bytes", "empty", "other_content"],
)
@pytest.mark.parametrize("split", ["test", "train"])
def test_a_damaged_file_is_named(tmp_path, damage, split):
    if split == "train":
        files = [[example_writer.train_example(np.arange(2, 400)) for _ in range(50)]] * 2
    else:
        files = [many_users()] * 2
    path = write_split(tmp_path, split, files)[1]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        read_everything(tmp_path, split)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    path = write_split(tmp_path, "test", [serialize(USERS), serialize(USERS)])[0]
    path.unlink()
    with pytest.raises(InputError, match=r"00000-of-00002.* is missing"):
        held_out.read_held_out(tmp_path, "test")


def test_records_of_another_kind(tmp_path):
    path = write_split(tmp_path, "test", [[b"no example"]])[0]
    with pytest.raises(InputError, match="damaged") as caught:
        held_out.read_held_out(tmp_path, "test")
    assert str(path) in str(caught.value)


def test_a_user_without_positives(tmp_path):
    write_split(tmp_path, "test", [serialize([(b"u", [2], [])])])
    with pytest.raises(InputError, match="without positives"):
        held_out.read_held_out(tmp_path, "test")


def test_no_users(tmp_path):
    with pytest.raises(InputError, match="too few events"):
        held_out.read_held_out(tmp_path, "test")
    with pytest.raises(ValueError, match="split"):
        held_out.read_held_out(tmp_path, "train")
