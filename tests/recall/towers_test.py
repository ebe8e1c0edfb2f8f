"""The towers: what a history and an item become."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from recall.config import ModelConfig
from recall.item_tower import ItemTower
from recall.layers.extractor import WantedPrefixes
from recall.towers import UserTower, UserTowerOutput
from recall.vocabulary import ItemVocabulary
from tests.category_features import with_categories_as_feature

VOCABULARY = ItemVocabulary(
    ["a", "b", "c", "d", "e", "f"],
    counts=[1] * 6,
    categories=[("red",), ("blue", "red"), (), ("green",), ("blue",), ("red",)],
)
DSSREC = ModelConfig(
    num_interests=3,
    dim=8,
    max_history_length=6,
    num_heads=2,
    num_blocks=1,
    feed_forward_dim=12,
    dropout_rate=0.3,
)
CONFIGS = {
    "dssrec": DSSREC,
    "last_state": dataclasses.replace(DSSREC, extractor="last_state"),
    "self_attentive": dataclasses.replace(DSSREC, extractor="self_attentive"),
    "inner_product": dataclasses.replace(DSSREC, similarity="inner_product"),
    "categories": dataclasses.replace(DSSREC, use_categories=True),
    "capsule": dataclasses.replace(DSSREC, extractor="capsule"),
    "routing": dataclasses.replace(DSSREC, extractor="routing", num_prototypes=6),
    "k_by_user": dataclasses.replace(DSSREC, min_interest_weight=0.3),
    "routing_by_category": dataclasses.replace(DSSREC, extractor="routing", use_categories=True),
}
HISTORIES = np.array(
    [[2, 3, 4, 5, 6, 7], [7, 2, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0], [5, 1, 5, 2, 0, 0]]
)
LENGTHS = np.array([6, 2, 1, 4])


@pytest.fixture(autouse=True)
def _seed():
    tf.keras.utils.set_random_seed(1)


def build_towers(name):
    vocabulary = VOCABULARY
    if CONFIGS[name].use_categories:
        vocabulary = with_categories_as_feature(VOCABULARY)
    item_tower = ItemTower(CONFIGS[name], vocabulary)
    user_tower = UserTower(CONFIGS[name], item_tower)
    user_tower(HISTORIES)
    for weight in user_tower.weights:
        if "positions" in weight.name:  # Large enough to be seen.
            weight.assign(np.random.default_rng(3).normal(size=weight.shape))
    return user_tower, item_tower


def test_item_vectors_are_the_rows_of_the_table():
    _, tower = build_towers("inner_product")

    vectors = tower(np.array([[3, 2], [7, 1]]))

    np.testing.assert_array_equal(vectors, tower.embeddings.numpy()[[[3, 2], [7, 1]]])


@pytest.mark.parametrize("name", ["dssrec", "categories", "last_state", "self_attentive"])
def test_cosine_vectors_have_unit_length(name):
    user_tower, item_tower = build_towers(name)

    for vectors in (user_tower(HISTORIES).user_vectors, item_tower(np.arange(2, 8))):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, rtol=1e-5)


def test_inner_product_vectors_keep_their_length():
    user_tower, item_tower = build_towers("inner_product")

    for vectors in (user_tower(HISTORIES).user_vectors, item_tower(np.arange(2, 8))):
        assert np.abs(np.linalg.norm(vectors, axis=-1) - 1).max() > 0.1


def test_items_are_routed_by_their_categories_where_they_have_some():
    user_tower, item_tower = build_towers("routing_by_category")
    contents = item_tower.content_of(np.arange(8)).numpy()
    whole = item_tower.embed(np.arange(8)).numpy()
    prototypes = next(w.numpy() for w in user_tower.weights if "prototypes" in w.name)

    routes, shares = user_tower.route(np.array([2, 3, 4, 7]))

    # An item of no category, 4, by all of it. The first and the last are both red.
    of_items = [contents[2], contents[3], whole[4], contents[7]]
    np.testing.assert_allclose(contents[2], contents[7], rtol=1e-5)
    assert np.abs(whole[4] - contents[4]).max() > 1e-3
    for item, row in zip(of_items, routes.numpy(), strict=True):
        cosines = prototypes @ item / np.linalg.norm(item) / np.linalg.norm(prototypes, axis=1)
        exp = np.exp(cosines / 0.07)
        np.testing.assert_allclose(row, exp / exp.sum(), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(shares, routes.numpy().reshape(4, 3, 4).sum(axis=2), rtol=1e-5)


def test_towers_that_route_nothing_have_no_prototypes():
    assert build_towers("routing")[0].num_prototypes == 6
    assert build_towers("dssrec")[0].num_prototypes == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_slot_t_equals_encoding_the_prefix_alone(name):
    tower, _ = build_towers(name)
    prefixes = tower.encode_prefixes(HISTORIES)
    for t in range(6):
        long_enough = t < LENGTHS
        ends = WantedPrefixes(slots=np.full(long_enough.sum(), t))
        alone = tower.encode_prefixes(HISTORIES[long_enough, : t + 1], ends)
        for whole, part in zip(prefixes, alone, strict=True):
            np.testing.assert_allclose(whole[:, t][long_enough], part, rtol=1e-4, atol=1e-5)


def test_interests_below_the_least_weight_are_switched_off():
    tower, _ = build_towers("k_by_user")
    tower.min_interest_weight = 0.0
    before = tower(HISTORIES)
    weights = before.interest_weights.numpy()
    least = np.sort(weights, axis=1)[:, 1].mean()  # For some users one is left, or two.
    tower.min_interest_weight = least

    found = tower(HISTORIES)

    is_left = (weights >= least) | (weights == weights.max(axis=1, keepdims=True))
    assert 4 < is_left.sum() < 12
    expected = np.where(is_left, weights, 0)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.interest_weights, expected, rtol=1e-5)
    for user, vectors in enumerate(before.user_vectors.numpy()):
        places = np.where(is_left[user], range(3), weights[user].argmax())
        np.testing.assert_array_equal(found.user_vectors[user], vectors[places])


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "k_by_user"])
def test_the_last_real_slot_is_the_user_however_much_padding_follows(name):
    tower, _ = build_towers(name)
    prefixes = tower.encode_prefixes(HISTORIES)
    wide, narrow = tower(HISTORIES), tower(HISTORIES[1:, :4])
    for part, all_slots, padded, less_padded in zip(
        UserTowerOutput._fields, prefixes, wide, narrow, strict=True
    ):
        expected = all_slots.numpy()[range(4), LENGTHS - 1]
        np.testing.assert_allclose(padded, expected, rtol=1e-4, atol=1e-5, err_msg=part)
        np.testing.assert_allclose(less_padded, expected[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_histories_of_a_batch_do_not_mix(name):
    tower, _ = build_towers(name)
    order = [2, 0, 3, 1]

    for shuffled, whole in zip(tower(HISTORIES[order]), tower(HISTORIES), strict=True):
        np.testing.assert_allclose(shuffled, whole.numpy()[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_and_weights(name):
    tower, _ = build_towers(name)
    output = tower(HISTORIES)
    num_interests = 1 if name == "last_state" else 3

    assert tower.num_interests == num_interests
    assert output.user_vectors.shape == (4, num_interests, 8)
    assert output.interest_weights.shape == (4, num_interests)
    np.testing.assert_allclose(output.interest_weights.numpy().sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("name", ["dssrec", "categories"])
def test_an_empty_history_is_finite_and_the_row_of_padding_unused(name):
    tower, item_tower = build_towers(name)
    histories = np.concatenate([HISTORIES, np.zeros([1, 6], np.int64)])
    before = tower(histories).user_vectors.numpy()

    item_tower.embeddings[0].assign(tf.fill([8], 100.0))
    if name == "categories":  # Of no value.
        item_tower.network.table[0].assign(tf.fill([8], 100.0))

    assert np.isfinite(before).all()
    np.testing.assert_array_equal(tower(histories).user_vectors, before)


def test_the_user_tower_reads_the_table_of_the_item_tower():
    tower, item_tower = build_towers("dssrec")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tower(HISTORIES[1:3]).user_vectors[..., 0])

    gradient = tf.convert_to_tensor(tape.gradient(loss, item_tower.embeddings)).numpy()

    # Histories [7, 2] and [3]: no other row is read, nor any gradient for padding.
    assert np.flatnonzero(np.abs(gradient).max(axis=1)).tolist() == [2, 3, 7]


def test_dropout_is_active_in_training_alone():
    tower, _ = build_towers("dssrec")
    quiet = tower(HISTORIES).user_vectors

    np.testing.assert_array_equal(tower(HISTORIES).user_vectors, quiet)
    assert np.abs(tower(HISTORIES, training=True).user_vectors - quiet).max() > 1e-3


def test_dropout_is_that_of_the_config_or_the_one_for_the_log():
    config = dataclasses.replace(DSSREC, dropout_rate=None)
    many = ItemVocabulary(["a", "b"], counts=[900, 100])
    assert UserTower(DSSREC, ItemTower(DSSREC, many)).dropout_rate == 0.3
    assert UserTower(config, ItemTower(config, many)).dropout_rate == pytest.approx(0.2)
    few = ItemVocabulary(["a", "b"], counts=[1, 3])
    assert UserTower(config, ItemTower(config, few)).dropout_rate == pytest.approx(0.4)
