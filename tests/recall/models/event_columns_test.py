"""Targets that count more or less, and items that were shown: in padded and in packed batches."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.training.packing import PackedColumns, PackedShape, pack_epoch
from recall.config import RecallConfig
from recall.features import SHOWN, TARGET_WEIGHTS, PackedBatch, SequenceBatch
from recall.losses.negatives import sample_uniform_negatives
from recall.models.dssrec import DSSRec
from recall.ragged import Ragged
from recall.vocabulary import ItemVocabulary

NUM_ITEMS = 30
SEQUENCES = [[2, 3, 4, 5, 6, 7], [9, 8, 2], [20, 21, 22, 23], [31, 2]]
SEED = tf.constant([4, 8], tf.int64)
SHOWN_BEFORE = {(0, 2): [17, 4], (2, 1): [3], (2, 3): [5, 6, 7], (3, 1): [2, 11]}
"""(sequence, event) -> items; a click itself may be among them."""


def build_model(*assignments):
    config = RecallConfig().override(
        [
            "model.dim=8",
            "model.num_interests=3",
            "model.max_history_length=6",
            "model.feed_forward_dim=12",
            "model.num_blocks=1",
            "loss.num_negatives=12",
            "loss.seq2seq_weight=0",
            "loss.temperature=0.5",
            "loss.min_interest_share=0",
            *assignments,
        ]
    )
    tf.keras.utils.set_random_seed(1)
    model = DSSRec(config, ItemVocabulary([f"i{i}" for i in range(NUM_ITEMS)]))
    model(np.array([[2]]))
    return model


def draw_weights():
    rng = np.random.default_rng(6)
    return [rng.choice([0.0, 0.1, 1.0, 3.0], len(sequence)) for sequence in SEQUENCES]


def padded(weights=None, shown=False):
    width = max(map(len, SEQUENCES))
    item_ids = np.zeros([len(SEQUENCES), width], np.int64)
    columns = {}
    for row, sequence in enumerate(SEQUENCES):
        item_ids[row, : len(sequence)] = sequence
    if weights is not None:
        columns[TARGET_WEIGHTS] = np.zeros([len(SEQUENCES), width - 1], np.float32)
        for row, of_events in enumerate(weights):
            columns[TARGET_WEIGHTS][row, : len(of_events) - 1] = of_events[1:]
    if shown:
        columns[SHOWN] = np.zeros([len(SEQUENCES), width - 1, 3], np.int64)
        for (row, event), items in SHOWN_BEFORE.items():
            columns[SHOWN][row, event - 1, : len(items)] = items
    columns = {name: tf.constant(values) for name, values in columns.items()}
    return SequenceBatch(tf.constant(item_ids), columns)


def packed(weights=None, shown=False):
    sequences = Ragged.from_rows(SEQUENCES)
    rows = [
        SHOWN_BEFORE.get((row, event), [])
        for row, sequence in enumerate(SEQUENCES)
        for event in range(len(sequence))
    ]
    columns = PackedColumns(
        None if weights is None else np.concatenate(weights).astype(np.float32),
        Ragged.from_rows(rows) if shown else None,
    )
    shape = PackedShape(num_calls=1, num_steps=1, num_rows=3, width=8, max_sequences=4)
    (fields,) = pack_epoch(sequences, shape, seed=1, epoch=0, columns=columns)
    fields = {name: tf.constant(values[0]) for name, values in fields.items()}
    named = {name: fields.pop(name) for name in columns.types}
    return PackedBatch(**fields, columns=named)


def losses_of_targets(model, shown=False):
    """The loss of every target by numpy, row by row: each with its negatives alone."""
    negatives = sample_uniform_negatives(NUM_ITEMS, 12, SEED).numpy()
    vectors = model.item_tower(np.arange(NUM_ITEMS + 2)).numpy().astype(np.float64)
    losses = []
    for row, sequence in enumerate(SEQUENCES):
        for event in range(1, len(sequence)):
            user = model.user_tower(np.array([sequence[:event]])).user_vectors[0].numpy()
            others = [item for item in negatives if item != sequence[event]]
            if shown:
                of_click = SHOWN_BEFORE.get((row, event), [])
                others += [item for item in of_click if item != sequence[event]]
            logits = (user @ vectors[[sequence[event], *others]].T).max(axis=0) / 0.5
            losses.append(np.log(np.exp(logits).sum()) - logits[0])
    return np.array(losses)


@pytest.mark.parametrize("to_batch", [padded, packed])
def test_targets_count_as_their_weights_say(to_batch):
    model, weights = build_model(), draw_weights()
    of_targets = np.concatenate([of_events[1:] for of_events in weights])
    assert (of_targets == 0).any()
    expected = (losses_of_targets(model) * of_targets).sum() / of_targets.sum()
    found = model.compute_losses(to_batch(weights), SEED).seq2item
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("to_batch", [padded, packed])
def test_items_that_were_shown_are_negatives_of_their_click_alone(to_batch):
    model = build_model()
    without, expected = losses_of_targets(model), losses_of_targets(model, shown=True)
    assert (expected > without + 1e-6).sum() == len(SHOWN_BEFORE)
    found = model.compute_losses(to_batch(shown=True), SEED).seq2item
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-4)


@pytest.mark.parametrize(
    ("negatives", "reduction"),
    [
        ("full", "max"),
        ("full", "argmax"),
        ("queue", "max"),
        ("queue", "sum"),
        ("uniform", "argmax"),
        ("interest_queues", "max"),
    ],
)
def test_both_forms_of_batch_have_one_loss_whatever_the_negatives(negatives, reduction):
    model = build_model(f"loss.negatives={negatives}", f"loss.interest_reduction={reduction}")
    weights = draw_weights()
    one = model.compute_losses(padded(weights, shown=True), SEED).seq2item
    other = model.compute_losses(packed(weights, shown=True), SEED).seq2item
    without = model.compute_losses(packed(weights), SEED).seq2item
    np.testing.assert_allclose(one, other, rtol=1e-4)
    assert other > without


def test_a_step_of_targets_that_count_nothing_changes_nothing():
    model = build_model()
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    before = [weight.numpy() for weight in model.trainable_variables]
    losses = model.train_step(padded([np.zeros(len(sequence)) for sequence in SEQUENCES]))
    assert losses["loss"].numpy() == 0
    for weight, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_interests_that_starve_get_no_click_that_counts_nothing():
    model = build_model("loss.min_interest_share=1", "loss.seq2seq_weight=0")
    weights = draw_weights()
    kept = np.concatenate([of_events[1:] for of_events in weights]) > 0
    terms = model.compute_losses(padded(weights), SEED, training=True)
    plain = model.compute_losses(padded(), SEED).winners.numpy()
    np.testing.assert_array_equal(terms.winners.numpy()[~kept], plain[~kept])


def test_several_steps_of_one_batch():
    model, batch = build_model(), packed(draw_weights(), shown=True)
    model.compile(optimizer=tf.keras.optimizers.SGD(0.0))
    both = tf.nest.map_structure(lambda tensor: tf.stack([tensor, tensor]), batch)
    losses = model.train_step(both)
    assert np.isfinite(losses["loss"].numpy())
    counts = model.count_terms(both).numpy()
    expected = np.concatenate([of_events[1:] for of_events in draw_weights()]).sum()
    np.testing.assert_allclose(counts[:, 0], [expected] * 2, rtol=1e-6)
