"""Features of events and requests in training: both forms of batch, and what a slot may see."""

import json

import numpy as np
import pytest
import tensorflow as tf

from pipelines.training.packing import PackedColumns, PackedShape, pack_epoch
from recall.config import RecallConfig
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.encoder import Encoded
from recall.feature_columns.fitting import FittedColumn
from recall.features import PackedBatch, SequenceBatch
from recall.models.dssrec import DSSRec
from recall.models.prefixes import encode_packed, encode_padded
from recall.ragged import Ragged
from recall.towers import KnownBeside
from recall.vocabulary import ItemVocabulary

SEQUENCES = [[2, 3, 4, 5, 6, 7], [9, 8, 2], [20, 21, 22, 23], [31, 2]]
SEED = tf.constant([4, 8], tf.int64)
DECLARED = [
    {"name": "device", "owner": "event", "kind": "categorical"},
    {"name": "price", "owner": "event", "kind": "numeric"},
    {"name": "place", "owner": "request", "kind": "categorical"},
]
COLUMNS = [
    FittedColumn(FeatureColumn("device", "event", "categorical"), ("a", "b", "c")),
    FittedColumn(FeatureColumn("price", "event", "numeric"), mean=0.5, stddev=2.0),
    FittedColumn(FeatureColumn("place", "request", "categorical"), ("x", "y")),
]
NUM_EVENTS = sum(map(len, SEQUENCES))


def build_model(*assignments):
    config = RecallConfig().override(
        [
            "model.dim=8",
            "model.num_interests=3",
            "model.max_history_length=6",
            "model.feed_forward_dim=12",
            "model.num_blocks=1",
            "features.embedding_dim=4",
            "features.hidden_dim=6",
            "loss.num_negatives=12",
            "loss.seq2seq_weight=1",
            "loss.temperature=0.5",
            "loss.min_interest_share=0",
            f"features.columns={json.dumps(DECLARED)}",
            *assignments,
        ]
    )
    tf.keras.utils.set_random_seed(1)
    vocabulary = ItemVocabulary([f"i{i}" for i in range(30)]).with_log_columns(COLUMNS)
    model = DSSRec(config, vocabulary)
    model(np.array([[2]]))
    rng = np.random.default_rng(5)
    for layer in (model.user_tower.event_features, model.user_tower.request_features):
        for weight in layer.weights:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


def draw_values():
    """Slots and numbers of the clicks, and slots of the requests, of all events."""
    rng = np.random.default_rng(8)
    slots = rng.integers(0, 5, [NUM_EVENTS, 1]).astype(np.int32)
    numbers = np.stack([rng.normal(size=NUM_EVENTS), np.zeros(NUM_EVENTS)], 1).astype(np.float32)
    return slots, numbers, rng.integers(0, 4, [NUM_EVENTS, 1]).astype(np.int32)


def padded(values):
    slots, numbers, requests = values
    width = max(map(len, SEQUENCES))
    item_ids = np.zeros([len(SEQUENCES), width], np.int64)
    columns = {
        "event_slots": np.zeros([len(SEQUENCES), width, 1], np.int32),
        "event_numbers": np.zeros([len(SEQUENCES), width, 2], np.float32),
        "request_slots": np.zeros([len(SEQUENCES), width - 1, 1], np.int32),
        "request_numbers": np.zeros([len(SEQUENCES), width - 1, 0], np.float32),
    }
    start = 0
    for row, sequence in enumerate(SEQUENCES):
        item_ids[row, : len(sequence)] = sequence
        own, last = np.arange(start, start + len(sequence)), len(sequence) - 1
        for part, of_all in (("slots", slots), ("numbers", numbers)):
            columns[f"event_{part}"][row, : last + 1] = of_all[own]
        columns["request_slots"][row, :last] = requests[own[1:]]
        start += len(sequence)
    return SequenceBatch(
        tf.constant(item_ids), {name: tf.constant(v) for name, v in columns.items()}
    )


def packed(values):
    slots, numbers, requests = values
    nothing = np.zeros([NUM_EVENTS, 0], np.float32)
    columns = PackedColumns(events=(slots, numbers), requests=(requests, nothing))
    shape = PackedShape(num_calls=1, num_steps=1, num_rows=3, width=8, max_sequences=4)
    (fields,) = pack_epoch(Ragged.from_rows(SEQUENCES), shape, seed=1, epoch=0, columns=columns)
    fields = {name: tf.constant(values[0]) for name, values in fields.items()}
    named = {name: fields.pop(name) for name in columns.types}
    return PackedBatch(**fields, columns=named)


