"""Users without clicks: their features alone say what they want."""

import json

import numpy as np
import pytest

from pipelines.artifacts import records
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources.users import UsersFile
from pipelines.training.trainer import train_and_evaluate
from recall.config import RecallConfig
from recall.towers import KnownBeside
from recall.vocabulary import UNKNOWN_ID

COLUMNS = [{"name": "country", "owner": "user", "kind": "categorical", "min_count": 1}]
CONFIG = RecallConfig().override(
    [
        "ingest.num_shards=2",
        "model.dim=16",
        "model.num_interests=2",
        "model.num_blocks=1",
        "model.feed_forward_dim=16",
        "model.max_history_length=10",
        "features.hidden_dim=16",
        "features.embedding_dim=8",
        "loss.num_negatives=64",
        "train.max_epochs=25",
        "train.learning_rate=0.005",
        "train.batch_slots=64",
        f"features.columns={json.dumps(COLUMNS)}",
    ]
)
COUNTRIES = ("NL", "DE", "FR")
PER_COUNTRY = 20


def write_log(folder):
    """Everybody clicks items of her country alone; the last users of each have no clicks."""
    rng = np.random.default_rng(4)
    events, users = ["user_id,item_id,timestamp"], ["user_id,country"]
    for user in range(330):
        country = user % 3
        users.append(f"u{user},{COUNTRIES[country]}")
        if user < 300:
            items = rng.choice(PER_COUNTRY, 8, replace=False)
            events += [f"u{user},{COUNTRIES[country]}-{i},{t}" for t, i in enumerate(items)]
    (folder / "events.csv").write_text("\n".join(events) + "\n")
    (folder / "users.csv").write_text("\n".join(users) + "\n")


@pytest.mark.slow
def test_new_users_get_items_of_their_country(tmp_path):
    write_log(tmp_path)
    source = open_events(str(tmp_path / "events.csv"))
    source.users_file = UsersFile(str(tmp_path / "users.csv"))
    ingest.run_ingest(source, None, tmp_path / "examples", CONFIG)
    trained = train_and_evaluate(CONFIG, tmp_path / "examples", tmp_path / "model")
    vocabulary = records.read_vocabulary(tmp_path / "examples")
    tower = trained.model.user_tower
    assert tower.user_features.num_known == 0  # A model keeps nobody's values.
    tower.user_features.know(vocabulary.users)
    new = np.arange(300, 330)
    rows = new[:, None].astype(np.int32) + 1
    users = tower(np.full([30, 1], UNKNOWN_ID), known=KnownBeside(users=rows))
    items = trained.model.item_tower(np.arange(2, 2 + vocabulary.num_items)).numpy()
    scores = np.einsum("ukd,id->uki", users.user_vectors.numpy(), items).max(axis=1)
    best = np.argsort(-scores, axis=1)[:, :10]
    countries = np.array([item_id[:2] for item_id in vocabulary.item_ids])
    own = countries[best] == np.array([COUNTRIES[user % 3] for user in new])[:, None]
    assert own.mean() > 0.9  # By chance a third.
