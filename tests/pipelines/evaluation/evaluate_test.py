"""The evaluate job on a real, tiny model, and the parts it is made of."""

import json

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import held_out, records, trained_model
from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import blessing, evaluate, lists, vectors
from pipelines.evaluation.user_results import UserResults
from pipelines.ingestion import examples as example_writer
from pipelines.training import trainer
from recall import thresholds
from recall.config import RecallConfig
from recall.errors import InputError
from recall.ragged import Ragged
from recall.vocabulary import ItemVocabulary
from serving.release import storage

NUM_ITEMS = 30
SMALL = [
    "model.dim=8",
    "model.num_interests=2",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "model.max_history_length=6",
    "evaluation.ks=[1, 5, 10]",
    'evaluation.thresholds=["test.ndcg@10 >= 0"]',
]


def write_file(path, examples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
        for example in examples:
            writer.write(example)
    return {path.name: len(examples)}


def write_examples(examples_dir, config, vocabulary, seed=0):
    """A folder as `recall ingest` leaves it: 40 users in two files per split."""
    generator = np.random.default_rng(seed)
    splits, tasks = {}, {}
    windows = [generator.integers(2, NUM_ITEMS + 2, generator.integers(2, 8)) for _ in range(50)]
    name = example_writer.file_name(6, 0, 1)
    files = write_file(
        examples_dir / "Split-train" / name, [example_writer.train_example(w) for w in windows]
    )
    splits["train"] = {"files": files}
    for split in ("valid", "test"):
        users = [
            (
                f"u{user}".encode(),
                generator.integers(1, NUM_ITEMS + 2, generator.integers(1, 12)),
                generator.integers(1, NUM_ITEMS + 2, generator.integers(1, 4)),
            )
            for user in range(40)
        ]
        files = {}
        for shard in range(2):
            path = examples_dir / f"Split-{split}" / example_writer.file_name(0, shard, 2)
            part = users[shard * 20 : shard * 20 + 20]
            files |= write_file(path, [example_writer.held_out_example(*user) for user in part])
        splits[split], tasks[split] = {"files": files}, users
    records.write_vocabulary(examples_dir, vocabulary)
    storage.write_json(examples_dir / "statistics.json", {"splits": splits})
    record = records.build_record("ingest", config.to_dict(["ingest"]), {"events": str(seed)})
    records.write_record(examples_dir, record)
    return tasks


def write_model(model_dir, examples_dir, config, vocabulary):
    """A folder as `recall train` leaves it, with initial weights."""
    tf.keras.utils.set_random_seed(1)
    model_dir.mkdir()
    model = trained_model.build_model(config, vocabulary)
    trained_model.best_manager(model, model_dir).save()
    records.write_config(model_dir, config)
    records.write_vocabulary(model_dir, vocabulary)
    records.write_record(model_dir, trainer.train_record(config, examples_dir))


class Job:
    """Inputs and outputs of one evaluation."""

    def __init__(self, root):
        self.config = RecallConfig().override(SMALL)
        categories = [("even",) if i % 2 else ("odd", "all") for i in range(NUM_ITEMS)]
        self.vocabulary = ItemVocabulary(
            [f"i{i}" for i in range(NUM_ITEMS)], range(NUM_ITEMS, 0, -1), categories
        )
        self.examples, self.model = root / "examples", root / "model"
        self.tasks = write_examples(self.examples, self.config, self.vocabulary)
        write_model(self.model, self.examples, self.config, self.vocabulary)
        self.evaluation = root / "evaluation"
        self.report = evaluate.run_evaluation(self.examples, self.model, self.evaluation)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return Job(tmp_path_factory.mktemp("evaluate"))


def expected_recall(job, split, k):
    """Recall of the model from the towers alone, users one by one."""
    model = trained_model.load_model(job.model).model
    item_vectors = model.item_tower(tf.range(2, NUM_ITEMS + 2, dtype=tf.int64)).numpy()
    latest = [list(history[-6:]) for _, history, _ in job.tasks[split]]
    padded = tf.constant([ids + [0] * (6 - len(ids)) for ids in latest], tf.int64)
    user_vectors = model.user_tower(padded).user_vectors.numpy()
    shares = []
    for (_, history, positives), own in zip(job.tasks[split], user_vectors, strict=True):
        scores = (own @ item_vectors.T).max(axis=0)
        left = [row for row in np.argsort(-scores) if row + 2 not in set(history.tolist())]
        known = set(positives[positives > 1].tolist())
        number = len(known) + int((positives == 1).sum())
        shares.append(len(known & {row + 2 for row in left[:k]}) / number)
    return np.mean(shares)


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize(("section", "split"), [("validation", "valid"), ("test", "test")])
def test_metrics_equal_one_user_at_a_time(job, section, split, k):
    expected = expected_recall(job, split, k)
    assert job.report[section][f"recall@{k}"] == pytest.approx(expected)


def test_report_is_complete(job):
    assert json.loads((job.evaluation / "report.json").read_text()) == job.report
    assert job.report["num_items"] == NUM_ITEMS
    assert job.report["num_users"] == {"validation": 40, "test": 40}
    assert job.report["protocol"] == {
        "name": "leave_one_out",
        "num_targets": None,
        "candidates": "full catalogue",
        "exclude_seen": True,
        "ks": [1, 5, 10],
        "max_history_length": 6,
        "categories_left_out": [],
    }
    assert job.report["index"] is None
    sections = {name: job.report[name] for name in ("validation", "test")}
    sections |= job.report["baselines"]
    assert set(sections) == {"validation", "test", "popularity", "bigram"}
    for section in sections.values():
        names = {name for name in section if "@" in name}
        wanted = {f"{name}@{k}" for name in thresholds.METRIC_NAMES for k in (1, 5, 10)}
        assert names == wanted - {"category_diversity@1"}, "one item makes no pair"
        assert set(section["standard_errors"]) == {
            f"{name}@{k}"
            for name in ("recall", "ndcg", "mrr", "hit_rate", "debiased_hit_rate")
            for k in (1, 5, 10)
        }
        assert section["num_users"] == 40


def test_what_the_report_needs_lies_beside_it(job):
    users = UserResults.read(job.evaluation / "users.parquet")
    assert users.user_ids.tolist() == [user_id.decode() for user_id, *_ in job.tasks["test"]]
    for ranker, section in {"model": job.report["test"], **job.report["baselines"]}.items():
        metrics = users.user_metrics(ranker, [1, 5, 10])
        for name, metric in metrics.items():
            assert metric.total() == pytest.approx(section[name])
            assert metric.standard_error() == pytest.approx(section["standard_errors"][name])
    details = json.loads((job.evaluation / "details.json").read_text())
    assert details["recall"] == pytest.approx(job.report["test"]["recall@10"])
    assert len(details["interests"]) == 2


def test_positives_that_cannot_be_hit_are_counted(job):
    tasks = job.tasks["test"]
    unknown = sum(int((positives == 1).sum()) for *_, positives in tasks)
    seen = sum(
        int((np.isin(positives, history) & (positives > 1)).sum())
        for _, history, positives in tasks
    )
    assert unknown > 0, "the data must have the case"
    assert seen > 0, "the data must have the case"
    section = job.report["test"]
    assert section["num_unknown_positives"] == unknown
    assert section["num_seen_positives"] == seen
    assert section["num_positives"] == sum(len(positives) for *_, positives in tasks)


def test_verdict_and_record(job):
    assert (job.evaluation / "BLESSED").read_bytes() == b""
    assert not (job.evaluation / "NOT_BLESSED").exists()
    record = evaluate.evaluation_record(job.config, job.examples, job.model)
    assert records.is_current(job.evaluation, record)
    other = job.config.override(["evaluation.exclude_seen=false"])
    assert not records.is_current(
        job.evaluation, evaluate.evaluation_record(other, job.examples, job.model)
    )


def test_a_failed_threshold_is_not_blessed(job, tmp_path):
    config = job.config.override(['evaluation.thresholds=["test.recall@10 > 0.999"]'])
    report = evaluate.run_evaluation(job.examples, job.model, tmp_path / "evaluation", config)
    assert (tmp_path / "evaluation" / "NOT_BLESSED").exists()
    assert not (tmp_path / "evaluation" / "BLESSED").exists()
    (check,) = report["blessing"]["thresholds"]
    assert check["value"] == report["test"]["recall@10"]
    assert (check["bound"], check["passed"]) == (0.999, False)


def test_the_index_report_is_added_beside(job, tmp_path):
    storage.write_json(tmp_path / "report.json", job.report)
    with pytest.raises(InputError, match="recall evaluate"):
        evaluate.add_index_report(tmp_path, {"recall@100": 0.98})
    records.write_record(tmp_path, records.read_record(job.evaluation))
    evaluate.add_index_report(tmp_path, {"recall@100": 0.98})
    assert storage.read_json(tmp_path / "report.json") == job.report | {
        "index": {"recall@100": 0.98}
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact.json", "report.json"]


def test_other_examples_are_refused_and_nothing_is_written(job, tmp_path):
    other = ItemVocabulary([f"x{i}" for i in range(NUM_ITEMS)], range(NUM_ITEMS, 0, -1))
    write_examples(tmp_path / "examples", job.config, other, seed=1)
    with pytest.raises(InputError, match="trained on other examples"):
        evaluate.run_evaluation(tmp_path / "examples", job.model, tmp_path / "evaluation")
    with pytest.raises(InputError, match="recall train"):
        evaluate.run_evaluation(tmp_path / "examples", tmp_path, tmp_path / "evaluation")
    assert [path.name for path in tmp_path.iterdir()] == ["examples"]


def test_the_early_stopping_metric_is_the_reported_one(job):
    model = trained_model.load_model(job.model).model
    result = lists.evaluate_user_vectors(
        vectors.build_user_vector_function(model),
        vectors.compute_item_vectors(model, NUM_ITEMS),
        held_out.read_held_out(job.examples, "valid"),
        max_history_length=6,
        ks=(10,),
        exclude_seen=True,
        batch_size=7,
    )
    assert result.metrics["ndcg@10"] == pytest.approx(job.report["validation"]["ndcg@10"])
    assert result.top_rows.shape == (40, 10)


class TestEvaluateUserVectors:
    """With numpy in the place of towers: items on the axes, users point at one."""

    held_out = HeldOutUsers(
        np.array([b"a", b"b", b"c"], object),
        Ragged.from_rows([[2, 3], [4], [3, 3, 2, 5]]),
        Ragged.from_rows([[4], [2, 1], [3]]),
    )
    items = np.eye(4, dtype=np.float32)

    def evaluate(self, exclude_seen, length=2):
        batches = []

        def compute_user_vectors(history_ids):
            batches.append(history_ids)
            # Closest to the last item, then to the one with the next row, and so on.
            last = (history_ids != 0).sum(axis=1) - 1
            row = np.take_along_axis(history_ids, last[:, None], axis=1)[:, 0] - 2
            wheel = np.array([4.0, 3.0, 2.0, 1.0], np.float32)
            return np.stack([np.roll(wheel, shift) for shift in row])[:, None]

        result = lists.evaluate_user_vectors(
            compute_user_vectors,
            self.items,
            self.held_out,
            max_history_length=length,
            ks=[1, 3],
            exclude_seen=exclude_seen,
            batch_size=2,
        )
        return result, batches

    def test_lists_follow_the_order_of_the_users(self):
        result, _ = self.evaluate(exclude_seen=False)
        np.testing.assert_array_equal(result.top_rows, [[1, 2, 3], [2, 3, 0], [3, 0, 1]])
        # Rows wanted: 2 | 0 and one unknown | 1.
        assert result.metrics["recall@3"] == pytest.approx((1 + 1 / 2 + 1) / 3)
        assert result.metrics["hit_rate@3"] == pytest.approx(3 / 4)
        assert result.metrics["recall@1"] == 0

    def test_seen_items_are_removed_even_when_positive(self):
        result, _ = self.evaluate(exclude_seen=True)
        np.testing.assert_array_equal(result.top_rows, [[2, 3, -1], [3, 0, 1], [2, -1, -1]])
        # User c clicks row 1 again: removed, hence a miss.
        assert result.metrics["recall@3"] == pytest.approx((1 + 1 / 2 + 0) / 3)
        assert lists.count_positives(self.held_out) == {
            "num_users": 3,
            "num_positives": 4,
            "num_unknown_positives": 1,
            "num_seen_positives": 1,
        }

    def test_histories_are_the_latest_events_left_aligned(self):
        _, batches = self.evaluate(exclude_seen=False, length=3)
        given = sorted(np.concatenate(batches).tolist())
        assert given == [[2, 3, 0], [3, 2, 5], [4, 0, 0]]


REPORT = {
    "test": {"ndcg@10": 0.5, "gini@10": 0.9},
    "baselines": {"popularity": {"ndcg@10": 0.5}, "bigram": {}},
    "kinds": {
        "model": {"buy": {"ndcg@10": 0.3}, "a.b": {"ndcg@10": 0.6}},
        "popularity": {"buy": {"ndcg@10": 0.4}, "a.b": {"ndcg@10": 0.1}},
    },
}


class TestBlessing:
    @pytest.mark.parametrize(
        ("text", "passed"),
        [
            ("test.ndcg@10 > baselines.popularity.ndcg@10", False),
            ("test.ndcg@10 >= baselines.popularity.ndcg@10", True),
            ("test.ndcg@10<=0.5", True),
            ("test.gini@10 < 9e-1", False),
            ("test.gini@10 < 0.95", True),
            ("test.category_diversity@10 > 0", False),
            ("test.ndcg@10 > baselines.bigram.ndcg@10", False),
            ("validation.ndcg@10 >= 0", False),
            ("test.ndcg@10[buy] > 0.29", True),
            ("test.ndcg@10[buy] > 0.3", False),
            ("test.ndcg@10[buy] < test.ndcg@10", True),
            ("test.ndcg@10[buy] > baselines.popularity.ndcg@10[buy]", False),
            ("test.ndcg@10[a.b] > baselines.popularity.ndcg@10[buy]", True),
            ("test.ndcg@10[buy] > baselines.bigram.ndcg@10[buy]", False),
            ("test.ndcg@10[cart] >= 0", False),
        ],
    )
    def test_thresholds(self, text, passed):
        verdict = blessing.judge(REPORT, [text])
        assert verdict["blessed"] is passed
        assert verdict["thresholds"][0]["passed"] is passed

    def test_every_threshold_must_hold(self):
        texts = ["test.ndcg@10 > 0.4", "test.ndcg@10 > 0.6"]
        assert not blessing.judge(REPORT, texts)["blessed"]
        assert blessing.judge(REPORT, texts[:1])["blessed"]
        assert blessing.judge(REPORT, [])["blessed"]

    def test_a_refusal_names_what_failed_and_the_switch(self):
        texts = ["test.ndcg@10 > 0.4", "test.ndcg@10 > 0.6", "test.mrr@10 > 0.1"]
        assert blessing.describe_refusal(blessing.judge(REPORT, texts)) == (
            "test.ndcg@10 > 0.6 is not true (0.5000 against 0.6000); test.mrr@10 > 0.1 is not "
            "true (not measured against 0.1000). To publish it all the same, give the `recall run` "
            "or `recall evaluate` that judged it the switch "
            "'--set=evaluation.thresholds=[\"test.ndcg@10 > 0.4\"]'"
        )
        of_kinds = ["test.ndcg@10[cart] > 0", "test.ndcg@10[buy] > baselines.bigram.ndcg@10[buy]"]
        assert blessing.describe_refusal(blessing.judge(REPORT, of_kinds)).startswith(
            "test.ndcg@10[cart] > 0 is not true (no test event is of the kind 'cart'); "
            "test.ndcg@10[buy] > baselines.bigram.ndcg@10[buy] is not true (0.3000 against not "
            "measured). To publish"
        )
        text = blessing.describe_refusal(blessing.judge(REPORT, texts[1:]))
        assert text.endswith(" the switch '--set=evaluation.thresholds=[]'")

    @pytest.mark.parametrize(
        ("popularity", "bigram", "blessed"),
        [(0.4, 0.4, True), (0.6, 0.4, False), (0.4, 0.6, False), (0.4, 0.5, False)],
    )
    def test_the_default_gate_is_both_baselines(self, popularity, bigram, blessed):
        report = {
            "test": {"ndcg@10": 0.5},
            "baselines": {"popularity": {"ndcg@10": popularity}, "bigram": {"ndcg@10": bigram}},
        }
        thresholds = RecallConfig().evaluation.thresholds
        assert blessing.judge(report, thresholds)["blessed"] is blessed
