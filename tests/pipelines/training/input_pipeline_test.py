"""The stream of training batches, on hand-made TFRecord files."""

import json
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from pipelines.training import input_pipeline
from pipelines.training.input_pipeline import find_damaged_file, read_training_data
from pipelines.training.placement.input_share import InputShare
from recall.config import RecallConfig
from recall.errors import InputError

EXAMPLES = {
    # Bucket 4: up to 4 inputs, so 2 to 5 items. Two shards.
    "examples-00004-00000-of-00002.tfrecord.gz": [
        [10, 11],
        [12, 13, 14],
        [15, 16, 17, 18, 19],
        [20, 21],
        [22, 23, 24],
    ],
    "examples-00004-00001-of-00002.tfrecord.gz": [[30, 31], [32, 33, 34, 35]],
    # Bucket 8: 6 to 9 items.
    "examples-00008-00000-of-00002.tfrecord.gz": [
        [40, 41, 42, 43, 44, 45],
        list(range(50, 59)),
        list(range(60, 67)),
    ],
}
BATCH_SIZE = 4
STEPS = 2 + 1
"""Seven sequences of bucket 4 make batches of 4 and 3, three of bucket 8 one."""


def write_examples(folder, examples=EXAMPLES, **other_counts):
    split_dir = folder / "Split-train"
    split_dir.mkdir()
    for name, sequences in examples.items():
        with tf.io.TFRecordWriter(str(split_dir / name), "GZIP") as writer:
            for item_ids in sequences:
                feature = tf.train.Feature(int64_list=tf.train.Int64List(value=item_ids))
                features = tf.train.Features(feature={"item_ids": feature})
                writer.write(tf.train.Example(features=features).SerializeToString())
    counts = {name: len(sequences) for name, sequences in examples.items()} | other_counts
    statistics = {"splits": {"train": {"files": counts}}}
    (folder / "statistics.json").write_text(json.dumps(statistics))
    return folder


@pytest.fixture
def examples_dir(tmp_path):
    return write_examples(tmp_path)


def build_config(*assignments):
    return RecallConfig().override(
        [
            f"train.batch_size={BATCH_SIZE}",
            "train.max_epochs=3",
            "train.seed=1",
            "train.min_batch_size=1",
            "model.max_history_length=8",
            *assignments,
        ]
    )


def read_batches(examples_dir, *assignments, first_epoch=0):
    data = read_training_data(examples_dir, build_config(*assignments), first_epoch=first_epoch)
    return [batch.item_ids.numpy() for batch in data.dataset]


def to_sequences(batch):
    return [row[row > 0].tolist() for row in batch]


def flatten(batches):
    return [sequence for batch in batches for sequence in to_sequences(batch)]


def damage(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "changed":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes(8) + content[middle + 8 :])
    elif how == "replaced":
        path.write_bytes(b"item_id,count\n" * 20)


def test_counts(examples_dir):
    data = read_training_data(examples_dir, build_config())

    assert data.steps_per_epoch == STEPS
    assert data.num_sequences == 10


def test_batches_of_long_sequences_hold_fewer_of_them(examples_dir):
    """13 slots: three sequences of bucket 4 a step, one of bucket 8."""
    batches = read_batches(examples_dir, "train.batch_slots=13", "train.max_epochs=1")

    sizes = {True: [], False: []}
    for batch in batches:
        sizes[batch.shape[1] <= 5].append(len(batch))
    assert sorted(sizes[True]) == [1, 3, 3]
    assert sizes[False] == [1, 1, 1]
    data = read_training_data(examples_dir, build_config("train.batch_slots=13"))
    assert data.steps_per_epoch == 6


@pytest.mark.parametrize(
    ("min_batch_size", "short", "long"),
    [
        (2, [1, 3, 3], [1, 2]),  # Three sequences of bucket 4 fill the slots anyway.
        (4, [3, 4], [3]),  # `batch_size` is 4.
        (9, [3, 4], [3]),
    ],
)
def test_a_step_of_long_sequences_has_a_least_number_of_them(
    examples_dir, min_batch_size, short, long
):
    settings = ["train.batch_slots=13", f"train.min_batch_size={min_batch_size}"]
    batches = read_batches(examples_dir, *settings, "train.max_epochs=1")

    assert sorted(len(batch) for batch in batches if batch.shape[1] <= 5) == short
    assert sorted(len(batch) for batch in batches if batch.shape[1] > 5) == long


