"""The training split in memory, and the stream that is made of it."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.training import packing
from pipelines.training.packed_input import PackedExamples
from recall.config import RecallConfig
from recall.errors import InputError
from recall.features import PackedBatch

CONFIG = RecallConfig().override(
    ["model.max_history_length=8", "train.batch_slots=32", "train.max_epochs=3"]
)


@pytest.fixture(scope="module")
def sequences():
    """Of four items at least: the last two of a user are held out."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 40, length).tolist() for length in generator.integers(4, 12, 50)]


@pytest.fixture(scope="module")
def examples_dir(tmp_path_factory, examples_writer, sequences):
    folder = tmp_path_factory.mktemp("run") / "examples"
    examples_writer(folder, sequences, 40, CONFIG.model.max_history_length)
    return folder


def read(examples_dir, first_epoch=0):
    return list(PackedExamples(examples_dir, CONFIG).stream(first_epoch).dataset)


def test_the_stream_has_every_training_click_of_every_epoch(examples_dir, sequences):
    examples = PackedExamples(examples_dir, CONFIG)
    data = examples.stream()

    batches = list(data.dataset)

    assert len(batches) == CONFIG.train.max_epochs * data.steps_per_epoch
    assert all(isinstance(batch, PackedBatch) for batch in batches)
    expected = sorted(item + 2 for user in sequences for item in user[1:-2])
    assert examples.num_slots == len(expected)
    assert data.num_sequences == len(sequences)
    for epoch in range(CONFIG.train.max_epochs):
        own = batches[epoch * data.steps_per_epoch : (epoch + 1) * data.steps_per_epoch]
        positives = np.concatenate([batch.positive_ids.numpy().ravel() for batch in own])
        assert sorted(positives[positives > 0].tolist()) == expected


def test_shapes_are_known_before_the_first_batch(examples_dir):
    examples = PackedExamples(examples_dir, CONFIG)
    shape, spec = examples.shape, examples.stream().dataset.element_spec

    assert spec.history_ids == tf.TensorSpec(
        [shape.num_steps, shape.num_rows, shape.width], "int32"
    )
    assert all(field.shape.is_fully_defined() for field in tf.nest.flatten(spec))
    assert examples.steps_per_epoch == shape.num_calls * shape.num_steps


def test_a_later_epoch_starts_where_it_would_have_been(examples_dir):
    whole, resumed = read(examples_dir), read(examples_dir, first_epoch=2)

    assert 0 < len(resumed) == len(whole) // 3
    for batch, expected in zip(resumed, whole[-len(resumed) :], strict=True):
        for field, wanted in zip(batch, expected, strict=True):
            np.testing.assert_array_equal(field, wanted)


def test_the_steps_of_a_call_are_as_many_as_they_are_said_to_be(examples_dir, monkeypatch):
    monkeypatch.setattr(packing, "_MOST_STEPS_AT_ONCE", 3)
    examples = PackedExamples(examples_dir, CONFIG)

    assert examples.shape.num_steps <= 3
    assert examples.shape.num_calls > 1


def test_a_missing_file_is_named(tmp_path, examples_writer, sequences):
    examples_writer(tmp_path / "examples", sequences, 40, 8)
    path = sorted((tmp_path / "examples" / "Split-train").iterdir())[0]
    path.unlink()

    with pytest.raises(InputError, match=path.name):
        PackedExamples(tmp_path / "examples", CONFIG)


def test_a_file_that_was_cut_off_is_an_error(tmp_path, examples_writer, sequences):
    examples_writer(tmp_path / "examples", sequences, 40, 8)
    path = sorted((tmp_path / "examples" / "Split-train").iterdir())[-1]
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises((tf.errors.DataLossError, tf.errors.FailedPreconditionError)):
        PackedExamples(tmp_path / "examples", CONFIG)


def test_a_stream_starts_within_an_epoch(examples_dir):
    examples = PackedExamples(examples_dir, CONFIG.override(["train.batch_slots=8"]))
    whole = list(examples.stream(1).dataset)
    assert examples.calls_per_epoch > 1

    rest = list(examples.stream(1, first_step=1).dataset)

    assert len(rest) == len(whole) - 1
    for batch, expected in zip(rest, whole[1:], strict=True):
        np.testing.assert_array_equal(batch.history_ids, expected.history_ids)
