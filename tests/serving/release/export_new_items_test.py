"""The item tower's signature for items that nobody clicked yet."""

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
from serving.release import export, warmup_requests
from serving.servables.item_embedding import item_embedder

MODEL = {"dim": 4, "max_history_length": 3, "num_blocks": 1, "num_heads": 1, "feed_forward_dim": 4}
CATEGORIES = [("red",), ("blue", "red"), (), ("line\nbreak",)]
VOCABULARY = ItemVocabulary(["a", "b", "c", "d"], categories=CATEGORIES)


def make_export(folder, similarity, use_categories=True):
    """Exports towers with random weights; returns the category embeddings by name."""
    values = {**MODEL, "similarity": similarity, "use_categories": use_categories}
    config = RecallConfig.from_dict({"model": values})
    tf.keras.utils.set_random_seed(2)
    item_tower = ItemTower(config.model, VOCABULARY)
    export.export_towers(
        UserTower(config.model, item_tower), item_tower, VOCABULARY, config, folder
    )
    if not use_categories:
        return None
    # Names are sorted and numbered from 1.
    rows = item_tower.category_embeddings.numpy()[1:]
    return dict(zip(["blue", "line\nbreak", "red"], rows, strict=True))


def load(folder):
    return SavedModelServable("item_tower", 5, folder / "item_tower")


@pytest.mark.parametrize("similarity", ["cosine", "inner_product"])
def test_a_new_item_is_the_mean_of_its_categories(tmp_path, similarity):
    rows = make_export(tmp_path, similarity)
    servable = load(tmp_path)
    embed = item_embedder(servable, {})
    names = [("red",), ("unheard of", "blue", "red"), ("line\nbreak",), (), ("never",)]
    found = embed([ItemContent("x", categories) for categories in names])
    expected = np.stack(
        [
            rows["red"],
            (rows["blue"] + rows["red"]) / 2,
            rows["line\nbreak"],
            0 * rows["red"],
            0 * rows["red"],
        ]
    )
    if similarity == "cosine":
        expected[:3] /= np.linalg.norm(expected[:3], axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    assert found.num_known.tolist() == [1, 2, 1, 0, 0]
    fingerprint = servable.predict("", {"item_ids": np.array([b"a"], object)})["fingerprint"][0]
    assert found.fingerprint == fingerprint.decode()


def test_a_model_without_categories_has_no_such_signature(tmp_path):
    make_export(tmp_path, "cosine", use_categories=False)
    assert item_embedder(load(tmp_path), {}) is None


def test_the_warm_up_covers_it(tmp_path):
    make_export(tmp_path, "cosine")
    requests = warmup.read_requests(tmp_path / "item_tower")
    names = [r.predict_log.request.model_spec.signature_name for r in requests]
    assert names.count("embed_new_items") == len(warmup_requests.BATCH_SIZES)
    load(tmp_path).warm_up()
