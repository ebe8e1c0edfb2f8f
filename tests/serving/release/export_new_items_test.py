"""Items that nobody clicked yet, of a model that knows categories alone."""

import numpy as np
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.item_tower import ItemTower
from recall.towers import UserTower
from recall.vocabulary import ItemVocabulary
from serving.live.item_content import ItemContent
from serving.models.saved_model import SavedModelServable
from serving.protocol import warmup
from serving.release import export, manifest, warmup_requests
from serving.servables.item_embedding import item_embedder
from tests.category_features import with_categories_as_feature

MODEL = {"dim": 4, "max_history_length": 3, "num_blocks": 1, "num_heads": 1, "feed_forward_dim": 4}
CATEGORIES = [("red",), ("blue", "red"), (), ("line\nbreak",)]
VOCABULARY = ItemVocabulary(["a", "b", "c", "d"], [4, 3, 2, 1], CATEGORIES)


def make_export(folder, similarity, use_categories=True):
    """Exports towers with weights that a test can see; returns that of items."""
    values = {**MODEL, "similarity": similarity, "use_categories": use_categories}
    config = RecallConfig.from_dict({"model": values})
    vocabulary = with_categories_as_feature(VOCABULARY) if use_categories else VOCABULARY
    item_tower = ItemTower(config.model, vocabulary, config.features)
    for weight in item_tower.weights:
        weight.assign(np.random.default_rng(2).normal(size=weight.shape))
    export.export_towers(
        UserTower(config.model, item_tower), item_tower, vocabulary, config, folder
    )
    return item_tower


def load(folder):
    return SavedModelServable("item_tower", 5, folder / "item_tower")


def content_of(item_tower, *rows):
    """The sum of some rows of the table, each by how rare it is in the catalogue, by numpy."""
    table = item_tower.network.table.numpy().astype(np.float64)
    # Two of four items are red; the others have one item, or none, which counts as one.
    weights = np.log1p(4 / np.array([2 if row == 2 else 1 for row in rows]))
    return weights @ table[list(rows)] / np.linalg.norm(weights)


@pytest.mark.parametrize("similarity", ["cosine", "inner_product"])
def test_a_new_item_is_the_weighted_sum_of_its_categories(tmp_path, similarity):
    item_tower = make_export(tmp_path, similarity)
    servable = load(tmp_path)
    embed = item_embedder(servable, manifest.read(tmp_path))
    names = [("red",), ("unheard of", "blue", "red"), ("line\nbreak",), ("never",)]
    found = embed([ItemContent("x", categories) for categories in names])
    # Rows: none 0, others 1, then by frequency and name red 2, blue 3, line break 4; of an item
    # as many count as the longest one of the catalogue has, two.
    expected = np.stack([content_of(item_tower, *rows) for rows in ([2], [1, 3], [4], [1])])
    if similarity == "cosine":
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-4, atol=1e-5)
    assert found.num_known.tolist() == [1, 1, 1, 0]
    assert found.num_unknown.tolist() == [0, 1, 0, 1]
    fingerprint = servable.predict("", {"item_ids": np.array([b"a"], object)})["fingerprint"][0]
    assert found.fingerprint == fingerprint.decode()


def test_a_model_without_categories_has_no_such_signature(tmp_path):
    make_export(tmp_path, "cosine", use_categories=False)
    assert item_embedder(load(tmp_path), {}) is None


def test_a_release_of_an_earlier_version_takes_categories_without_declaring_them(tmp_path):
    """Its signature has one input, of all rows, and tells known values alone."""

    class Earlier(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, name="categories")])
        def embed(self, categories):
            is_known = tf.cast((categories == "red") | (categories == "blue"), tf.int32)
            return {
                "item_vectors": tf.cast(is_known, tf.float32),
                "num_known": tf.reduce_sum(is_known, axis=1),
                "fingerprint": tf.fill([tf.shape(categories)[0]], "abc"),
            }

    module = Earlier()
    signatures = {"embed_new_items": module.embed}
    tf.saved_model.save(module, str(tmp_path / "item_tower"), signatures=signatures)
    embed = item_embedder(load(tmp_path), {"fingerprint": "abc"})
    assert embed.features == ("categories",)
    found = embed([ItemContent("x", ("red", "mauve")), ItemContent("y", ("red", "blue"))])
    assert found.vectors.tolist() == [[1, 0], [1, 1]]
    assert found.num_known.tolist() == [1, 2]
    assert embed([ItemContent("z", ())]).num_known.tolist() == [0]


def test_the_warm_up_covers_it(tmp_path):
    make_export(tmp_path, "cosine")
    requests = warmup.read_requests(tmp_path / "item_tower")
    names = [r.predict_log.request.model_spec.signature_name for r in requests]
    assert names.count("embed_new_items") == len(warmup_requests.BATCH_SIZES)
    load(tmp_path).warm_up()
