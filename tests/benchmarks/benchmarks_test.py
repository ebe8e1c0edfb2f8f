"""The benchmarks on tiny cases: they run, and what they measure is what they say."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pipelines.training import input_pipeline as recall_input_pipeline
from recall.config import RecallConfig
from tests.benchmarks import (
    evaluation,
    input_pipeline,
    logs,
    measure,
    quality,
    training,
    warm_start,
)

SMALL = [
    "model.dim=8",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "loss.num_negatives=8",
    "train.batch_size=16",
]
CASE = {
    "num_items": 500,
    "num_interests": 2,
    "seq2seq": "on",
    "batches": "bucketed",
    "steps": 3,
    "examples": None,
    "settings": SMALL,
}


def test_the_written_examples_have_the_lengths_of_the_log(tmp_path):
    assert sum(logs.BEAUTY_LENGTHS) == 22_512
    logs.write_training_split(tmp_path, logs.draw_sequences(2_000, 500))
    config = RecallConfig().override(["train.max_epochs=1", "train.batch_size=500"])
    data = recall_input_pipeline.read_training_data(tmp_path, config)
    ids = [batch.item_ids.numpy() for batch in data.dataset]
    num_slots = np.concatenate([(part > 0).sum(axis=1) - 1 for part in ids])
    assert len(num_slots) == 2_000
    # Mean 131,413 / 22,512 = 5.84 with a standard deviation of about 7.
    assert num_slots.mean() == pytest.approx(5.84, abs=0.6)
    assert {part.shape[1] - 1 for part in ids} >= {4, 8, 16, 32}
    assert max(part.max() for part in ids) <= 501
    # An item of rank r has a probability of about 1/r: half of the clicks, sqrt(500) items.
    items = np.concatenate([part[part > 0] for part in ids])
    assert np.mean(items < 2 + 22) == pytest.approx(0.5, abs=0.05)


def test_padding_moves_sequences_and_changes_none():
    config = training.case_config(CASE)
    bucketed, padded = (
        [
            batch.item_ids.numpy()
            for batch in training.read_batches(CASE | {"batches": kind}, config)
        ]
        for kind in ("bucketed", "padded")
    )
    assert len({ids.shape[1] for ids in bucketed}) > 1
    assert {ids.shape[1] for ids in padded} == {51}

    def sequences(batches):
        return sorted(ids[ids > 0].tolist() for batch in batches for ids in batch)

    assert sequences(padded) == sequences(bucketed)


@pytest.mark.slow
def test_training_counts_real_slots(tmp_path):
    logs.write_training_split(tmp_path, logs.draw_sequences(48, 500))
    case = CASE | {"examples": str(tmp_path), "num_items": 20, "steps": 100}
    config = training.case_config(case)
    batches = training.read_batches(case, config)
    slots = sum(int((batch.positive_ids.numpy() > 0).sum()) for batch in batches)
    assert max(int(batch.item_ids.numpy().max()) for batch in batches) <= 21, "ids wrap around"
    facts = training.measure_case(case)
    assert facts["target_slots_per_step"] == pytest.approx(slots / len(batches))
    assert facts["target_slots_per_second"] == pytest.approx(
        1e3 * facts["target_slots_per_step"] / facts["ms_per_step"]
    )


def test_the_case_decides_the_configuration():
    config = training.case_config(CASE | {"seq2seq": "off", "num_interests": 3})
    assert config.loss.seq2seq_weight == 0
    assert config.model.num_interests == 3
    assert config.model.dim == 8
    assert training.case_config(CASE).loss == RecallConfig().override(SMALL).loss


def test_a_step_is_compared_with_that_of_the_first_case():
    def build(cpu_ms, slots, **varied):
        costs = {"cpu_ms_per_step": cpu_ms, "target_slots_per_cpu_second": slots}
        return CASE | varied | costs

    cases = [build(50.0, 9_000.0), build(60.0, 3_000.0, batches="padded", num_items=7)]
    assert training.compare(cases) == {
        "num_items=7, batches=padded": {"cpu_time_of_a_step": 1.2, "cpu_time_of_a_slot": 3.0}
    }


def test_reading_is_measured_in_sequences(tmp_path):
    logs.write_training_split(tmp_path, logs.draw_sequences(300, 500))
    case = {"examples": str(tmp_path), "batch_size": 32, "epochs": 1}
    facts = input_pipeline.measure_case(case)
    assert facts["sequences_per_second"] > 0
    assert 3 < facts["target_slots_per_second"] / facts["sequences_per_second"] < 9
    assert 0 < facts["padding_share"] < 0.6


def test_users_that_are_not_measured_are_extrapolated():
    case = {"num_users": 300, "num_items": 200, "num_interests": 2, "measured_users": 30}
    facts = evaluation.measure_case(case)
    assert facts["share_measured"] == pytest.approx(0.1)
    assert facts["scores_per_cpu_second"] * facts["cpu_seconds"] == pytest.approx(300 * 200)
    assert 0 < facts["seconds_of_products"] < facts["seconds"]


def test_lists_are_compared_with_those_of_numpy():
    """Two users on one axis: items 0, 1, 2 by their values; the second has seen item 2."""
    users = evaluation.HeldOutUsers(
        np.array([b"a", b"b"], object),
        evaluation.Ragged.from_rows([[1], [4]]),
        evaluation.Ragged.from_rows([[2], [2]]),
    )
    items = np.array([[1.0], [2.0], [3.0]], np.float32)

    facts = evaluation.compare_lists(
        np.array([[2, 1], [0, 1]]), users, np.ones([2, 1, 1], np.float32), items
    )

    assert facts == {"lists_as_of_numpy": 0.5, "slots_as_of_numpy": 0.5}


def test_a_benchmark_prints_one_json_text():
    command = [sys.executable, "-m", "tests.benchmarks.input_pipeline"]
    arguments = ["--sequences=200", "--batch_sizes=50", "--epochs=1"]
    result = subprocess.run(
        [*command, *arguments], cwd=measure.ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["machine"]["cores"] >= 1
    assert [case["batch_size"] for case in report["cases"]] == [50]
    assert report["cases"][0]["sequences_per_second"] > 0


def test_a_case_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no such folder"):
        measure.run_case(
            "tests.benchmarks.input_pipeline",
            {"examples": "no such folder", "batch_size": 1, "epochs": 1},
        )


def test_the_summary_of_seeds_by_hand():
    summary = quality.summarise([{"ndcg": 0.1, "epochs": 3}, {"ndcg": 0.3, "epochs": 5}])
    assert summary["ndcg"] == {"mean": 0.2, "standard_deviation": pytest.approx(0.14142)}
    assert summary["epochs"]["mean"] == 4
    assert quality.summarise([{"ndcg": 0.25}]) == {"ndcg": {"mean": 0.25}}


def test_seeds_of_another_recipe_are_not_mixed_in(tmp_path):
    quality.check_recipe(tmp_path, {"settings": []})
    quality.check_recipe(tmp_path, {"settings": []})
    with pytest.raises(ValueError, match="another recipe"):
        quality.check_recipe(tmp_path, {"settings": ["model.dim=8"]})


def test_yesterday_lacks_the_latest_clicks():
    day = 86_400
    rows = [
        {"user_id": user, "item_id": str(number), "timestamp": str(time)}
        for number, (user, time) in enumerate(
            [("a", 0), ("a", day), ("a", 2 * day), ("b", 0), ("b", 4 * day), ("c", 4 * day)]
        )
    ]

    def numbers(clicks, days):
        kept = warm_start.take_yesterday(rows, clicks, days)
        return [int(row["item_id"]) for row in kept]

    assert numbers(1, 0) == [0, 1, 3]
    assert numbers(0, 2) == [0, 1, 2, 3]
    assert numbers(1, 2.5) == [0, 1, 3]
    assert numbers(0, 0) == [0, 1, 2, 3, 4, 5]


def test_a_warm_start_is_counted_in_epochs():
    facts = warm_start.compare(scratch=[0.0, 0.1, 0.3, 0.5, 0.4], warm=[0.2, 0.5, 0.6])

    assert (facts["epochs_from_scratch"], facts["epochs_warm"]) == (3, 1)
    assert facts["share_of_the_steps"] == 0.333
    assert warm_start.compare([0.0, 0.5], [0.1, 0.4])["share_of_the_steps"] is None
    assert warm_start.compare([0.0, 0.5], [0.5])["epochs_warm"] == 0


@pytest.mark.slow
def test_quality_of_two_seeds_of_a_planted_log(tmp_path):
    recall = [sys.executable, "-m", "pipelines.cli"]
    log, examples = tmp_path / "log", tmp_path / "examples"
    synthesize = ["synthesize", f"--output={log}", "--users=300", "--items=60"]
    subprocess.run([*recall, *synthesize], cwd=measure.ROOT, check=True)
    ingest = ["ingest", f"--events={log}/events.csv.gz", f"--output={examples}"]
    subprocess.run([*recall, *ingest], cwd=measure.ROOT, check=True)
    # Paths are meant from where the command is typed.
    command = [sys.executable, "-m", "tests.benchmarks.quality", "--examples=examples"]
    settings = [f"--set={setting}" for setting in [*SMALL, "train.max_epochs=2"]]
    output = ["--output=seeds", "--seeds=1,2", "--parallel=2"]
    for _ in range(2):  # The second time nothing is trained.
        result = subprocess.run(
            [*command, *settings, *output],
            cwd=tmp_path,
            env=measure.environment_of(measure.ROOT),
            capture_output=True,
            text=True,
            check=True,
        )
        report = json.loads(result.stdout)
        first, second = report["cases"]
        assert (first["epochs"], second["epochs"]) == (2, 2)
        assert first["validation_ndcg@10"] != second["validation_ndcg@10"]
        mean = (first["test_ndcg@10"] + second["test_ndcg@10"]) / 2
        assert report["summary"]["test_ndcg@10"]["mean"] == pytest.approx(mean, abs=1e-5)
        assert sum(first[f"interest_{k}"] for k in range(4)) == pytest.approx(1, abs=1e-4)
        assert first["training_cpu_seconds"] > 1
    assert "seed 1" not in result.stderr


@pytest.mark.slow
def test_ingest_prints_what_a_log_and_a_day_more_cost():
    command = [sys.executable, "-m", "tests.benchmarks.ingest", "--log_users=400"]
    result = subprocess.run(
        [*command, "--log_items=300"], cwd=measure.ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(result.stdout)
    assert found["events"] > 10_000
    for case in ("start_now", "log_now", "days_30", "days_31", "one_day_more"):
        assert 0.1 < found[case]["cpu_seconds"] < 60
        assert 0.05 < found[case]["peak_memory_gb"] < 2
