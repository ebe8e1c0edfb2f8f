"""A release of real towers whose items have declared features; the weights are random."""

import shutil

import numpy as np
import pyarrow as pa
import tensorflow as tf

from recall.config import RecallConfig
from recall.feature_columns.attributes import ItemAttribute
from recall.feature_columns.item_features import ItemFeatures
from recall.item_tower import ItemTower
from recall.towers import UserTower
from recall.vocabulary import ItemVocabulary
from serving.index.attributes import ItemAttributes
from serving.index.bundle import fallback_ids, write_bundle
from serving.index.exact_index import ExactIndex
from serving.release import export, manifest

NUM_ITEMS = 12
CONFIG = RecallConfig.from_dict(
    {
        "model": {
            "dim": 8,
            "max_history_length": 5,
            "num_blocks": 1,
            "feed_forward_dim": 8,
            "num_interests": 2,
        },
        "features": {
            "embedding_dim": 4,
            "hidden_dim": 8,
            "max_unknown_share": 0.25,
            "columns": [
                {
                    "name": "categories",
                    "owner": "item",
                    "kind": "categorical",
                    "max_values": 2,
                    "min_count": 1,
                },
                {"name": "brand", "owner": "item", "kind": "categorical", "min_count": 1},
                {"name": "price", "owner": "item", "kind": "numeric"},
                {"name": "image", "owner": "item", "kind": "vector", "dim": 2},
                {
                    "name": "title_words",
                    "owner": "item",
                    "kind": "text",
                    "column": "title",
                    "hash_buckets": 50,
                },
            ],
        },
    }
)
COLOURS, BRANDS = ("blue", "green", "red"), ("acme", "apex")
CATEGORIES = [(COLOURS[row % 3], COLOURS[(row + 1) % 3])[: 1 + row % 2] for row in range(NUM_ITEMS)]
TITLES = [f"hat number {row}" for row in range(NUM_ITEMS)]
TABLE = pa.table(
    {
        "categories": pa.array(CATEGORIES, pa.list_(pa.string())),
        "brand": pa.array([[BRANDS[row % 2]] for row in range(NUM_ITEMS)], pa.list_(pa.string())),
        "price": pa.array([float(row + 1) for row in range(NUM_ITEMS)]),
        "image": pa.array([[row / 10, 1.0] for row in range(NUM_ITEMS)], pa.list_(pa.float32())),
        "title_words": pa.array(TITLES),
    }
)
SHOPS = ("east", "north", "south")
ATTRIBUTES = (ItemAttribute("shop"), ItemAttribute("available_until", "time"))
ATTRIBUTE_TABLE = pa.table(
    {
        "shop": pa.array([[SHOPS[row % 3]] for row in range(NUM_ITEMS)], pa.list_(pa.string())),
        "available_until": pa.array([None] * NUM_ITEMS, pa.float64()),
    }
)
# The last two items have no click.
COUNTS = np.maximum(np.arange(NUM_ITEMS - 2, -2, -1), 0)
VOCABULARY = ItemVocabulary(
    [f"i{row}" for row in range(NUM_ITEMS)],
    COUNTS,
    CATEGORIES,
    TITLES,
    ItemFeatures.fit(CONFIG.features.of("item"), TABLE, COUNTS),
)


def build_towers(seed=1):
    """The towers, with weights that a test can see."""
    tf.keras.utils.set_random_seed(seed)
    item_tower = ItemTower(CONFIG.model, VOCABULARY, CONFIG.features)
    for weight in item_tower.weights:
        weight.assign(np.random.default_rng(seed).normal(size=weight.shape))
    return UserTower(CONFIG.model, item_tower), item_tower


def write_release(serving_dir, version=1):
    """Writes a release; returns its item tower."""
    user_tower, item_tower = build_towers(version)
    export_dir = serving_dir / "export"
    export_dir.mkdir(parents=True)
    sealed = export.export_towers(user_tower, item_tower, VOCABULARY, CONFIG, export_dir)
    kept = {name: sealed[name] for name in ("fingerprint", "features", "max_unknown_share")}
    for part in ("user_tower", "item_tower"):
        (serving_dir / part).mkdir(exist_ok=True)
        (export_dir / part).rename(serving_dir / part / str(version))
        manifest.seal(serving_dir / part / str(version), kept)
    vectors = item_tower(tf.range(NUM_ITEMS) + 2).numpy()
    index_dir = serving_dir / "index" / str(version)
    index_dir.mkdir(parents=True)
    write_bundle(
        index_dir,
        VOCABULARY,
        vectors,
        ExactIndex(vectors),
        {"fingerprint": sealed["fingerprint"], "similarity": "cosine", "recall@100": 1.0},
        fallback=fallback_ids(VOCABULARY),
        attributes=ItemAttributes.of_items(VOCABULARY.features, ATTRIBUTES, ATTRIBUTE_TABLE),
    )
    shutil.rmtree(export_dir)
    return item_tower
