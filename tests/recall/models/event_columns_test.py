"""Weights of targets, items that were shown, times: in padded and in packed batches."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.training.packing import PackedColumns, PackedShape, pack_epoch
from recall.config import RecallConfig
from recall.features import SHOWN, TARGET_WEIGHTS, TIMES, PackedBatch, SequenceBatch
from recall.losses.negatives import sample_uniform_negatives
from recall.models.dssrec import DSSRec
from recall.models.prefixes import encode_packed, encode_padded
from recall.ragged import Ragged
from recall.towers import KnownBeside
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


TIMES_OF = [[100 + 60 * event**3 for event in range(len(sequence))] for sequence in SEQUENCES]


def with_times(to_batch):
    """A batch of `SEQUENCES` whose events are at `TIMES_OF`, from 1 in each sequence."""
    times = [np.array(of_events) - of_events[0] + 1 for of_events in TIMES_OF]
    if to_batch is packed:
        shape = PackedShape(num_calls=1, num_steps=1, num_rows=3, width=8, max_sequences=4)
        columns = PackedColumns(times=np.concatenate(times).astype(np.int32))
        sequences = Ragged.from_rows(SEQUENCES)
        (fields,) = pack_epoch(sequences, shape, seed=1, epoch=0, columns=columns)
        fields = {name: tf.constant(values[0]) for name, values in fields.items()}
        named = {name: fields.pop(name) for name in columns.types}
        return PackedBatch(**fields, columns=named)
    batch = padded()
    pairs = np.zeros([*batch.history_ids.shape, 2], np.int32)
    for row, of_events in enumerate(times):
        pairs[row, : len(of_events) - 1] = np.stack([of_events[:-1], of_events[1:]], axis=1)
    return batch._replace(columns={TIMES: tf.constant(pairs)})


def timed_model(*assignments):
    model = build_model("model.time_bias=true", "loss.seq2seq_weight=1", *assignments)
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if "time_bias" in weight.name or "gaps" in weight.name:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


@pytest.mark.parametrize("extractor", ["dssrec", "last_state", "self_attentive"])
def test_both_forms_of_batch_have_the_same_times(extractor):
    model = timed_model(f"model.extractor={extractor}")
    one, other = (model.compute_losses(with_times(form), SEED) for form in (padded, packed))
    np.testing.assert_allclose(one.seq2item, other.seq2item, rtol=1e-4)
    plain = model.compute_losses(padded(), SEED)
    assert abs(float(one.seq2item - plain.seq2item)) > 1e-4
    # The future of a sequence is it in reverse, with its gaps.
    np.testing.assert_allclose(
        *(encode_futures(model, with_times(form)) for form in (padded, packed)),
        rtol=1e-3,
        atol=1e-5,
    )


def encode_futures(model, batch):
    """Interests of every whole future, by the first item of the history."""
    encode = encode_packed if isinstance(batch, PackedBatch) else encode_padded
    prefixes = encode(model.user_tower, batch, training=False)
    last = np.maximum(prefixes.lengths.numpy() - 1, 0)
    found = prefixes.encode_future(tf.constant(last)).user_vectors.numpy()
    ids = tf.reshape(batch.history_ids, [-1]).numpy()
    if isinstance(batch, PackedBatch):
        first = ids[prefixes.starts.numpy()]
    else:
        first = batch.history_ids[:, 0].numpy()
    order = np.argsort(first)
    return found[order]


def test_a_prefix_sees_the_times_of_whole_histories_alike():
    model = timed_model()
    batch = with_times(padded)
    prefixes = encode_padded(model.user_tower, batch, training=False).user_vectors.numpy()
    at = 0
    for sequence, times in zip(SEQUENCES, TIMES_OF, strict=True):
        for event in range(1, len(sequence)):
            pairs = np.stack([times[:event], times[1 : event + 1]], axis=1)[np.newaxis]
            user = model.user_tower(
                np.array([sequence[:event]]), known=KnownBeside(times=tf.constant(pairs))
            )
            np.testing.assert_allclose(user.user_vectors[0], prefixes[at], rtol=1e-3, atol=1e-5)
            at += 1


def test_without_times_a_model_answers_as_if_none_were_known():
    model = timed_model()
    histories = np.array([[2, 3, 4]])
    unknown = model.user_tower(histories, known=KnownBeside(times=tf.zeros([1, 3, 2], tf.int64)))
    np.testing.assert_allclose(
        model.user_tower(histories).user_vectors, unknown.user_vectors, rtol=1e-5
    )
    known = model.user_tower(
        histories, known=KnownBeside(times=tf.constant([[[5, 6], [6, 90], [90, 4000]]]))
    )
    assert np.abs(known.user_vectors - unknown.user_vectors).max() > 1e-3


def test_times_are_not_looked_at_by_other_models():
    model = build_model()
    histories, times = np.array([[2, 3]]), tf.constant([[[5, 6], [6, 900]]])
    np.testing.assert_array_equal(
        model.user_tower(histories, known=KnownBeside(times=times)).user_vectors,
        model.user_tower(histories).user_vectors,
    )


@pytest.mark.slow
def test_a_compiled_step_learns_from_times():
    model = timed_model("train.jit_compile=true", "model.dropout_rate=0.1")
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    (table,) = [weight for weight in model.weights if "gaps" in weight.name]
    before = table.numpy()
    step = tf.function(model.train_step, jit_compile=True)
    assert np.isfinite(step(with_times(packed))["loss"].numpy())
    changed = np.flatnonzero(np.abs(table.numpy() - before).max(axis=1) > 0)
    assert 0 < len(changed) < 20
    assert 0 not in changed
