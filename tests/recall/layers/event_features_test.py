"""Features of clicks and requests: twins in numpy, and what of nothing is."""

import numpy as np
import pytest
import tensorflow as tf

from recall.feature_columns.declaration import FeatureColumn, FeaturesConfig
from recall.feature_columns.encoder import Encoded
from recall.feature_columns.fitting import FittedColumn
from recall.layers.dropout import dropout_seed
from recall.layers.event_features import EventFeatures, RequestFeatures

CONFIG = FeaturesConfig(embedding_dim=3, hidden_dim=5)
DEVICE = FittedColumn(FeatureColumn("device", "event", "categorical"), ("tv", "phone"))
PRICE = FittedColumn(FeatureColumn("price", "event", "numeric"), mean=1.0, stddev=2.0)
COLUMNS = [DEVICE, PRICE]
ENCODED = Encoded(
    tf.constant([[[2], [0], [3]], [[1], [2], [2]]]),
    tf.constant([[[0.5, 0.0], [0.0, 1.0], [-1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0], [2.0, 0.0]]]),
)


def with_large_weights(layer):
    rng = np.random.default_rng(3)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


@pytest.fixture(scope="module")
def events():
    return with_large_weights(EventFeatures(CONFIG, COLUMNS, 4))


@pytest.fixture(scope="module")
def requests():
    return with_large_weights(RequestFeatures(CONFIG, COLUMNS, 4))


def test_every_click_has_a_vector_of_its_own_values(events):
    found = events(ENCODED).numpy()
    assert found.shape == (2, 3, 4)
    np.testing.assert_allclose(
        found[1, 1],
        events.network(Encoded(*(part[1:2, 1:2] for part in ENCODED))).numpy()[0, 0],
        rtol=1e-5,
    )
    assert np.abs(found[0, 0] - found[0, 2]).max() > 0.1


def test_of_nothing_is_as_of_missing_values(events, requests):
    missing = Encoded(tf.zeros([2, 3, 1], tf.int32), tf.tile([[[0.0, 1.0]]], [2, 3, 1]))
    np.testing.assert_allclose(events(missing)[1, 2], events(None)[0, 0], rtol=1e-5)
    vectors = tf.random.stateless_normal([3, 2, 4], [1, 2])
    missing = Encoded(*(part[0] for part in missing))
    np.testing.assert_allclose(requests(vectors, missing), requests(vectors, None), rtol=1e-5)


def test_a_request_scales_and_shifts_all_interests_alike(requests):
    vectors = np.random.default_rng(5).normal(size=[3, 2, 4]).astype(np.float32)
    encoded = Encoded(*(part[0] for part in ENCODED))
    scales, shifts = np.split(requests.network(encoded).numpy(), 2, axis=1)
    wanted = vectors * (1 + scales[:, None]) + shifts[:, None]
    np.testing.assert_allclose(requests(tf.constant(vectors), encoded), wanted, rtol=1e-4)


def test_a_tenth_of_the_rows_learns_to_do_without(events):
    many = Encoded(tf.fill([2000, 1, 1], 2), tf.zeros([2000, 1, 2]))
    with dropout_seed(tf.constant([1, 2], tf.int64)):
        found = events(many, training=True).numpy()[:, 0]
    is_missing = np.abs(found - events(None).numpy()[0, 0]).max(axis=1) < 1e-5
    np.testing.assert_allclose(
        found[~is_missing], np.tile(events(many)[:1, 0], [(~is_missing).sum(), 1]), rtol=1e-4
    )
    assert 0.08 < is_missing.mean() < 0.125  # 26 / 256; three standard errors are .02.