def prefix_vectors(model, batch):
    """`(sequence, slot)` -> interests, of both forms of batch."""
    encode = encode_packed if isinstance(batch, PackedBatch) else encode_padded
    prefixes = encode(model.user_tower, batch, training=False)
    vectors, firsts = prefixes.user_vectors.numpy(), {s[0]: s for s in SEQUENCES}
    ids = tf.reshape(batch.history_ids, [-1]).numpy()
    if isinstance(batch, SequenceBatch):
        ids = ids[tf.reshape(batch.positive_ids, [-1]).numpy() > 0]
    found = {}
    for start, length in zip(prefixes.starts.numpy(), prefixes.lengths.numpy(), strict=True):
        if length:
            row = SEQUENCES.index(firsts[ids[start]])
            found |= {(row, slot): vectors[start + slot] for slot in range(length)}
    return found


@pytest.mark.parametrize("extractor", ["dssrec", "last_state", "self_attentive"])
def test_both_forms_of_batch_see_the_same(extractor):
    model, values = build_model(f"model.extractor={extractor}"), draw_values()
    one, other = (prefix_vectors(model, form(values)) for form in (padded, packed))
    assert one.keys() == other.keys()
    for key, vectors in one.items():
        np.testing.assert_allclose(other[key], vectors, rtol=1e-3, atol=1e-5)
    losses = [model.compute_losses(form(values), SEED).seq2item for form in (padded, packed)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    plain = model.compute_losses(padded(values)._replace(columns={}), SEED).seq2item
    assert abs(float(losses[0] - plain)) > 1e-3


def test_both_forms_encode_the_same_futures():
    model, values, found = build_model(), draw_values(), []
    for form, encode in ((padded, encode_padded), (packed, encode_packed)):
        batch = form(values)
        prefixes = encode(model.user_tower, batch, training=False)
        last = np.maximum(prefixes.lengths.numpy() - 1, 0)
        vectors = prefixes.encode_future(tf.constant(last)).user_vectors.numpy()
        firsts = batch.history_ids[:, 0].numpy()
        if form is packed:
            firsts = tf.reshape(batch.history_ids, [-1]).numpy()[prefixes.starts.numpy()]
        found.append(vectors[np.argsort(firsts)])
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("form", [padded, packed])
def test_a_slot_is_a_whole_history_with_its_values(form):
    model, values = build_model(), draw_values()
    slots, numbers, requests = values
    found, start = prefix_vectors(model, form(values)), 0
    for row, sequence in enumerate(SEQUENCES):
        for event in range(1, len(sequence)):
            own = slice(start, start + event)
            answer = model.user_tower(
                np.array([sequence[:event]]),
                known=KnownBeside(
                    events=Encoded(tf.constant(slots[own])[None], tf.constant(numbers[own])[None]),
                    requests=Encoded(tf.constant(requests[[start + event]]), tf.zeros([1, 0])),
                ),
            )
            np.testing.assert_allclose(
                answer.user_vectors[0], found[row, event - 1], rtol=1e-3, atol=1e-5
            )
        start += len(sequence)


@pytest.mark.parametrize("form", [padded, packed])
def test_features_of_a_click_are_not_seen_where_it_is_predicted(form):
    """What an event says of itself (was it bought?) is not known before it."""
    model, values = build_model(), draw_values()
    before = prefix_vectors(model, form(values))
    for event in range(len(SEQUENCES[0])):
        slots, numbers, requests = (part.copy() for part in values)
        slots[event], numbers[event] = (slots[event] + 1) % 5, [3, 0]
        after = prefix_vectors(model, form((slots, numbers, requests)))
        for (row, slot), vectors in before.items():
            change = np.abs(after[row, slot] - vectors).max()
            if row == 0 and slot >= event:  # Slot s has click s, and is asked for click s + 1.
                assert change > 1e-4
            else:
                assert change < 1e-6


@pytest.mark.parametrize("form", [padded, packed])
def test_features_of_a_request_are_seen_where_it_is_answered_alone(form):
    model, values = build_model(), draw_values()
    before = prefix_vectors(model, form(values))
    for event in range(1, len(SEQUENCES[0])):
        slots, numbers, requests = (part.copy() for part in values)
        requests[event] = (requests[event] + 1) % 4
        after = prefix_vectors(model, form((slots, numbers, requests)))
        changed = {k for k, v in before.items() if np.abs(after[k] - v).max() > 1e-4}
        assert changed == {(0, event - 1)}


@pytest.mark.slow
def test_a_compiled_step_learns_from_both():
    model = build_model("train.jit_compile=true")
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    layers = (model.user_tower.event_features, model.user_tower.request_features)
    tables = [layer.network.table for layer in layers]
    before = [table.numpy() for table in tables]
    step = tf.function(model.train_step, jit_compile=True)
    assert np.isfinite(step(packed(draw_values()))["loss"].numpy())
    for table, old in zip(tables, before, strict=True):
        changed = np.abs(table.numpy() - old).max(axis=1) > 0
        assert changed[1:].all()
        assert not changed[0]  # The row of no value is in no mean.
