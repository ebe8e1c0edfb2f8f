"""The item tower with features: what stands for an item, and what is learnt of which."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.feature_columns.declaration import FeatureColumn, FeaturesConfig
from recall.feature_columns.encoder import Encoded
from recall.feature_columns.item_features import ItemFeatures
from recall.features import SequenceBatch
from recall.item_tower import ItemTower
from recall.layers.dropout import dropout_seed
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from recall.vocabulary import ItemVocabulary

DECLARED = (
    FeatureColumn("colours", "item", "categorical", max_values=2, min_count=1),
    FeatureColumn("price", "item", "numeric"),
)
IDS = ["a", "b", "c", "d", "e", "f"]
COUNTS = np.array([5, 4, 0, 2, 1, 0])
TABLE = pa.table(
    {
        "colours": pa.array(
            [["red"], ["blue"], ["red"], ["blue", "red"], [], ["red"]], pa.list_(pa.string())
        ),
        "price": pa.array([1.0, 2.0, 1.0, 4.0, None, 1.0]),
    }
)
VOCABULARY = ItemVocabulary(IDS, COUNTS, features=ItemFeatures.fit(DECLARED, TABLE, COUNTS))
CONFIG = RecallConfig.from_dict(
    {
        "model": {
            "dim": 8,
            "num_interests": 2,
            "max_history_length": 4,
            "num_blocks": 1,
            "feed_forward_dim": 8,
            "similarity": "inner_product",
        },
        "features": {"columns": [c.to_dict() for c in DECLARED]},
        "loss": {"num_negatives": 32},
    }
)


@pytest.fixture(name="tower")
def _tower():
    tf.keras.utils.set_random_seed(1)
    return ItemTower(CONFIG.model, VOCABULARY, CONFIG.features)


def test_clicked_items_have_id_and_features_others_features_alone(tower):
    found = tower(np.arange(2, 8)).numpy()
    content = tower.network(tower.encoded_of(np.arange(2, 8))).numpy()
    ids = tower.embeddings.numpy()[2:]

    # With 5, 4, 0, 2, 1 and 0 clicks an id counts n / (n + 5).
    shares = np.array([1 / 2, 4 / 9, 0, 2 / 7, 1 / 6, 0])
    expected = content + ids * shares[:, np.newaxis]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    # c and f are alike in all that is known of them.
    np.testing.assert_array_equal(found[2], found[5])


def test_ids_count_whole_where_nothing_shrinks_them():
    features = dataclasses.replace(CONFIG.features, id_shrinkage=0)
    tower = ItemTower(CONFIG.model, VOCABULARY, features)
    ids = np.arange(2, 8)
    of_ids = tower(ids) - tower.content_of(ids)
    expected = tower.embeddings.numpy()[2:] * (COUNTS > 0)[:, np.newaxis]
    np.testing.assert_allclose(of_ids, expected, rtol=1e-4, atol=1e-7)


def test_cosine_vectors_have_unit_length():
    model = dataclasses.replace(CONFIG.model, similarity="cosine")
    vectors = ItemTower(model, VOCABULARY, CONFIG.features)(np.arange(2, 8))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_given_features_stand_for_an_item_with_or_without_its_id(tower):
    known = tower.encoded_of(np.array([2, 5]))

    with_ids = tower.call_features(known, tf.constant([2, 5]))
    np.testing.assert_allclose(with_ids, tower(np.array([2, 5])), rtol=1e-5, atol=1e-6)
    alone = tower.call_features(known)
    unknown = tower.call_features(known, tf.constant([1, 4]))  # 4 has no click, 1 is no item.
    np.testing.assert_array_equal(alone, unknown)
    assert np.abs(alone - with_ids).max() > 1e-3


def test_in_training_some_ids_are_left_out_whole():
    features = FeaturesConfig(CONFIG.features.columns, id_dropout=0.5, id_shrinkage=0)
    tower = ItemTower(CONFIG.model, VOCABULARY, features)
    ids = np.full(400, 2)
    with dropout_seed(tf.constant([3, 0], tf.int64)):
        found = tower.embed(ids, training=True).numpy()
    content = tower.network(tower.encoded_of(ids)).numpy()
    rest = found - content
    left_out = np.abs(rest).max(axis=1) < 1e-6

    assert 0.4 < left_out.mean() < 0.6
    # What stays is the embedding itself, not scaled up: serving adds just that.
    np.testing.assert_allclose(
        rest[~left_out], np.tile(tower.embeddings.numpy()[2], [sum(~left_out), 1]), atol=1e-6
    )
    np.testing.assert_array_equal(tower.embed(ids), tower.embed(ids))


def test_items_without_clicks_are_no_negatives_and_learn_no_id():
    tf.keras.utils.set_random_seed(1)
    model = DSSRec(CONFIG, VOCABULARY)
    model.compile(optimizer=RowwiseAdam(0.1))
    batch = SequenceBatch(tf.constant([[2, 3, 5, 6], [3, 2, 0, 0]], tf.int64))
    model(batch.history_ids)
    before = model.item_tower.embeddings.numpy()
    drawn = model._sample_negatives(tf.constant([1, 2], tf.int64)).numpy()
    model.train_step(batch)
    changed = np.flatnonzero(
        np.abs(model.item_tower.embeddings.numpy() - before).max(axis=1) > 1e-4
    )

    assert set(drawn) == {2, 3, 5, 6}
    assert set(changed) <= {2, 3, 5, 6}
    assert model.item_tower.num_candidates == 4


def test_it_compiles_as_it_is(tower):
    ids = tf.constant([[2, 4], [1, 7]])
    compiled = tf.function(lambda: tower(ids, training=True), jit_compile=True)
    with dropout_seed(tf.constant([3, 0], tf.int64)):
        usual = tower(ids, training=True)
    with dropout_seed(tf.constant([3, 0], tf.int64)):
        np.testing.assert_allclose(compiled(), usual, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("negatives", ["uniform", "full", "queue"])
def test_a_step_changes_every_weight(negatives):
    model = DSSRec(CONFIG.override([f"loss.negatives={negatives}"]), VOCABULARY)
    model.compile(optimizer=RowwiseAdam(0.1))
    batch = SequenceBatch(tf.constant([[2, 3, 5, 6], [3, 2, 0, 0]], tf.int64))
    model(batch.history_ids)
    before = [v.numpy() for v in model.item_tower.network.trainable_variables]
    for _ in range(3):
        losses = model.train_step(batch)
    after = [v.numpy() for v in model.item_tower.network.trainable_variables]
    assert np.isfinite(losses["loss"])
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))


def test_an_item_is_nothing_where_nothing_is_known(tower):
    nothing = Encoded(*(table[:1] for table in tower.encoder.encode_nothing(1)))
    assert np.isfinite(tower.call_features(nothing)).all()
