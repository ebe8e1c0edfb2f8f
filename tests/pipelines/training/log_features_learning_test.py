"""Features of clicks and requests that tell what comes: learnt where they do, kept the next day."""

import json

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.trained_model import build_model
from pipelines.evaluation.evaluate import run_evaluation
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.training import job_state, trainer, warm_start
from pipelines.training.trainer import train_and_evaluate
from recall.config import RecallConfig

MARK = {"name": "mark", "owner": "event", "kind": "categorical"}
PLACE = {"name": "place", "owner": "request", "kind": "categorical"}


def configure(*columns, **settings):
    return RecallConfig().override(
        [
            "ingest.num_shards=2",
            "model.dim=16",
            "model.num_interests=2",
            "model.num_blocks=1",
            "model.feed_forward_dim=16",
            "model.max_history_length=20",
            "features.embedding_dim=4",
            "features.hidden_dim=16",
            "loss.num_negatives=128",
            "loss.seq2seq_weight=0",
            "train.max_epochs=10",
            "train.learning_rate=0.005",
            "train.jit_compile=false",
            f"features.columns={json.dumps(columns)}",
            *(f"{name.replace('__', '.')}={value}" for name, value in settings.items()),
        ]
    )


def measure(folder, spec, *columns):
    config = configure(*columns)
    ingest.run_ingest(open_events(spec), None, folder / "examples", config)
    train_and_evaluate(config, folder / "examples", folder / "model")
    report = run_evaluation(folder / "examples", folder / "model", folder / "evaluation")
    return report["test"]["recall@10"]


# Of docs/measurements.md, but half of the users.
PLANTED = (
    "synthetic:users=1500,items=400,interests=20,turn=1,run_length=3,noise=0.05,unrelated_future=0"
)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "column"), [("mark=0.95", MARK), ("place=0.8", PLACE)])
def test_what_tells_the_next_click_is_learnt(tmp_path, rate, column):
    spec = f"{PLANTED},{rate}"
    without, found = measure(tmp_path / "off", spec), measure(tmp_path / "on", spec, column)
    assert found > without + 0.02  # .562 and .568, of .521 without.


@pytest.mark.slow
def test_what_tells_nothing_changes_little(tmp_path):
    """A column of noise: a leak of what is predicted would be found here, too."""
    rng = np.random.default_rng(2)
    lines = ["user_id,item_id,timestamp,noise"]
    for user in range(600):
        items = rng.choice(50, 12, replace=False)
        lines += [f"u{user},i{item},{t},i{item}" for t, item in enumerate(items)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    column = {"name": "noise", "owner": "event", "kind": "categorical"}
    found = measure(tmp_path / "on", str(tmp_path / "log.csv"), column)
    # Of 50 items 11 were clicked: ten of 39 by chance; the column is the item that was clicked.
    assert found < 10 / 39 + 0.08


@pytest.mark.slow
def test_rows_of_values_follow_their_names_to_the_next_day(tmp_path):
    column = {"name": "device", "owner": "event", "kind": "categorical"}
    config = configure(column, train__max_epochs=1)
    days = {}
    for day, devices in (("before", "ab"), ("now", "cb")):
        lines = ["user_id,item_id,timestamp,device"]
        lines += [
            f"u{user},i{(user + t) % 9},{t},{devices[(user + t) % 2]}"
            for user in range(12)
            for t in range(6)
        ]
        (tmp_path / f"{day}.csv").write_text("\n".join(lines) + "\n")
        days[day] = tmp_path / day / "examples"
        ingest.run_ingest(open_events(str(tmp_path / f"{day}.csv")), None, days[day], config)
    train_and_evaluate(config, days["before"], tmp_path / "before" / "model")
    (then,), (now,) = (records.read_vocabulary(day).log_columns for day in days.values())
    assert (set(then.values), set(now.values)) == ({"a", "b"}, {"b", "c"})

    vocabulary = records.read_vocabulary(days["now"])
    model = build_model(config, vocabulary)
    table = model.user_tower.event_features.network.table
    (name,) = [f"weight_{n}" for n, weight in enumerate(model.variables) if weight is table]
    average = trainer.WeightAverage(model.trainable_variables, 0.1)
    parts = {
        "weight": model.variables,
        "optimizer": model.optimizer.variables,
        "average": average.averages,
    }
    start = warm_start.WarmStart(tmp_path / "before", vocabulary)
    start.apply(model, average, job_state.JobState(parts))

    reader = tf.train.load_checkpoint(str(tmp_path / "before" / "model" / "checkpoints"))
    before = reader.get_tensor(name + job_state.VALUE)  # Rows: missing, others, a and b.
    row_of_b = 2 + then.values.index("b")
    np.testing.assert_array_equal(table[0], before[0])
    np.testing.assert_array_equal(table[2 + now.values.index("b")], before[row_of_b])
    assert np.abs(before[row_of_b] - before[2 + then.values.index("a")]).max() > 1e-3
    # A new name has the mean of those that are carried.
    mean = (before[1] + before[row_of_b]) / 2
    np.testing.assert_allclose(table[2 + now.values.index("c")], mean, rtol=1e-5)
