"""Features of a sequence are read once, and say what they do where each part reads them itself."""

import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.features import PackedBatch, SequenceBatch
from recall.models.dssrec import DSSRec
from recall.vocabulary import ItemVocabulary

SEQUENCES = [[2, 3, 4, 5, 6, 7], [9, 8, 2], [20, 21, 22, 23], [31, 2]]
WIDTH, NUM_ITEMS = 6, 30
SEED = tf.constant([4, 8], tf.int64)
OF_ITEMS = [
    {"name": "tags", "owner": "item", "kind": "categorical", "max_values": 2, "min_count": 1},
    {"name": "price", "owner": "item", "kind": "numeric"},
]
OF_EVENTS = [
    {"name": "device", "owner": "event", "kind": "categorical"},
    {"name": "paid", "owner": "event", "kind": "numeric"},
]


def build_model(*assignments):
    config = RecallConfig().override(
        [
            "model.dim=8",
            "model.num_interests=3",
            "model.max_history_length=5",
            "model.feed_forward_dim=12",
            "model.num_blocks=1",
            "features.embedding_dim=4",
            "features.hidden_dim=6",
            "loss.num_negatives=12",
            "loss.seq2seq_weight=1",
            "loss.confident_fraction=1",
            "loss.temperature=0.5",
            f"features.columns={json.dumps(OF_ITEMS + OF_EVENTS)}",
            *assignments,
        ]
    )
    rng = np.random.default_rng(2)
    tags = [
        [f"t{number}" for number in rng.integers(0, 4, size)] for size in rng.integers(0, 3, 30)
    ]
    table = pa.table({"tags": tags, "price": rng.normal(size=NUM_ITEMS)})
    counts = np.arange(NUM_ITEMS) % 5  # Some without a click: these have no id embedding.
    features = ItemFeatures.fit([FeatureColumn(**c) for c in OF_ITEMS], table, counts)
    of_events = [
        FittedColumn(FeatureColumn(**OF_EVENTS[0]), ("a", "b", "c")),
        FittedColumn(FeatureColumn(**OF_EVENTS[1]), mean=0.5, stddev=2.0),
    ]
    vocabulary = ItemVocabulary(
        [f"i{i}" for i in range(NUM_ITEMS)], counts=counts.tolist(), features=features
    ).with_log_columns(of_events)
    model = DSSRec(config, vocabulary)
    model(np.array([[2]]))
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


def both_forms():
    """The sequences, one to a row; packed with their futures as columns of their own."""
    rng = np.random.default_rng(8)
    item_ids, future_ids = (np.zeros([len(SEQUENCES), WIDTH], np.int64) for _ in range(2))
    slots = np.zeros([len(SEQUENCES), WIDTH, 1], np.int32)
    numbers = np.zeros([len(SEQUENCES), WIDTH, 2], np.float32)
    columns = {
        "future_slots": np.zeros([len(SEQUENCES), WIDTH - 1, 1], np.int32),
        "future_numbers": np.zeros([len(SEQUENCES), WIDTH - 1, 2], np.float32),
    }
    first_slots = np.tile(np.arange(WIDTH - 1, dtype=np.int32), [len(SEQUENCES), 1])
    for row, sequence in enumerate(SEQUENCES):
        size = len(sequence)
        item_ids[row, :size], future_ids[row, : size - 1] = sequence, sequence[:0:-1]
        slots[row, :size, 0] = rng.integers(0, 5, size)
        numbers[row, :size, 0] = rng.normal(size=size)
        columns["future_slots"][row, : size - 1] = slots[row, size - 1 : 0 : -1]
        columns["future_numbers"][row, : size - 1] = numbers[row, size - 1 : 0 : -1]
        first_slots[row, : size - 1] = 0
    columns |= {"event_slots": slots[:, :-1], "event_numbers": numbers[:, :-1]}
    packed = PackedBatch(
        tf.constant(item_ids[:, :-1], tf.int32),
        tf.constant(item_ids[:, 1:], tf.int32),
        tf.constant(future_ids[:, :-1], tf.int32),
        tf.constant(first_slots),
        tf.range(len(SEQUENCES)) * (WIDTH - 1),
        tf.constant([len(sequence) - 1 for sequence in SEQUENCES]),
        {name: tf.constant(values) for name, values in columns.items()},
    )
    columns = {"event_slots": tf.constant(slots), "event_numbers": tf.constant(numbers)}
    return SequenceBatch(tf.constant(item_ids), columns), packed


def losses_and_gradients(model, batch):
    with tf.GradientTape() as tape:
        terms = model.compute_losses(batch, SEED)
        losses = tf.stack([terms.seq2item, terms.seq2seq])
        total = tf.reduce_sum(losses)
    gradients = tape.gradient(total, model.trainable_variables)
    return losses.numpy(), [
        None if gradient is None else tf.convert_to_tensor(gradient).numpy()
        for gradient in gradients
    ]


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["model.extractor=routing", "loss.negatives=interest_queues"],
        ["model.pools=items"],
    ],
)
def test_reading_features_once_changes_neither_losses_nor_gradients(assignments):
    """Packed batches read them for the past, for the next clicks and for the future."""
    model = build_model(*assignments)
    padded, packed = both_forms()
    losses, gradients = losses_and_gradients(model, padded)
    expected, expected_gradients = losses_and_gradients(model, packed)
    assert expected[1] > 0
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for variable, found, wanted in zip(
        model.trainable_variables, gradients, expected_gradients, strict=True
    ):
        assert (found is None) == (wanted is None), variable.name
        if found is not None:
            scale = max(np.abs(wanted).max(), 1e-3)
            np.testing.assert_allclose(
                found / scale, wanted / scale, atol=2e-4, err_msg=variable.name
            )


def test_networks_of_features_run_once_over_a_sequence(monkeypatch):
    """Items of the sequences, and the negatives; events of the sequences, and nothing as a row."""
    model, (padded, _) = build_model(), both_forms()
    rows = {"items": [], "events": []}
    networks = {
        "items": model.item_tower.network,
        "events": model.user_tower.event_features.network,
    }
    for name, network in networks.items():

        def count(encoded, name=name, call=network.call):
            rows[name].append(tuple(encoded.slots.shape[:-1]))
            return call(encoded)

        monkeypatch.setattr(network, "call", count)
    model.compute_losses(padded, SEED, training=True)
    assert rows == {
        "items": [(len(SEQUENCES), WIDTH), (12,)],
        "events": [(len(SEQUENCES) * WIDTH + 1,)],
    }
