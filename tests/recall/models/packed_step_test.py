"""A step on packed rows is that on padded ones, and stays the same when it is compiled."""

import itertools
import re

import numpy as np
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.features import PackedBatch, SequenceBatch
from recall.layers.extractor import WantedPrefixes
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from recall.vocabulary import ItemVocabulary

NUM_ITEMS, WIDTH = 30, 8
SEQUENCES = [[2, 3, 4, 5, 6, 7], [9, 8, 2], [20, 21, 22, 23], [31, 2], [11, 12, 11, 14, 3]]
ROWS = [[0, 1], [2, 3], [4]]  # 5 + 2, 3 + 1 and 4 slots.

EXTRACTORS = ("dssrec", "last_state", "self_attentive", "capsule", "routing")
LOSSES = [
    *itertools.product(["uniform", "queue"], ["max", "sum", "argmax"]),
    *itertools.product(["full"], ["max", "argmax"]),
    ("popular", "max"),
    ("in_batch", "max"),
    ("interest_queues", "max"),
]
FAST = [
    ("dssrec", ("uniform", "max")),
    ("capsule", ("uniform", "sum")),
    ("last_state", ("uniform", "argmax")),
    ("routing", ("queue", "max")),
    ("self_attentive", ("queue", "sum")),
    ("dssrec", ("queue", "argmax")),
    ("last_state", ("full", "max")),
    ("capsule", ("full", "argmax")),
    ("self_attentive", ("popular", "max")),
    ("routing", ("in_batch", "max")),
    ("dssrec", ("interest_queues", "max")),
]
"""Each loss with one extractor: they meet in vectors alone. The others are slow tests."""

CASES = [
    pytest.param(extractor, losses, marks=[] if (extractor, losses) in FAST else pytest.mark.slow)
    for extractor, losses in itertools.product(EXTRACTORS, LOSSES)
    if extractor != "capsule" or losses[1] != "max"  # Whose capsules tie; rounding chooses.
]
OPTIONS = {
    "gated": ["model.block=gated"],
    "no_filter": ["model.filter_share=0"],
    "items": ["model.pools=items", "model.clusters=items", "loss.min_pair_weight=0.1"],
    "gate": ["model.residual_form=gate"],
    "overlap": ["loss.overlap_weight=1"],
    "in_order": ["loss.reverse_future=false"],
    "k_by_user": ["model.min_interest_weight=.3"],
    "of_user": ["loss.confident_of=user"],
    "no_clusters": ["model.clustering=false", "model.weighting=false", "model.future_bias=false"],
    "anchors": ["loss.seq2seq_anchors=3"],
    "future_queue": ["loss.seq2seq_queue=8", "loss.seq2seq_anchors=2"],
    "warm_up": ["loss.seq2seq_warm_up_steps=2", "loss.stop_future_gradient=true"],
}
TOGETHER = [
    ["gated", "overlap", "future_queue"],
    ["no_filter", "k_by_user", "anchors"],
    ["items", "gate", "of_user", "warm_up"],
    ["no_clusters", "in_order"],
]
"""Each option in one model; alone they are slow tests."""


def pack(sequences, rows, num_rows):
    """A `PackedBatch` with lists, slot by slot; rows beyond those that are given are padding."""
    shape = [num_rows, WIDTH]
    history, positive, future = (np.zeros(shape, np.int32) for _ in range(3))
    first = np.tile(np.arange(WIDTH, dtype=np.int32), [num_rows, 1])
    starts, lengths = (np.zeros(len(sequences) + 1, np.int32) for _ in range(2))
    for row, members in enumerate(rows):
        slot = 0
        for member in members:
            ids, length = sequences[member], len(sequences[member]) - 1
            place = slice(slot, slot + length)
            history[row, place], positive[row, place] = ids[:-1], ids[1:]
            future[row, place], first[row, place] = ids[:0:-1], slot
            starts[member], lengths[member] = row * WIDTH + slot, length
            slot += length
    fields = (history, positive, future, first, starts, lengths)
    return PackedBatch(*(tf.constant(field) for field in fields))


