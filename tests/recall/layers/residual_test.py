"""How the last state enters an interest, by numpy."""

import numpy as np
import pytest
import tensorflow as tf

from recall.layers.residual import LastStateResidual
from recall.settings.model import ModelConfig

DIM, NUM_INTERESTS = 4, 3


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("sum", lambda pooled, last: pooled + last[:, np.newaxis]),
        ("first", lambda pooled, last: pooled + [[[1], [0], [0]]] * last[:, np.newaxis]),
        (None, lambda pooled, last: pooled),
    ],
)
def test_forms_without_weights(form, expected):
    rng = np.random.default_rng(0)
    pooled, last = rng.normal(size=[5, NUM_INTERESTS, DIM]), rng.normal(size=[5, DIM])
    config = ModelConfig(
        dim=DIM,
        num_interests=NUM_INTERESTS,
        interest_residual=form is not None,
        residual_form=form or "sum",
    )
    layer = LastStateResidual(config)

    combined = layer(tf.constant(pooled, tf.float32), tf.constant(last, tf.float32))

    assert layer.weights == []
    np.testing.assert_allclose(combined, expected(pooled, last), rtol=1e-5, atol=1e-6)


def test_a_gate_lies_between_both():
    layer = LastStateResidual(
        ModelConfig(dim=DIM, num_interests=NUM_INTERESTS, residual_form="gate")
    )
    rng = np.random.default_rng(0)
    pooled, last = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ([2, 5, NUM_INTERESTS, DIM], [2, 5, DIM])
    )

    combined = layer(pooled, last)

    of_pooled, of_last, bias = (
        next(w.numpy() for w in layer.weights if name in w.name)
        for name in ("gate_of_pooled/kernel", "gate_of_last/kernel", "gate_of_last/bias")
    )
    for place in np.ndindex(2, 5, NUM_INTERESTS):
        u, z = pooled[place], last[place[:2]]
        gate = 1 / (1 + np.exp(-(u @ of_pooled + z @ of_last + bias)))
        np.testing.assert_allclose(combined[place], gate * z + (1 - gate) * u, rtol=1e-4, atol=1e-5)
