"""A release whose user tower looks at features of users, of clicks and of requests."""

import shutil

import numpy as np
import pyarrow as pa
import tensorflow as tf

from recall.config import RecallConfig
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.models.dssrec import DSSRec
from recall.vocabulary import ItemVocabulary
from serving.index.bundle import fallback_ids, write_bundle
from serving.index.exact_index import ExactIndex
from serving.release import export, manifest

COUNTRY = FeatureColumn("country", "user", "categorical", column="land")
TAGS = FeatureColumn("tags", "user", "categorical", max_values=3)
AGE = FeatureColumn("age", "user", "numeric")
TASTE = FeatureColumn("taste", "user", "vector", dim=2)
PLACE = FeatureColumn("place", "request", "categorical", column="screen")
DEVICE = FeatureColumn("device", "event", "categorical", column="screen")
OF_USERS = (COUNTRY, TAGS, AGE, TASTE)
CONFIG = RecallConfig.from_dict(
    {
        "model": {
            "dim": 8,
            "num_interests": 2,
            "num_blocks": 1,
            "feed_forward_dim": 8,
            "max_history_length": 4,
        },
        "features": {
            "embedding_dim": 4,
            "hidden_dim": 6,
            "columns": [column.to_dict() for column in (*OF_USERS, PLACE, DEVICE)],
        },
    }
)
FITTED = [
    FittedColumn(COUNTRY, values=("NL", "DE")),
    FittedColumn(TAGS, values=("x", "y"), width=3),
    FittedColumn(AGE, mean=30.0, stddev=10.0),
    FittedColumn(TASTE),
]
IDS = [f"i{n}" for n in range(9)]
NOBODY = pa.table(
    {
        "country": pa.array([], pa.list_(pa.string())),
        "tags": pa.array([], pa.list_(pa.string())),
        "age": pa.array([], pa.float64()),
        "taste": pa.array([], pa.list_(pa.float32())),
    }
)
VOCABULARY = (
    ItemVocabulary(IDS, [1] * 9)
    .with_users(ItemFeatures(FITTED, NOBODY))
    .with_log_columns(
        [FittedColumn(PLACE, values=("home", "shop")), FittedColumn(DEVICE, values=("tv",))]
    )
)


def write_release(folder, config=CONFIG, vocabulary=VOCABULARY):
    """Writes version 1, with weights that a test can see, and one vector per item."""
    tf.keras.utils.set_random_seed(3)
    model = DSSRec(config, vocabulary)
    model(np.array([[2]]))
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    (folder / "export").mkdir()
    sealed = export.export_towers(
        model.user_tower, model.item_tower, vocabulary, config, folder / "export"
    )
    names = ("fingerprint", "user_features", "log_features", "max_unknown_share")
    for part in ("user_tower", "item_tower"):
        (folder / part).mkdir()
        (folder / "export" / part).rename(folder / part / "1")
        manifest.seal(folder / part / "1", {name: sealed[name] for name in names if name in sealed})
    (folder / "index" / "1").mkdir(parents=True)
    vectors = model.item_tower(tf.range(vocabulary.num_items) + 2).numpy()
    facts = {"fingerprint": sealed["fingerprint"], "similarity": "cosine", "recall@100": 1.0}
    write_bundle(
        folder / "index" / "1",
        vocabulary,
        vectors,
        ExactIndex(vectors),
        facts,
        fallback=fallback_ids(vocabulary),
    )
    shutil.rmtree(folder / "export")
