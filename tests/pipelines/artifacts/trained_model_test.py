"""A compiled model: the learning rate of its steps."""

import numpy as np
import tensorflow as tf

from pipelines.artifacts.trained_model import build_model
from recall.config import RecallConfig
from recall.vocabulary import ItemVocabulary

CONFIG = RecallConfig().override(
    [
        "model.extractor=last_state",
        "model.dim=8",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "train.learning_rate=0.2",
        "train.learning_rate_schedule=cosine",
    ]
)


def rate_of(model, step):
    """The learning rate of a step, which changes no weight."""
    model.optimizer.iterations.assign(step)
    model.optimizer.apply_gradients([(tf.zeros_like(w), w) for w in model.trainable_variables])
    return float(model.optimizer.learning_rate)


def test_the_rate_falls_over_the_steps_of_the_job_wherever_they_begin():
    model = build_model(CONFIG, ItemVocabulary(["a", "b"]), 10, first_step=70)

    rates = [rate_of(model, step) for step in (70, 75, 80, 85)]

    # .2 times half of 1 + cos(0), 1 + cos(pi / 2), 1 + cos(pi); then it stays.
    np.testing.assert_allclose(rates, [0.2, 0.1, 0, 0], atol=1e-7)
