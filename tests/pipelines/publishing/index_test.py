"""The index job on the export of a stand-in model with known vectors."""

import json
import logging
import shutil
import zlib

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.artifacts import records as artifacts
from pipelines.publishing import embed, index, index_choice
from recall.config import IndexConfig, RecallConfig
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import ItemVocabulary
from serving.index import bundle, index_tuning
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import ScannIndex, ScannParameters, build_index
from serving.index.shards import Shard
from serving.release import export

NUM_ITEMS, DIM, LENGTH = 300, 8, 3
VOCABULARY = ItemVocabulary(
    [f"i{n}" for n in range(NUM_ITEMS)], range(NUM_ITEMS, 0, -1), titles=["T"] * NUM_ITEMS
)
CONFIG = RecallConfig.from_dict({"model": {"max_history_length": LENGTH, "dim": DIM}})


def make_table():
    """`[NUM_ITEMS + 2, DIM]` unit vectors by dense id."""
    table = np.random.default_rng(0).standard_normal((NUM_ITEMS + 2, DIM)).astype(np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


class MeanUserTower(tf.keras.Model):
    """Two interests: the mean of the history's vectors, and the newest one."""

    def __init__(self, table):
        super().__init__()
        self.table = tf.Variable(table)

    def call(self, history_ids, training=False):
        real = tf.cast(history_ids != 0, tf.float32)[..., tf.newaxis]
        vectors = tf.gather(self.table, history_ids) * real
        count = tf.maximum(tf.reduce_sum(real, axis=1), 1.0)
        last = tf.cast(count[:, 0], tf.int32) - 1
        mean, newest = (
            tf.reduce_sum(vectors, axis=1) / count,
            tf.gather(vectors, last, batch_dims=1),
        )
        return tf.stack([mean, newest], axis=1), tf.fill([tf.shape(history_ids)[0], 2], 0.5)


class TableItemTower(tf.keras.Model):
    def __init__(self, table):
        super().__init__()
        self.table = tf.Variable(table)

    def call(self, item_ids):
        return tf.gather(self.table, item_ids)


@pytest.fixture(scope="module")
def export_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "export [1]*"  # TensorFlow takes it for a pattern.
    folder.mkdir()
    artifacts.write_vocabulary(folder, VOCABULARY)
    towers = MeanUserTower(make_table()), TableItemTower(make_table())
    export.export_towers(*towers, VOCABULARY, CONFIG, folder)
    artifacts.write_record(folder, artifacts.build_record("export", {}, {}))
    return folder


def write_examples(folder, histories, split="test", vocabulary=VOCABULARY):
    """An examples folder with one held-out split of dense histories."""
    folder.mkdir(exist_ok=True)
    artifacts.write_vocabulary(folder, vocabulary)
    name = "examples-00000-00000-of-00001.tfrecord.gz"
    for part in ("valid", "test"):
        (folder / f"Split-{part}").mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / f"Split-{split}" / name), "GZIP") as writer:
        for user, history in enumerate(histories):
            features = {
                "user_id": tf.train.Feature(bytes_list={"value": [b"u%d" % user]}),
                "history": tf.train.Feature(int64_list={"value": history}),
                "positives": tf.train.Feature(int64_list={"value": [2]}),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    statistics = {"splits": {split: {"examples": len(histories), "files": {name: len(histories)}}}}
    (folder / "statistics.json").write_text(json.dumps(statistics))
    artifacts.write_record(folder, artifacts.build_record("ingest", {}, {}))
    return folder


@pytest.fixture
def examples_dir(tmp_path):
    generator = np.random.default_rng(1)
    histories = [generator.integers(2, NUM_ITEMS + 2, n).tolist() for n in range(1, 31)]
    return write_examples(tmp_path / "examples", histories)


@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_bundle_searches_the_exported_vectors(export_dir, examples_dir, tmp_path, kind):
    config = RecallConfig().override([f"index.kind={kind}"])
    report = index.run_index(export_dir, examples_dir, tmp_path / "index", config)
    opened = bundle.open_bundle(tmp_path / "index")
    np.testing.assert_allclose(opened.item_vectors, make_table()[2:], atol=1e-6)
    assert opened.items.item_ids == VOCABULARY.item_ids
    assert opened.items.titles[0] == "T"
    assert opened.fallback[:2] == ("i0", "i1")
    assert (report["kind"], report["num_items"], report["dim"]) == (kind, NUM_ITEMS, DIM)
    # 30 users with 2 interests each.
    assert (report["num_queries"], report["measured_on"]) == (60, "users of Split-test")
    assert report["recall@100"] >= 0.95
    assert report == index.read_report(tmp_path / "index")
    assert ("reason" in report["tuning"]) == ("curve" in report["tuning"]) == (kind == "scann")
    assert report["tuning"]["exact_cpu_ms_per_user"] > 0
    query = make_table()[7:8]
    assert opened.index.search(query, 1).rows[0].tolist() == [5]  # Dense id 7 is row 5.


def test_record_tells_when_it_is_current(export_dir, examples_dir, tmp_path):
    config = RecallConfig()
    index.run_index(export_dir, examples_dir, tmp_path / "index", config)
    record = index.index_record(config, export_dir, examples_dir)
    assert artifacts.is_current(tmp_path / "index", record)
    other = config.override(["index.reorder=100"])
    assert not artifacts.is_current(
        tmp_path / "index", index.index_record(other, export_dir, examples_dir)
    )


def test_low_recall_is_refused_and_nothing_is_left(export_dir, examples_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(index_choice, "recall_against_exact", lambda *_: 0.8765)
    with pytest.raises(InputError, match=r"finds 0\.8765 of the exact top 100, less than index"):
        index.run_index(export_dir, examples_dir, tmp_path / "index", RecallConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["examples"]


class TestQueries:
    def build(self, export_dir, examples_dir):
        vectors = make_table()[2:]
        return embed.build_queries(export_dir, examples_dir, VOCABULARY, vectors)

    def test_user_vectors_by_hand(self, export_dir, tmp_path):
        # Four items of which the last three count; unknown (1) is passed over.
        examples_dir = write_examples(tmp_path / "examples", [[2, 3, 1, 4, 5]])
        queries, measured_on = self.build(export_dir, examples_dir)
        table = make_table()
        np.testing.assert_allclose(queries[0], table[[3, 4, 5]].mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(queries[1], table[5], atol=1e-6)
        assert measured_on == "users of Split-test"

    def test_users_without_a_known_item_are_left_out(self, export_dir, tmp_path):
        examples_dir = write_examples(tmp_path / "examples", [[1], [2], [], [1, 1]])
        assert len(self.build(export_dir, examples_dir)[0]) == 2

    def test_validation_users_where_there_is_no_test(self, export_dir, tmp_path):
        examples_dir = write_examples(tmp_path / "examples", [[2, 3]], split="valid")
        assert self.build(export_dir, examples_dir)[1] == "users of Split-valid"

    @pytest.mark.parametrize("histories", [[], [[1]]])
    def test_items_where_there_is_no_user(self, export_dir, tmp_path, histories):
        examples_dir = write_examples(tmp_path / "examples", histories)
        queries, measured_on = self.build(export_dir, examples_dir)
        assert (len(queries), measured_on) == (NUM_ITEMS, "items")

    def test_users_are_sampled(self, export_dir, examples_dir, monkeypatch):
        monkeypatch.setattr(embed, "_MAX_USERS", 10)
        assert len(self.build(export_dir, examples_dir)[0]) == 20


class TestTuning:
    def tune(self, kind="scann", **changes):
        """6 leaves of random vectors: one leaf alone finds little."""
        vectors = make_table()[2:]
        built = ScannIndex.build(vectors, ScannParameters(6, 1, NUM_ITEMS, spherical=True))
        config = IndexConfig(kind=kind, min_index_recall=0.0, **changes)
        return index_choice.tune_index(built, ExactIndex(vectors), make_table()[:100], config)

    def costs(self, monkeypatch, scann_ms, exact_ms):
        monkeypatch.setattr(
            index_tuning,
            "measure_cost_ms",
            lambda index, *_: exact_ms if index.kind == "exact" else scann_ms,
        )

    def test_looks_into_more_leaves_until_good_enough(self):
        tuned = self.tune(target_recall=0.9)
        assert 1 < tuned.index.parameters.leaves_to_search <= 6
        assert tuned.recall > 0.85

    def test_asked_for_scann_everything_is_scored_at_the_far_end(self):
        tuned = self.tune(target_recall=1.0)
        assert tuned.index.parameters[1:3] == (6, NUM_ITEMS)
        assert tuned.recall == 1.0
        assert "ScaNN scores everything, as index.kind=scann" in tuned.facts["reason"]

    def test_by_itself_it_is_exact_search_then(self):
        tuned = self.tune("auto", target_recall=1.0)
        assert (tuned.index.kind, tuned.recall) == ("exact", 1.0)
        assert tuned.facts["reason"].startswith("exact search: ScaNN finds at most")

    @pytest.mark.parametrize(
        ("kind", "exact_ms", "chosen"),
        [("auto", 0.9, "exact"), ("auto", 1.1, "scann"), ("scann", 0.9, "scann")],
    )
    def test_the_cheaper_one_is_taken_where_both_may_be(
        self, monkeypatch, caplog, kind, exact_ms, chosen
    ):
        caplog.set_level(logging.INFO)
        self.costs(monkeypatch, 1.0, exact_ms)
        tuned = self.tune(kind, target_recall=0.5)
        assert tuned.index.kind == chosen
        assert f"exact search takes {exact_ms} CPU-ms per user, ScaNN 1" in tuned.facts["reason"]
        assert ("index.kind=exact is cheaper" in caplog.text) == (kind == "scann")

    def test_reorders_more_once_every_leaf_is_searched(self):
        vectors = make_table()[2:]
        # 100 candidates for 100 results: the hash alone would choose them.
        built = ScannIndex.build(vectors, ScannParameters(6, 6, 1, spherical=True))
        config = IndexConfig(kind="scann", target_recall=1.0)
        tuned = index_choice.tune_index(built, ExactIndex(vectors), vectors, config)
        assert tuned.index.parameters.reorder > 200
        assert tuned.recall == 1.0

    def test_keeps_what_is_good_enough(self):
        tuned = self.tune(target_recall=0.0)
        assert tuned.index.parameters.leaves_to_search == 1
        assert tuned.recall < 0.9

    def test_one_query(self):
        vectors = make_table()[2:]
        exact = build_index(vectors, IndexConfig(), "cosine")
        assert index_choice.tune_index(exact, exact, vectors[:1], IndexConfig()).recall == 1.0


class TestBadInput:
    def refuse(self, export_dir, examples_dir, tmp_path, message):
        with pytest.raises(InputError, match=message):
            index.run_index(export_dir, examples_dir, tmp_path / "index", RecallConfig())
        assert not (tmp_path / "index").exists()

    def test_folders_of_other_jobs(self, export_dir, examples_dir, tmp_path):
        self.refuse(examples_dir, examples_dir, tmp_path, "made by `recall ingest`")
        self.refuse(export_dir, export_dir, tmp_path, "made by `recall export`")
        self.refuse(tmp_path / "no", examples_dir, tmp_path, "Run `recall export` first")

    def test_examples_of_another_log(self, export_dir, tmp_path):
        other = ItemVocabulary([f"j{n}" for n in range(NUM_ITEMS)])
        examples_dir = write_examples(tmp_path / "examples", [[2]], vocabulary=other)
        self.refuse(export_dir, examples_dir, tmp_path, "hold different items")

    def test_damaged_export(self, export_dir, examples_dir, tmp_path):
        damaged = tmp_path / "export"
        shutil.copytree(export_dir, damaged)
        path = damaged / "item_tower" / "variables" / "variables.data-00000-of-00001"
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
        self.refuse(damaged, examples_dir, tmp_path, r"variables\.data.* is damaged")


class TestShards:
    def build(self, export_dir, examples_dir, folder, shard):
        config = RecallConfig().override(["index.kind=exact"])
        return index.run_index(export_dir, examples_dir, folder, config, Shard.parse(shard))

    def test_shards_hold_every_item_once(self, export_dir, examples_dir, tmp_path):
        held = []
        for number in range(3):
            folder = tmp_path / f"index-{number}"
            report = self.build(export_dir, examples_dir, folder, f"{number}/3")
            assert report["shard"] == {"number": number, "count": 3}
            opened = bundle.open_bundle(folder)
            rows = [int(item_id[1:]) for item_id in opened.items.item_ids]
            assert rows == sorted(rows)
            np.testing.assert_allclose(opened.item_vectors, make_table()[2:][rows], atol=1e-6)
            # The fallback list is that of the whole catalogue.
            assert opened.fallback[:3] == ("i0", "i1", "i2")
            held += rows
        assert sorted(held) == list(range(NUM_ITEMS))

    def test_another_shard_is_another_artifact(self, export_dir, examples_dir, tmp_path):
        self.build(export_dir, examples_dir, tmp_path / "index", "0/2")
        config = RecallConfig().override(["index.kind=exact"])
        records = [
            index.index_record(config, export_dir, examples_dir, shard)
            for shard in (Shard(0, 2), Shard(1, 2), None)
        ]
        current = [artifacts.is_current(tmp_path / "index", record) for record in records]
        assert current == [True, False, False]

    def test_more_shards_than_items(self, export_dir, examples_dir, tmp_path):
        taken = {zlib.crc32(item_id.encode()) % 100_000 for item_id in VOCABULARY.item_ids}
        empty = min(set(range(1000)) - taken)
        with pytest.raises(InputError, match=r"gets none of the \d+ items\. Use fewer shards"):
            self.build(export_dir, examples_dir, tmp_path / "index", f"{empty}/100000")


def test_items_of_which_nothing_is_known_are_left_out():
    """They have gone from the items file and from the log; without features nobody can tell."""
    columns = (FeatureColumn("price", "item", "numeric"),)
    values = pa.table({"price": pa.array([None, 2.0, None])})
    vocabulary = ItemVocabulary(["clicked", "told", "gone"], [1, 0, 0])
    described = vocabulary.with_features(ItemFeatures.fit(columns, values, vocabulary.counts))
    assert index._take_clicked(described, 0).item_ids == ("clicked", "told")
    assert index._take_clicked(vocabulary, 0) is vocabulary


def test_items_with_too_few_clicks_are_left_out():
    vocabulary = ItemVocabulary(list("abcd"), [5, 2, 1, 0])

    assert index._take_clicked(vocabulary, 0) is vocabulary
    assert index._take_clicked(vocabulary, 1).item_ids == ("a", "b", "c")
    assert index._take_clicked(vocabulary, 2).counts.tolist() == [5, 2]
    with pytest.raises(InputError, match="the most clicked one has 5"):
        index._take_clicked(vocabulary, 6)