def test_a_sequence_longer_than_a_batch_may_be_is_a_batch_of_its_own(examples_dir):
    batches = read_batches(examples_dir, "train.batch_slots=1", "train.max_epochs=1")

    assert [len(batch) for batch in batches] == [1] * 10


def test_one_bucket_in_one_batch_is_an_exact_padded_matrix(tmp_path):
    name = "examples-00004-00000-of-00001.tfrecord.gz"
    write_examples(tmp_path, {name: [[5, 6], [7, 8, 9]]})

    (batch,) = read_batches(tmp_path, "train.max_epochs=1")

    assert batch.dtype == np.int64
    assert sorted(batch.tolist()) == [[5, 6, 0], [7, 8, 9]]


def test_every_example_comes_once_an_epoch(examples_dir):
    batches = read_batches(examples_dir)
    everything = sorted(sequence for sequences in EXAMPLES.values() for sequence in sequences)

    assert len(batches) == 3 * STEPS
    for epoch in range(3):
        assert sorted(flatten(batches[epoch * STEPS : (epoch + 1) * STEPS])) == everything


def test_a_batch_holds_one_bucket_and_is_as_wide_as_its_longest_sequence(examples_dir):
    for batch in read_batches(examples_dir):
        lengths = [len(sequence) for sequence in to_sequences(batch)]
        assert {length > 5 for length in lengths} in ({True}, {False})
        assert batch.shape[1] == max(lengths)
        for row, length in zip(batch, lengths, strict=True):
            assert (row[:length] > 0).all()


def test_no_batch_is_larger_than_asked_and_only_a_buckets_last_is_smaller(examples_dir):
    batches = read_batches(examples_dir)
    for epoch in range(3):
        sizes = Counter(len(b) for b in batches[epoch * STEPS : (epoch + 1) * STEPS])
        assert sizes == {4: 1, 3: 2}


def test_epochs_differ_in_order_and_in_the_company_of_a_sequence(tmp_path):
    name = "examples-00004-00000-of-00001.tfrecord.gz"
    write_examples(tmp_path, {name: [[i, i + 1] for i in range(2, 34)]})
    firsts = [batch[:, 0].tolist() for batch in read_batches(tmp_path)]
    epochs = [firsts[i : i + 8] for i in (0, 8, 16)]

    assert epochs[0][0] != [2, 3, 4, 5]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert {frozenset(b) for b in epochs[0]} != {frozenset(b) for b in epochs[1]}


def test_the_order_is_a_function_of_seed_and_epoch(examples_dir):
    tf.random.set_seed(1)
    batches = flatten(read_batches(examples_dir))
    tf.random.set_seed(2)

    assert flatten(read_batches(examples_dir)) == batches
    assert flatten(read_batches(examples_dir, "train.seed=2")) != batches


@pytest.mark.parametrize("first_epoch", [1, 2])
def test_resuming_at_an_epoch_continues_the_uninterrupted_stream(examples_dir, first_epoch):
    tf.random.set_seed(1)
    whole = read_batches(examples_dir)
    tf.random.set_seed(1 + first_epoch)  # What else the program draws does not matter.
    resumed = read_batches(examples_dir, first_epoch=first_epoch)

    assert len(resumed) == (3 - first_epoch) * STEPS
    for batch, expected in zip(resumed, whole[first_epoch * STEPS :], strict=True):
        np.testing.assert_array_equal(batch, expected)


def test_more_sequences_than_the_shuffle_buffer_are_still_all_read(examples_dir, monkeypatch):
    monkeypatch.setattr(input_pipeline, "_SHUFFLE_BUFFER", 2)

    sequences = flatten(read_batches(examples_dir, "train.max_epochs=1"))

    assert sorted(sequences) == sorted(s for part in EXAMPLES.values() for s in part)


def test_batches_of_all_widths_are_one_trace(examples_dir):
    """Keras traces a step for the type of the stream, not of a batch."""
    data, shapes, traces = read_training_data(examples_dir, build_config()), set(), []

    @tf.function
    def step(iterator):
        traces.append(1)
        return tf.shape(next(iterator).positive_ids)

    iterator = iter(data.dataset)
    for _ in range(3 * data.steps_per_epoch):
        shapes.add(tuple(step(iterator).numpy().tolist()))

    assert len(shapes) >= 3
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("file_number", "how"),
    [(0, "cut"), (1, "cut"), (0, "emptied"), (0, "changed"), (2, "replaced")],
)
def test_a_damaged_file_is_found(examples_dir, file_number, how):
    name = list(EXAMPLES)[file_number]
    path = examples_dir / "Split-train" / name
    damage(path, how)

    with pytest.raises(tf.errors.OpError) as error:
        read_batches(examples_dir)

    assert isinstance(error.value, (tf.errors.DataLossError, tf.errors.FailedPreconditionError))
    assert find_damaged_file(examples_dir) == str(path)


