"""A release of real towers that know categories, whole or as shards; the weights are random."""

import shutil

import numpy as np
import tensorflow as tf

from recall.config import RecallConfig
from recall.item_tower import ItemTower
from recall.towers import UserTower
from recall.vocabulary import ItemVocabulary
from serving.index.bundle import fallback_ids, write_bundle
from serving.index.exact_index import ExactIndex
from serving.release import export, manifest
from tests.category_features import with_categories_as_feature

COLOURS = ("blue", "green", "red")
NUM_ITEMS = 60
VOCABULARY = with_categories_as_feature(
    ItemVocabulary(
        [f"i{row}" for row in range(NUM_ITEMS)],
        range(NUM_ITEMS, 0, -1),
        [(COLOURS[row % 3],) for row in range(NUM_ITEMS)],
        [f"Item {row}" if row else "" for row in range(NUM_ITEMS)],
    )
)
CONFIG = RecallConfig.from_dict(
    {
        "model": {
            "dim": 8,
            "max_history_length": 5,
            "num_blocks": 1,
            "num_heads": 1,
            "feed_forward_dim": 8,
            "num_interests": 2,
            "use_categories": True,
        }
    }
)


def write_release(serving_dir, version, shard=None):
    """Writes a release; another version has other weights, another shard has not.

    Returns the vector of an item of each category, and of nothing else.
    """
    tf.keras.utils.set_random_seed(version)
    item_tower = ItemTower(CONFIG.model, VOCABULARY)
    user_tower = UserTower(CONFIG.model, item_tower)
    export_dir = serving_dir / "export"
    export_dir.mkdir(parents=True)
    sealed = export.export_towers(user_tower, item_tower, VOCABULARY, CONFIG, export_dir)
    for part in ("user_tower", "item_tower"):
        (serving_dir / part).mkdir(exist_ok=True)
        (export_dir / part).rename(serving_dir / part / str(version))
        kept = {name: sealed[name] for name in ("fingerprint", "features", "max_unknown_share")}
        manifest.seal(serving_dir / part / str(version), kept)
    rows = [
        row
        for row, item_id in enumerate(VOCABULARY.item_ids)
        if shard is None or shard.holds(item_id.encode())
    ]
    vectors = item_tower(tf.constant(rows) + 2).numpy()
    index_dir = serving_dir / "index" / str(version)
    index_dir.mkdir(parents=True)
    values = {"fingerprint": sealed["fingerprint"], "similarity": "cosine", "recall@100": 1.0}
    if shard is not None:
        values["shard"] = shard._asdict()
    write_bundle(
        index_dir,
        VOCABULARY.take(rows),
        vectors,
        ExactIndex(vectors),
        values,
        fallback=fallback_ids(VOCABULARY),
    )
    shutil.rmtree(export_dir)
    names = np.array([[colour.encode()] for colour in COLOURS], object)
    found = item_tower.call_features(item_tower.encoder({"categories": names}).encoded).numpy()
    return dict(zip(COLOURS, found, strict=True))
