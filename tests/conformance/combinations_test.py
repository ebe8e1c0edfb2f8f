"""Every extractor with every loss and kind of negatives: it learns, resumes and is exported."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.loss import LossConfig
from recall.settings.model import ModelConfig
from tests.conformance import models_test

REFUSED = {("full", "sum"), ("interest_queues", "sum"), ("interest_queues", "argmax")}
"""A full softmax in blocks needs the largest of the interests; a queue by interest has one."""

LOSSES = [
    pair
    for pair in itertools.product(LossConfig.NEGATIVES, LossConfig.REDUCTIONS)
    if pair not in REFUSED
]
SEQ2SEQ_WEIGHTS = (0.0, 0.02)

ALL = [*itertools.product(ModelConfig.EXTRACTORS, LOSSES, SEQ2SEQ_WEIGHTS)]
FAST = [
    ("dssrec", ("uniform", "max"), 0.02),
    ("last_state", ("full", "argmax"), 0.02),
    ("self_attentive", ("popular", "sum"), 0.02),
    ("capsule", ("in_batch", "argmax"), 0.02),
    ("routing", ("queue", "sum"), 0.02),
    ("dssrec", ("interest_queues", "max"), 0.02),
]
"""Each extractor, kind of negatives and reduction; the exports of all extractors: `models_test`."""

FUTURE_ONLY = ("future_bias",)
"""Weights that only seq2seq moves."""


def build_config(extractor, losses, seq2seq_weight):
    negatives, reduction = losses
    return RecallConfig().override(
        [
            *models_test.TINY,
            f"model.extractor={extractor}",
            f"loss.negatives={negatives}",
            f"loss.interest_reduction={reduction}",
            f"loss.seq2seq_weight={seq2seq_weight}",
        ]
    )


def check_it_learns_and_resumes(
    config, folder, build_model=models_test.build_model, batch=models_test.BATCH
):
    """One step moves every weight; a restored job takes the second step of this one."""
    assert RecallConfig.from_json(config.to_json()) == config
    tf.keras.utils.set_random_seed(1)
    model = build_model(config)
    before = [weight.numpy() for weight in model.trainable_variables]

    logs = model.train_step(batch)

    assert all(np.isfinite(value) for value in logs.values())
    has_seq2seq = config.loss.seq2seq_weight > 0 and config.loss.seq2seq_warm_up_steps == 0
    for weight, old in zip(model.trainable_variables, before, strict=True):
        if has_seq2seq or not weight.name.split(":")[0].endswith(FUTURE_ONLY):
            assert np.abs(weight - old).max() > 0.005, weight.name
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(folder / "ckpt"))
    tf.keras.utils.set_random_seed(99)
    resumed = build_model(config)
    checkpoint = tf.train.Checkpoint(model=resumed, optimizer=resumed.optimizer)
    checkpoint.restore(path).assert_consumed()
    for each in (model, resumed):
        each.train_step(batch)
    for weight, wanted in zip(resumed.variables, model.variables, strict=True):
        np.testing.assert_array_equal(weight, wanted, err_msg=wanted.name)
    return model


def test_the_fast_ones_have_a_case_of_each_kind():
    extractors, losses, _ = zip(*FAST, strict=True)
    negatives, reductions = zip(*losses, strict=True)
    assert set(extractors) == set(ModelConfig.EXTRACTORS)
    assert set(negatives) == set(LossConfig.NEGATIVES)
    assert set(reductions) == set(LossConfig.REDUCTIONS)


@pytest.mark.parametrize(("extractor", "losses", "seq2seq_weight"), FAST)
def test_a_combination_learns_and_resumes(extractor, losses, seq2seq_weight, tmp_path):
    check_it_learns_and_resumes(build_config(extractor, losses, seq2seq_weight), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("extractor", "losses", "seq2seq_weight"), ALL)
def test_every_combination_learns_resumes_and_is_exported(
    extractor, losses, seq2seq_weight, tmp_path
):
    config = build_config(extractor, losses, seq2seq_weight)
    model = check_it_learns_and_resumes(config, tmp_path)
    expected = models_test.vectors_of(model)

    tf.saved_model.save(models_test.ServingModule(model), str(tmp_path / "model"))

    loaded = tf.saved_model.load(str(tmp_path / "model"))
    vectors, weights = loaded.encode_users(tf.constant(models_test.HISTORIES))
    items = loaded.encode_items(tf.range(1, 14, dtype=tf.int64))
    for new, old in zip((vectors, weights, items), expected, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


@pytest.mark.parametrize("losses", sorted(REFUSED))
@pytest.mark.parametrize("extractor", ModelConfig.EXTRACTORS)
def test_what_makes_no_sense_is_refused_in_one_line(extractor, losses):
    with pytest.raises(InputError, match=r"`loss\.interest_reduction` must be max") as error:
        build_config(extractor, losses, 0.02)

    assert "\n" not in str(error.value)