def pad(sequences, num_rows):
    """The same as rows of their own; a row more, as anchors are drawn for all rows."""
    ids = np.zeros([num_rows, max(map(len, sequences))], np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return SequenceBatch(tf.constant(ids))


PADDED, PACKED = pad(SEQUENCES, 6), pack(SEQUENCES, ROWS, num_rows=4)


def build(extractor, negatives, reduction, *assignments, has_static_shapes):
    tf.keras.utils.set_random_seed(1)
    # Clicks whose capsules tie would be given away by rounding.
    share = 0 if extractor == "capsule" else 0.6
    config = RecallConfig().override(
        [
            f"model.extractor={extractor}",
            f"loss.negatives={negatives}",
            f"loss.interest_reduction={reduction}",
            "model.dim=8",
            "model.num_interests=3",
            "model.max_history_length=6",
            "model.feed_forward_dim=12",
            "model.num_blocks=1",
            "loss.num_negatives=12",
            "loss.seq2seq_weight=0.5",
            "loss.confident_fraction=0.5",
            "loss.temperature=0.5",
            f"loss.min_interest_share={share}",
            *assignments,
        ]
    )
    model = DSSRec(
        config, ItemVocabulary([f"i{i}" for i in range(NUM_ITEMS)], counts=range(NUM_ITEMS))
    )
    # Adam's usual epsilon makes whole steps of rounding errors, where a gradient is zero.
    optimizer = RowwiseAdam(0.01, epsilon=1e-4, has_static_shapes=has_static_shapes)
    model.compile(optimizer=optimizer)
    model(np.array([[2]]))
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(3)
    for weight in model.weights:  # Positions and biases large enough to be seen.
        if "positions" in weight.name or "bias" in weight.name:
            weight.assign(rng.normal(size=weight.shape))
    return model


def assert_same(model, other, logs, other_logs, tolerance):
    assert set(logs) == set(other_logs)
    has_ties = "capsule" in str(type(model.user_tower._extractor)).lower()
    for name, value in logs.items():
        if has_ties and name.startswith("gradient"):
            continue  # All capsules of one click point the same way: rounding says which is best.
        np.testing.assert_allclose(other_logs[name], value, atol=tolerance, err_msg=name)
    for weight, wanted in zip(other.weights, model.weights, strict=True):
        np.testing.assert_allclose(weight, wanted, atol=tolerance, err_msg=wanted.name)


@pytest.mark.parametrize(("extractor", "losses"), CASES)
def test_packed_steps_are_padded_ones(extractor, losses):
    # Dropout would fall on other places.
    settings = (extractor, *losses, "model.dropout_rate=0")
    padded = build(*settings, has_static_shapes=False)
    packed = build(*settings, has_static_shapes=True)

    for _ in range(3 if "queue" in losses[0] else 2):  # It has the clicks of the steps before.
        logs, packed_logs = padded.train_step(PADDED), packed.train_step(PACKED)

    assert_same(padded, packed, logs, packed_logs, tolerance=1e-5)


@pytest.mark.parametrize(
    "names",
    [*TOGETHER, *(pytest.param([name], marks=pytest.mark.slow) for name in OPTIONS)],
    ids=" ".join,
)
def test_packed_steps_are_padded_ones_with_every_option(names):
    options = itertools.chain(*(OPTIONS[name] for name in names))
    settings = ("dssrec", "uniform", "max", "model.dropout_rate=0", *options)
    padded = build(*settings, has_static_shapes=False)
    packed = build(*settings, has_static_shapes=True)

    for _ in range(3 if {"future_queue", "warm_up"} & {*names} else 2):
        logs, packed_logs = padded.train_step(PADDED), packed.train_step(PACKED)

    assert_same(padded, packed, logs, packed_logs, tolerance=1e-5)


def test_the_fast_ones_have_each_loss_and_each_option():
    assert [losses for _, losses in FAST] == LOSSES
    assert sorted(itertools.chain(*TOGETHER)) == sorted(OPTIONS)


def test_sequences_of_one_row_do_not_see_each_other():
    model = build("dssrec", "uniform", "max", has_static_shapes=True)
    changed = [[2, 30, 29, 28, 27, 26], *SEQUENCES[1:]]  # The first of its row.
    vectors = [
        model.user_tower.encode_prefixes(
            batch.history_ids, WantedPrefixes(first_slots=batch.first_slots)
        ).user_vectors.numpy()
        for batch in (PACKED, pack(changed, ROWS, num_rows=4))
    ]

    np.testing.assert_array_equal(vectors[0][0, 5:7], vectors[1][0, 5:7])
    assert (vectors[0][0, 1:5] != vectors[1][0, 1:5]).any(axis=(1, 2)).all()


def test_several_steps_in_one_call_are_steps_one_after_the_other():
    settings = ("last_state", "queue", "max")
    one, several = (build(*settings, has_static_shapes=True) for _ in range(2))
    other = pack([sequence[::-1] for sequence in SEQUENCES], ROWS, num_rows=4)

    logs = [one.train_step(batch) for batch in (PACKED, other)]
    mean = {name: (logs[0][name] + logs[1][name]) / 2 for name in logs[0]}
    stacked = tf.nest.map_structure(lambda *fields: tf.stack(fields), PACKED, other)
    several_logs = several.train_step(stacked)

    assert int(several.optimizer.iterations) == 2
    assert_same(one, several, mean, several_logs, tolerance=1e-6)


def check_compiled(extractor, negatives, reduction, *assignments, tolerance=1e-5):
    """Three steps, two of them in one call, with dropout: what is drawn has to be the same."""
    settings = (extractor, negatives, reduction, "model.dropout_rate=.3", *assignments)
    plain, compiled = (build(*settings, has_static_shapes=True) for _ in range(2))
    batches = tf.nest.map_structure(lambda field: tf.stack([field, field]), PACKED)
    step = tf.function(plain.train_step)
    compiled_step = tf.function(compiled.train_step, jit_compile=True)

    for _ in range(2):
        logs, compiled_logs = step(batches), compiled_step(batches)

    assert compiled_step.experimental_get_tracing_count() == 1
    assert_same(plain, compiled, logs, compiled_logs, tolerance)


def test_a_compiled_step_is_the_plain_one():
    check_compiled("dssrec", "queue", "max")


@pytest.mark.slow
def test_a_compiled_step_with_a_queue_of_futures_is_the_plain_one():
    check_compiled("last_state", "uniform", "max", "loss.seq2seq_queue=8", "loss.seq2seq_anchors=2")


@pytest.mark.slow
def test_a_compiled_step_with_every_option_is_the_plain_one():
    check_compiled("dssrec", "full", "max", "model.block=gated", "model.filter_share=.4")


def test_one_compiled_step_serves_all_seeds():
    programs = []
    for seed in (1, 2):
        model = build("dssrec", "uniform", "max", f"train.seed={seed}", has_static_shapes=True)
        step = tf.function(model.train_step, jit_compile=True)
        programs.append(step.experimental_get_compiler_ir(PACKED)(stage="hlo"))
        assert not any(weight.dtype.is_integer for weight in model.weights)

    # Functions are numbered through the program.
    texts = [re.sub(r"_\d+", "", program) for program in programs]
    assert texts[0] == texts[1]


@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="there is no GPU")
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_a_gpu_gives_the_numbers_of_the_processor(extractor):
    """Products in whole float32; sums are added in another order."""
    reduction = "sum" if extractor == "capsule" else "max"  # Capsules tie; rounding chooses.
    settings = (extractor, "queue", reduction, "model.dropout_rate=.3")
    models, logs = {}, {}
    for device in ("CPU:0", "GPU:0"):
        with tf.device(device):
            models[device] = build(*settings, has_static_shapes=True)
            step = tf.function(models[device].train_step, jit_compile=device == "GPU:0")
            for _ in range(3):
                logs[device] = step(PACKED)

    assert_same(*models.values(), *logs.values(), tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("extractor", EXTRACTORS)
@pytest.mark.parametrize(("negatives", "reduction"), LOSSES)
def test_every_compiled_step_is_the_plain_one(extractor, negatives, reduction):
    if extractor == "capsule" and (negatives == "interest_queues" or reduction == "max"):
        pytest.skip("Rounding says which interest is the best: all capsules of one click tie.")
    # A wrong step is .01 off; Adam makes 3e-5 of the rounding of a gradient that is nearly zero.
    check_compiled(extractor, negatives, reduction, tolerance=1e-4)


@pytest.mark.parametrize(
    "extractor",
    [
        pytest.param(name, marks=[] if name == "dssrec" else pytest.mark.slow)
        for name in EXTRACTORS
        if name != "capsule"
    ],
)
def test_bfloat16_learns_what_float32_does(extractor):
    """Weights and user vectors stay float32; a step differs by the rounding of its products."""
    settings = (extractor, "uniform", "max", "model.dropout_rate=0", "loss.min_interest_share=0")
    exact = build(*settings, has_static_shapes=True)
    rounded = build(*settings, "train.compute_dtype=bfloat16", has_static_shapes=True)

    assert {weight.dtype for weight in rounded.trainable_weights} == {tf.float32}
    assert rounded(PADDED.history_ids).dtype == tf.float32
    np.testing.assert_allclose(rounded(PADDED.history_ids), exact(PADDED.history_ids), atol=0.05)
    assert (rounded(PADDED.history_ids).numpy() != exact(PADDED.history_ids).numpy()).any()
    for _ in range(5):
        logs, rounded_logs = exact.train_step(PACKED), rounded.train_step(PACKED)
    assert float(logs["loss"]) == pytest.approx(float(rounded_logs["loss"]), rel=0.05)


def test_a_policy_of_the_program_is_left_as_it_was():
    before = tf.keras.mixed_precision.global_policy()

    build("last_state", "uniform", "max", "train.compute_dtype=bfloat16", has_static_shapes=True)

    assert tf.keras.mixed_precision.global_policy() is before
