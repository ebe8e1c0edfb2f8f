"""Every setting of model and losses beside every other one: refused in one line, or it learns.

Rows of settings that go together are made so that each pair of them is in one: some sixty
trainings in the place of a thousand.
"""

import dataclasses
import functools
import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.features import SequenceBatch
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from tests.category_features import with_categories_as_feature
from tests.conformance import combinations_test, models_test

OF_USERS = [FeatureColumn("country", "user", "categorical", min_count=1)]
OF_LOG = [
    FittedColumn(FeatureColumn("device", "event", "categorical"), ("a", "b", "c")),
    FittedColumn(FeatureColumn("price", "event", "numeric"), mean=0.5, stddev=2.0),
    FittedColumn(FeatureColumn("place", "request", "categorical"), ("x", "y")),
]


def declare(columns):
    """`--set=` of features, without what is a default of their kind."""
    names = ("name", "owner", "kind", "min_count")
    plain = [
        {name: value for name in names if (value := getattr(one, name)) is not None}
        for one in columns
    ]
    return f"features.columns={json.dumps(plain)}"


FEATURES_OF_USERS = declare(OF_USERS)
FEATURES_OF_LOG = declare([one.column for one in OF_LOG])

CHOICES = (
    *((f"model.extractor={name}",) for name in ("last_state", "self_attentive", "capsule")),
    ("model.extractor=routing",),
    ("model.extractor=routing", "model.num_prototypes=6"),
    ("model.num_interests=1",),
    ("model.num_heads=2",),
    ("model.block=gated",),
    ("model.filter_share=0",),
    ("model.similarity=inner_product",),
    ("model.interest_residual=false",),
    ("model.residual_form=gate",),
    ("model.residual_form=first",),
    ("model.pools=items",),
    ("model.pools=both",),
    ("model.clusters=items",),
    ("model.clustering=false",),
    ("model.weighting=false",),
    ("model.future_bias=false",),
    ("model.min_interest_weight=0.2",),
    ("model.time_bias=true",),
    ("model.use_categories=true",),
    *((f"loss.negatives={name}",) for name in ("full", "popular", "in_batch", "queue")),
    ("loss.negatives=interest_queues",),
    ("loss.interest_reduction=sum",),
    ("loss.interest_reduction=argmax",),
    ("loss.min_interest_share=0",),
    ("loss.seq2seq_weight=0.5",),
    ("loss.confident_fraction=1",),
    ("loss.confident_of=user",),
    ("loss.min_pair_weight=0.01",),
    ("loss.seq2seq_temperature=0.3",),
    ("loss.seq2seq_anchors=3",),
    ("loss.seq2seq_queue=6",),
    ("loss.seq2seq_warm_up_steps=2",),
    ("loss.seq2seq_decay_steps=9",),
    ("loss.stop_future_gradient=true",),
    ("loss.reverse_future=false",),
    ("loss.overlap_weight=0.1",),
    ("loss.semantic_weight=0.1", "model.clusters=items"),
    ("loss.semantic_weight=0.1", "model.extractor=routing"),
    ("loss.balance_weight=0", "model.extractor=routing"),
    ("loss.sharpness_weight=0", "model.extractor=routing"),
    ("loss.attribute_weight=0", "model.use_categories=true"),
    ("loss.item_attribute_weight=0", "model.use_categories=true"),
    (FEATURES_OF_USERS,),
    (FEATURES_OF_LOG,),
    (declare([*OF_USERS, *(one.column for one in OF_LOG)]),),
    ("loss.seq2seq_weight=0",),
)
"""What a setting is beside its default, with what it needs. A new setting joins by a line."""

SIZES = ("dim", "max_history_length", "num_blocks", "feed_forward_dim", "dropout_rate")
ELSEWHERE = ("temperature", "num_negatives", "event_weights", "target_kinds")
"""Numbers that all combinations have in common, and what is about kinds of events, which are
weights of the targets by the time they reach a model (`event_columns_test.py`)."""

FAST_STARTS, PARTS = (0, 9, 30), 6


def join(choices):
    """Settings of several choices, or None where two give one setting different values."""
    found = {}
    for text in itertools.chain(*choices):
        key = text.partition("=")[0]
        if found.setdefault(key, text) != text:
            return None
    return list(found.values())


def build_config(choices):
    """The config of choices that are no two values of one setting."""
    return RecallConfig().override([*models_test.TINY, *join(choices)])


def find_error(choices):
    """What is said against such choices; None where nothing is."""
    try:
        build_config(choices)
    except InputError as error:
        return str(error)


@functools.cache
def go_together(places):
    """Whether the choices at some places of `CHOICES` can be one training."""
    chosen = [CHOICES[place] for place in sorted(places)]
    return join(chosen) is not None and find_error(chosen) is None