def test_a_file_with_too_many_examples_is_found(tmp_path):
    name = next(iter(EXAMPLES))
    write_examples(tmp_path, **{name: 4})

    with pytest.raises(tf.errors.FailedPreconditionError):
        read_batches(tmp_path)
    assert find_damaged_file(tmp_path) == str(tmp_path / "Split-train" / name)


def test_sound_files_are_not_called_damaged(examples_dir):
    assert find_damaged_file(examples_dir) is None


def test_a_missing_file_is_named(examples_dir):
    name = next(iter(EXAMPLES))
    (examples_dir / "Split-train" / name).unlink()

    with pytest.raises(InputError, match=name):
        read_training_data(examples_dir, build_config())


def test_a_strange_name_in_the_statistics_is_refused(tmp_path):
    write_examples(tmp_path, **{"part-0.tfrecord.gz": 3})

    with pytest.raises(InputError, match=r"part-0\.tfrecord\.gz"):
        read_training_data(tmp_path, build_config())


@pytest.mark.parametrize("examples", [{}, {"examples-00004-00000-of-00001.tfrecord.gz": []}])
def test_nothing_to_train_on_is_refused(tmp_path, examples):
    write_examples(tmp_path, examples)

    with pytest.raises(InputError, match="Nothing to train on"):
        read_training_data(tmp_path, build_config())


def test_a_folder_without_statistics_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"statistics\.json"):
        read_training_data(tmp_path, build_config())


@pytest.mark.parametrize("num_replicas", [2, 3, 5])
def test_replicas_have_parts_of_the_batches_of_one(examples_dir, num_replicas):
    config = build_config()
    whole = [to_sequences(batch) for batch in read_batches(examples_dir)]

    def read(replicas):
        share = InputShare(num_replicas, replicas)
        data = read_training_data(examples_dir, config, share=share)
        assert data.steps_per_epoch == STEPS
        return [to_sequences(batch.item_ids.numpy()) for batch in data.dataset]

    parts = read(range(num_replicas))

    assert len(parts) == num_replicas * len(whole)
    for step, expected in enumerate(whole):
        own = parts[step * num_replicas : (step + 1) * num_replicas]
        sizes = [sum(1 for sequence in part if sequence) for part in own]
        assert max(sizes) - min(sizes) <= 1
        assert [sequence for part in own for sequence in part if sequence] == expected
    # A process with the last replica alone.
    assert read(range(num_replicas - 1, num_replicas)) == parts[num_replicas - 1 :: num_replicas]


def test_a_part_without_sequences_is_a_row_of_padding(examples_dir):
    share = InputShare(5, range(5))
    data = read_training_data(examples_dir, build_config(), share=share)

    batches = [batch.item_ids.numpy() for batch in data.dataset]

    assert any(not batch.any() for batch in batches)
    assert all(batch.shape[0] >= 1 and batch.shape[1] >= 2 for batch in batches)


def test_readers_that_do_not_step_together_share_the_sequences(examples_dir):
    def read(reader):
        share = InputShare(1, range(1), num_readers=2, reader=tf.constant(reader, tf.int64))
        data = read_training_data(examples_dir, build_config("train.max_epochs=1"), share=share)
        return flatten(batch.item_ids.numpy() for batch in data.dataset)

    first, second = read(0), read(1)

    everything = [sequence for sequences in EXAMPLES.values() for sequence in sequences]
    assert sorted(first + second) == sorted(everything)
    assert abs(len(first) - len(second)) <= 2  # One for each bucket.


def test_a_stream_starts_within_an_epoch(examples_dir):
    whole = [to_sequences(batch) for batch in read_batches(examples_dir, first_epoch=1)]

    data = read_training_data(examples_dir, build_config(), first_epoch=1, first_step=2)

    assert [to_sequences(batch.item_ids.numpy()) for batch in data.dataset] == whole[2:]
