"""A release of real towers that know categories, whole or as shards; the weights are random."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

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


class Towers(NamedTuple):
    """Exported towers of a version, and what they say.

    Attributes:
        folder: Holds `user_tower` and `item_tower`, sealed; not to be changed.
        fingerprint: Of both.
        item_vectors: `[NUM_ITEMS, 8]`.
        colour_vectors: `[3, 8]`, of an item of each of `COLOURS`, and of nothing else.
    """

    folder: Path
    fingerprint: str
    item_vectors: np.ndarray
    colour_vectors: np.ndarray


@functools.cache
def export_towers(version: int) -> Towers:
    """The towers of a version, whose weights are its own: a second of work, once a process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    tf.keras.utils.set_random_seed(version)
    item_tower = ItemTower(CONFIG.model, VOCABULARY)
    user_tower = UserTower(CONFIG.model, item_tower)
    sealed = export.export_towers(user_tower, item_tower, VOCABULARY, CONFIG, folder)
    kept = {name: sealed[name] for name in ("fingerprint", "features", "max_unknown_share")}
    for part in ("user_tower", "item_tower"):
        manifest.seal(folder / part, kept)
    names = np.array([[colour.encode()] for colour in COLOURS], object)
    colours = item_tower.call_features(item_tower.encoder({"categories": names}).encoded)
    items = item_tower(tf.range(NUM_ITEMS) + 2)
    return Towers(folder, sealed["fingerprint"], items.numpy(), colours.numpy())


def write_release(serving_dir, version, shard=None):
    """Writes a release; another version has other weights, another shard has not.

    Returns the vector of an item of each category, and of nothing else.
    """
    towers = export_towers(version)
    for part in ("user_tower", "item_tower"):
        shutil.copytree(towers.folder / part, serving_dir / part / str(version))
    rows = [
        row
        for row, item_id in enumerate(VOCABULARY.item_ids)
        if shard is None or shard.holds(item_id.encode())
    ]
    vectors = towers.item_vectors[rows]
    index_dir = serving_dir / "index" / str(version)
    index_dir.mkdir(parents=True)
    values = {"fingerprint": towers.fingerprint, "similarity": "cosine", "recall@100": 1.0}
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
    return dict(zip(COLOURS, towers.colour_vectors, strict=True))