def fit_from(start):
    """As many places as go together, those from `start` on first."""
    row = frozenset([start])
    for step in range(1, len(CHOICES)):
        more = row | {(start + step) % len(CHOICES)}
        row = more if go_together(more) else row
    return row


@functools.cache
def find_rows():
    """Sets of places in `CHOICES` that go together; each pair that does is in one of them."""
    pairs = map(frozenset, itertools.combinations(range(len(CHOICES)), 2))
    left = dict.fromkeys(pair for pair in pairs if go_together(pair))
    rows = []
    while left:
        row = next(iter(left))
        while grown := _grow(row, left):
            row = grown
        for pair in itertools.combinations(row, 2):
            left.pop(frozenset(pair), None)
        rows.append(row)
    return rows


def _grow(row, left):
    """A row with one place more, that which has most of the pairs that are left; or None."""
    gains = {
        place: sum(frozenset((place, other)) in left for other in row)
        for place in range(len(CHOICES))
        if place not in row
    }
    for place in sorted(gains, key=gains.get, reverse=True):
        if gains[place] and go_together(row | {place}):
            return row | {place}
    return None


def build_model(config):
    vocabulary = models_test.VOCABULARY
    if config.model.use_categories:
        vocabulary = with_categories_as_feature(vocabulary)
    if config.features.of("user"):
        table = pa.table({"country": [["a"], ["b"], ["a"], []]})
        vocabulary = vocabulary.with_users(ItemFeatures.fit(OF_USERS, table, np.ones(4)))
    if config.features.of("event"):
        vocabulary = vocabulary.with_log_columns(OF_LOG)
    model = DSSRec(config, vocabulary)
    model.compile(optimizer=RowwiseAdam(0.01))
    model(tf.zeros([1, 1], tf.int64))
    model.optimizer.build(model.trainable_variables)
    return model


def build_batch(config):
    """The sequences of all models, with what the settings ask of their clicks."""
    item_ids = models_test.BATCH.item_ids.numpy()
    number, length = item_ids.shape
    draw, columns = np.random.default_rng(3), {}
    if config.model.time_bias:
        seconds = 1 + np.cumsum(draw.integers(0, 9_000, [number, length]), axis=1)
        seconds = np.where(item_ids > 0, seconds, 0)
        columns["times"] = np.stack([seconds[:, :-1], seconds[:, 1:]], axis=2)
    if config.features.of("user"):
        columns["users"] = np.repeat([[1], [2], [3], [0]], length - 1, axis=1)
    if config.features.of("event"):
        columns["event_slots"] = draw.integers(0, 5, [number, length, 1]).astype(np.int32)
        columns["event_numbers"] = draw.normal(size=[number, length, 2]).astype(np.float32)
        columns["request_slots"] = draw.integers(0, 4, [number, length - 1, 1]).astype(np.int32)
        columns["request_numbers"] = np.zeros([number, length - 1, 0], np.float32)
    return SequenceBatch(
        tf.constant(item_ids), {name: tf.constant(values) for name, values in columns.items()}
    )


def check_row(row, folder):
    """The trainings of a row; what it has is in the message of what fails."""
    chosen = [CHOICES[place] for place in sorted(row)]
    config = build_config(chosen)
    try:
        combinations_test.check_it_learns_and_resumes(
            config, folder, build_model, build_batch(config)
        )
    except AssertionError as error:
        raise AssertionError(f"{join(chosen)}: {error}") from error


@pytest.mark.parametrize("start", FAST_STARTS)
def test_settings_that_go_together_learn_and_resume(start, tmp_path):
    check_row(fit_from(start), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_pair_of_settings_learns_and_resumes(part, tmp_path):
    for number, row in enumerate(find_rows()[part::PARTS]):
        folder = tmp_path / str(number)
        folder.mkdir()
        check_row(row, folder)


def test_pairs_that_make_no_sense_are_refused_in_one_line_that_names_one():
    pairs = [pair for pair in itertools.combinations(CHOICES, 2) if join(pair)]
    refused = {pair: error for pair in pairs if (error := find_error(pair))}
    assert len(refused) > 50
    for pair, error in refused.items():
        assert "\n" not in error
        assert any(f"`{text.partition('=')[0]}`" in error for text in join(pair)), error


@pytest.mark.parametrize("section", ["model", "loss"])
def test_every_setting_is_among_the_choices(section):
    chosen = {text.partition("=")[0] for text in itertools.chain(*CHOICES)}
    fields = {field.name for field in dataclasses.fields(getattr(RecallConfig(), section))}
    assert fields - {*SIZES, *ELSEWHERE} == {
        name.partition(".")[2] for name in chosen if name.startswith(f"{section}.")
    }
