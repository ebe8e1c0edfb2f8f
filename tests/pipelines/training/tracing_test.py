"""The training step is traced once, whatever the batches of an epoch look like."""

import numpy as np
import pytest

from pipelines.artifacts import trained_model
from pipelines.training import input_pipeline, packed_input
from recall.config import RecallConfig
from recall.vocabulary import ItemVocabulary

NUM_ITEMS = 40
NUM_EPOCHS = 2
CONFIG = RecallConfig().override(
    [
        "model.dim=8",
        "model.num_interests=2",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=8",
        "loss.num_negatives=8",
        "train.batch_size=4",
        f"train.max_epochs={NUM_EPOCHS}",
    ]
)


@pytest.fixture(scope="module")
def examples_dir(tmp_path_factory, examples_writer):
    """Training windows of 2 to 9 items: buckets of 1, 2, 4 and 8 slots."""
    generator = np.random.default_rng(0)
    lengths = [4, 5, 5, 5, 5, 5, 6, 6, 7, 7, 7, 8, 8, 9, 10, 11, 11]
    folder = tmp_path_factory.mktemp("run") / "examples"
    sequences = [generator.integers(0, NUM_ITEMS, length).tolist() for length in lengths]
    examples_writer(folder, sequences, NUM_ITEMS, CONFIG.model.max_history_length)
    return folder


def test_all_buckets_and_smaller_last_batches_are_one_trace(examples_dir):
    data = input_pipeline.read_training_data(examples_dir, CONFIG)
    shapes = {tuple(batch.positive_ids.shape) for batch in data.dataset}
    assert len({width for _, width in shapes}) >= 4, "the data must have several widths"
    assert len({size for size, _ in shapes}) >= 2, "and batches that are not full"
    assert max(size for size, _ in shapes) == CONFIG.train.batch_size

    vocabulary = ItemVocabulary([f"i{number}" for number in range(NUM_ITEMS)])
    model = trained_model.build_model(CONFIG, vocabulary)
    model.fit(data.dataset, epochs=NUM_EPOCHS, steps_per_epoch=data.steps_per_epoch, verbose=0)
    assert int(model.optimizer.iterations) == NUM_EPOCHS * data.steps_per_epoch
    # TensorFlow's own count, not that of the Python function.
    assert model.train_tf_function.experimental_get_tracing_count() == 1


def test_a_compiled_step_is_one_trace_and_one_shape(examples_dir):
    config = CONFIG.override(
        [
            "train.jit_compile=true",
            "train.batch_slots=24",
            "model.extractor=last_state",
            "loss.seq2seq_weight=0",  # Half of what is compiled.
        ]
    )
    examples = packed_input.PackedExamples(examples_dir, config)
    data = examples.stream()
    assert len({batch.history_ids.shape for batch in data.dataset}) == 1

    vocabulary = ItemVocabulary([f"i{number}" for number in range(NUM_ITEMS)])
    model = trained_model.build_model(config, vocabulary)
    model.fit(data.dataset, epochs=NUM_EPOCHS, steps_per_epoch=data.steps_per_epoch, verbose=0)

    assert int(model.optimizer.iterations) == NUM_EPOCHS * examples.steps_per_epoch
    assert model.train_tf_function.experimental_get_tracing_count() == 1
