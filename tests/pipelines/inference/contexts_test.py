"""Batches for releases that look at times and at features of clicks: as a server answers."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inference import jobs, opened_release
from pipelines.inference.answers import EmbedUsers, RecommendUsers
from pipelines.inference.id_files import IdFile
from pipelines.ingestion.open_log import open_events
from recall.config import RecallConfig
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.vocabulary import ItemVocabulary
from serving.models.saved_model import SavedModelServable
from serving.release.release import latest_release
from serving.servables.towers import PredictUserVectors
from tests.serving.context_release import write_release

COLUMNS = [
    FittedColumn(FeatureColumn("device", "event", "categorical", "screen"), ("tv", "phone")),
    FittedColumn(FeatureColumn("paid", "event", "numeric"), mean=1.0, stddev=2.0),
    FittedColumn(FeatureColumn("place", "request", "categorical"), ("home",)),
]
CONFIG = RecallConfig().override(
    [
        "model.dim=8",
        "model.num_interests=2",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=4",
        "model.time_bias=true",
        "features.embedding_dim=4",
        "features.hidden_dim=6",
        f"features.columns={json.dumps([c.column.to_dict() for c in COLUMNS])}",
    ]
)
VOCABULARY = ItemVocabulary([f"i{n}" for n in range(9)], [1] * 9).with_log_columns(COLUMNS)
T0 = 1_700_000_000
# user, item, seconds after T0, screen, paid
ROWS = [
    ("a", "i1", 0, "tv", "2"),
    ("a", "i2", 50, "", "5"),
    ("b", "i3", 60, "phone", ""),
    ("a", "gone", 70, "tv", "1"),
    ("b", "i3", 90_000, "fridge", "3"),
]
CONTEXTS = {
    "a": {
        "history_device": ["tv", None, "tv"],
        "history_paid": [2.0, 5.0, 1.0],
        "history_timestamps": [T0, T0 + 50, T0 + 70],
        "request_timestamp": T0 + 90_000,
    },
    "b": {
        "history_device": ["phone", "fridge"],
        "history_paid": [None, 3.0],
        "history_timestamps": [T0 + 60, T0 + 90_000],
        "request_timestamp": T0 + 90_000,
    },
}
HISTORIES = {"a": ("i1", "i2", "gone"), "b": ("i3", "i3")}


@pytest.fixture(scope="module")
def serving_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    write_release(folder, CONFIG, VOCABULARY)
    return folder


@pytest.fixture(scope="module")
def tower(serving_dir):
    servable = SavedModelServable("user_tower", 1, serving_dir / "user_tower" / "1")
    return PredictUserVectors(servable.predict_default, 1, servable)


def write_log(folder, rows=ROWS, columns=("screen", "paid")):
    header = ["user_id", "item_id", "timestamp", "screen", "paid"]
    kept = [at for at, name in enumerate(header) if at < 3 or name in columns]
    lines = [[u, i, str(T0 + t), *more] for u, i, t, *more in rows]
    text = [",".join(line[at] for at in kept) for line in [header, *lines]]
    (folder / "log.csv").write_text("\n".join(text) + "\n")
    return open_events(str(folder / "log.csv"))


def embed(serving_dir, folder, source, chosen=None):
    options = jobs.JobOptions(serving_dir, folder / "users.parquet")
    jobs.write_user_vectors(jobs.Users(source, chosen), EmbedUsers(skip_unknown=False), options)
    rows = pq.read_table(folder / "users.parquet").to_pylist()
    return {row["user_id"]: np.array(row["user_vectors"]) for row in rows}


def test_a_release_says_what_it_looks_at(serving_dir):
    wanted = opened_release.wanted_of(latest_release(serving_dir))
    assert wanted.times
    assert wanted.features == (COLUMNS[0].column, COLUMNS[1].column)


def test_vectors_are_those_of_a_request_with_all_that_the_log_says(serving_dir, tower, tmp_path):
    found = embed(serving_dir, tmp_path, write_log(tmp_path))
    assert found.keys() == {"a", "b"}
    for user, vectors in found.items():
        wanted = tower.compute([HISTORIES[user]], contexts=[CONTEXTS[user]]).user_vectors[0]
        np.testing.assert_allclose(vectors, wanted, rtol=1e-4, atol=1e-6)
        plain = tower.compute([HISTORIES[user]]).user_vectors[0]
        assert np.abs(vectors - plain).max() > 1e-3


def test_users_without_events_have_no_values(serving_dir, tower, tmp_path):
    (tmp_path / "users.csv").write_text("user_id\nb\nnobody\n")
    chosen = IdFile(str(tmp_path / "users.csv"), "user_id")
    found = embed(serving_dir, tmp_path, write_log(tmp_path), chosen)
    assert found.keys() == {"b", "nobody"}
    wanted = tower.compute([HISTORIES["b"]], contexts=[CONTEXTS["b"]]).user_vectors[0]
    np.testing.assert_allclose(found["b"], wanted, rtol=1e-4, atol=1e-6)


def test_what_a_log_lacks_is_unknown_and_told(serving_dir, tower, tmp_path, caplog):
    found = embed(serving_dir, tmp_path, write_log(tmp_path, columns=("paid",)))
    context = {name: value for name, value in CONTEXTS["a"].items() if name != "history_device"}
    wanted = tower.compute([HISTORIES["a"]], contexts=[context]).user_vectors[0]
    np.testing.assert_allclose(found["a"], wanted, rtol=1e-4, atol=1e-6)
    assert "The feature 'device' is answered as unknown: " in caplog.text
    assert "lacks the column 'screen'" in caplog.text


def test_numbers_that_only_give_an_order_are_no_times(serving_dir, tower, tmp_path):
    (tmp_path / "log.csv").write_text(
        "user_id,item_id,timestamp,screen,paid\na,i1,1,tv,2\na,i2,2,tv,2\n"
    )
    found = embed(serving_dir, tmp_path, open_events(str(tmp_path / "log.csv")))
    context = {"history_device": ["tv", "tv"], "history_paid": [2, 2]}
    wanted = tower.compute([("i1", "i2")], contexts=[context]).user_vectors[0]
    np.testing.assert_allclose(found["a"], wanted, rtol=1e-4, atol=1e-6)


def test_recommendations_are_those_of_these_vectors(serving_dir, tower, tmp_path):
    options = jobs.JobOptions(serving_dir, tmp_path / "recs.parquet")
    wanted = RecommendUsers(k=3, fields={}, skip_unknown=False, with_reasons=False)
    jobs.write_recommendations(jobs.Users(write_log(tmp_path)), wanted, options)
    table = pq.read_table(tmp_path / "recs.parquet")
    assert isinstance(table, pa.Table)
    servable = SavedModelServable("item_tower", 1, serving_dir / "item_tower" / "1")
    ids = np.array([f"i{n}".encode() for n in range(9)], object)
    items = servable.predict("", {"item_ids": ids})["item_vectors"]
    for row in table.to_pylist():
        user = row["user_id"]
        vectors = tower.compute([HISTORIES[user]], contexts=[CONTEXTS[user]]).user_vectors[0]
        scores = (vectors @ items.T).max(axis=0)
        scores[[int(i[1:]) for i in HISTORIES[user] if i != "gone"]] = -np.inf
        best = [f"i{n}" for n in np.argsort(-scores)[:3]]
        assert [item["item_id"] for item in row["recommendations"]] == best
