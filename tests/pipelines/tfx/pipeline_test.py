"""The whole pipeline under TFX: what it makes, what it records, what stops it.

`make tfx-test` runs it in the environment with TFX, then `served_test.py` in the usual one.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tfx", reason="`make tfx-test` runs it in the environment with TFX")

import tensorflow as tf
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx import v1 as tfx

from pipelines import cli
from pipelines.artifacts import records
from pipelines.artifacts.held_out import read_held_out
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from recall.config import RecallConfig
from serving.release import release

SETTINGS = (
    "train.max_epochs=2",
    "train.batch_size=64",
    "model.dim=16",
    "model.num_interests=2",
    "model.num_blocks=1",
    "model.feed_forward_dim=16",
    "model.max_history_length=16",
    "loss.num_negatives=32",
    'evaluation.thresholds=["test.ndcg@10 > 0"]',
)
COMPONENTS = {
    "pipelines.tfx.components.read_events_of_log",
    "tfx.components.statistics_gen.component.StatisticsGen",
    "tfx.components.schema_gen.component.SchemaGen",
    "tfx.components.example_validator.component.ExampleValidator",
    "pipelines.tfx.components.build_sequences",
    "tfx.components.trainer.component.Trainer",
    "pipelines.tfx.components.judge_model",
    "pipelines.tfx.components.index_items",
    "pipelines.tfx.components.push_release",
}
PUSHER = "pipelines.tfx.components.push_release"
COMPLETE, CACHED = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED
SERVED_USERS = 32


def words(log_dir, output_dir, *more):
    """The command line of a run."""
    return [
        "tfx",
        f"--events={log_dir / 'events.csv'}",
        f"--items={log_dir / 'items.csv'}",
        f"--output={output_dir}",
        *(f"--set={setting}" for setting in SETTINGS),
        *more,
    ]


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    """A log with planted interests."""
    folder = tmp_path_factory.mktemp("log")
    sizes = ["--users=400", "--items=60", "--interests=4", "--events_per_user=14"]
    assert cli.main(["synthesize", f"--output={folder}", "--format=csv", *sizes]) == 0
    return folder


@pytest.fixture(scope="module")
def run_dir(log_dir, tmp_path_factory):
    """A finished run; `make tfx-test` names the folder, to serve its release afterwards."""
    folder = Path(os.environ.get("RECALL_TFX_RUN") or tmp_path_factory.mktemp("tfx") / "run")
    assert cli.main(words(log_dir, folder)) == 0
    return folder


def open_store(run_dir):
    path = run_dir / "metadata.db"
    return MetadataStore(tfx.orchestration.metadata.sqlite_metadata_connection_config(str(path)))


def executions(store):
    """Name of a component -> its executions, the latest last."""
    found = {}
    for kind in store.get_execution_types():
        if kind.name in COMPONENTS:
            of_kind = store.get_executions_by_type(kind.name)
            found[kind.name] = sorted(of_kind, key=lambda execution: execution.id)
    return found


def latest_states(run_dir):
    """Name of a component -> the state of its latest execution."""
    found = executions(open_store(run_dir))
    return {name: every[-1].last_known_state for name, every in found.items()}


def latest(store, type_name):
    """The latest artifact of a type."""
    return max(store.get_artifacts_by_type(type_name), key=lambda artifact: artifact.id)


def latest_of(store, component):
    """The first output of the latest execution of a component."""
    events = store.get_events_by_execution_ids([executions(store)[component][-1].id])
    ids = [event.artifact_id for event in events if event.type == mlmd.Event.OUTPUT]
    return store.get_artifacts_by_id(ids)[0]


def sequences_dir(run_dir):
    """Examples of the first run; later ones differ in schemas and conditions alone."""
    outputs = (run_dir / "artifacts" / "Sequences" / "examples").iterdir()
    return min(outputs, key=lambda output: int(output.name))


def test_every_component_ran(run_dir):
    states = {
        name: found[0].last_known_state for name, found in executions(open_store(run_dir)).items()
    }
    assert states == dict.fromkeys(COMPONENTS, COMPLETE)


def test_the_examples_are_those_of_the_log_itself(run_dir, log_dir, tmp_path):
    """ExampleGen and back change no id, no order and no event."""
    config = RecallConfig().override(SETTINGS)
    log, items = str(log_dir / "events.csv"), str(log_dir / "items.csv")
    report = ingest.run_ingest(open_events(log), items, tmp_path / "examples", config)
    through_tfx = sequences_dir(run_dir)
    stored = json.loads((through_tfx / records.INGEST_REPORT_NAME).read_text())
    assert stored == json.loads(json.dumps(report))
    numbered = [records.read_vocabulary(x) for x in (through_tfx, tmp_path / "examples")]
    assert numbered[0].to_table().equals(numbered[1].to_table())
    files = sorted((tmp_path / "examples").glob("Split-*/*.gz"))
    assert len(files) > 3
    for file in files:
        twin = through_tfx / file.relative_to(tmp_path / "examples")
        assert read_records(file) == read_records(twin)


def read_records(file):
    return list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator())


def test_the_schema_and_statistics_are_of_the_events(run_dir):
    store = open_store(run_dir)
    schema = tfx.types.standard_artifacts
    assert schema.Schema.TYPE_NAME in {kind.name for kind in store.get_artifact_types()}
    text = next(Path(latest(store, "Schema").uri).glob("*.pbtxt")).read_text()
    assert {name for name in ("user_id", "item_id", "timestamp") if f'"{name}"' in text} == {
        "user_id",
        "item_id",
        "timestamp",
    }
    assert (Path(latest(store, "ExampleStatistics").uri) / "Split-log").is_dir()


def test_the_blessing_is_one_for_tfx(run_dir):
    store = open_store(run_dir)
    blessing = latest(store, "ModelBlessing")
    assert blessing.custom_properties["blessed"].int_value == 1
    assert (Path(blessing.uri) / "BLESSED").exists()
    model_run = latest(store, "ModelRun")
    assert blessing.custom_properties["current_model"].string_value == model_run.uri
    assert blessing.custom_properties["current_model_id"].int_value == model_run.id
    report = json.loads((Path(latest(store, "ModelEvaluation").uri) / "report.json").read_text())
    assert report["protocol"]["candidates"] == "full catalogue"
    (condition,) = report["blessing"]["thresholds"]
    assert condition["value"] == report["test"]["ndcg@10"] > 0


def test_the_release_is_published_and_recorded(run_dir):
    pushed = latest(open_store(run_dir), "PushedModel")
    newest = release.latest_release(run_dir / "serving")
    assert pushed.custom_properties["pushed"].int_value == 1
    assert pushed.custom_properties["pushed_version"].string_value == str(newest.version)
    assert pushed.custom_properties["pushed_destination"].string_value == str(run_dir / "serving")
    assert "<html" in (Path(pushed.uri) / "report.html").read_text()


def test_the_same_command_runs_nothing_again(run_dir, log_dir):
    before = release.latest_release(run_dir / "serving").version
    assert cli.main(words(log_dir, run_dir)) == 0
    states = latest_states(run_dir)
    # It looks whether what it would push is there.
    assert states.pop(PUSHER) == COMPLETE
    assert states == dict.fromkeys(COMPONENTS - {PUSHER}, CACHED)
    assert release.complete_versions(run_dir / "serving") == [before]


def test_a_release_that_is_gone_is_published_again(run_dir, log_dir):
    shutil.rmtree(run_dir / "serving")
    assert cli.main(words(log_dir, run_dir)) == 0
    (version,) = release.complete_versions(run_dir / "serving")
    pushed = latest(open_store(run_dir), "PushedModel").custom_properties["pushed_version"]
    assert pushed.string_value == str(version)


def test_an_edited_schema_is_read_and_stops_the_run(run_dir, log_dir, tmp_path, capsys):
    """First the inferred schema, which the log keeps to; then, in the same file, another."""
    schema = tmp_path / "schema.pbtxt"
    text = next(Path(latest(open_store(run_dir), "Schema").uri).glob("*.pbtxt")).read_text()
    schema.write_text(text)
    assert cli.main(words(log_dir, run_dir, f"--schema={schema}")) == 0
    trained = len(executions(open_store(run_dir))["tfx.components.trainer.component.Trainer"])
    schema.write_text(text.replace('name: "item_id"', 'name: "sku"'))
    capsys.readouterr()
    assert cli.main(words(log_dir, run_dir, f"--schema={schema}")) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("recall tfx:")]
    assert "The log breaks its schema (" in line
    assert "sku: Column is completely missing" in line
    after = executions(open_store(run_dir))["tfx.components.trainer.component.Trainer"]
    assert len(after) == trained


def test_a_model_that_is_not_blessed_is_not_pushed(run_dir, log_dir, capsys):
    before = release.latest_release(run_dir / "serving").version
    gate = '--set=evaluation.thresholds=["test.ndcg@10 > 2"]'
    assert cli.main(words(log_dir, run_dir, gate)) == 1
    error = capsys.readouterr().err
    assert "The model is not blessed: test.ndcg@10 > 2 is not true (" in error
    assert latest(open_store(run_dir), "PushedModel").custom_properties["pushed"].int_value == 0
    assert release.latest_release(run_dir / "serving").version == before


def test_a_training_goes_on_from_an_earlier_one(run_dir, log_dir, tmp_path):
    earlier = Path(latest(open_store(run_dir), "ModelRun").uri)
    assert cli.main(words(log_dir, tmp_path / "run", f"--warm_start={earlier}")) == 0
    model_dir = Path(latest(open_store(tmp_path / "run"), "ModelRun").uri) / "model"
    facts = json.loads((model_dir / "warm_start.json").read_text())
    assert facts["carried_items"] == len(records.read_vocabulary(sequences_dir(run_dir)))
    assert facts["new_items"] == 0


def test_bad_input_is_one_line(tmp_path, capsys):
    log = tmp_path / "events.csv"
    log.write_text("user_id,item_id,timestamp\nu,,1\n")
    assert cli.main(["tfx", f"--events={log}", f"--output={tmp_path / 'run'}"]) == 1
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("recall tfx:")]
    assert len(lines) == 1
    assert "an empty item id" in lines[0]


def test_vectors_are_kept_for_the_server_of_the_usual_environment(run_dir):
    """What the towers say here; `served_test.py` asks a server there."""
    newest = release.latest_release(run_dir / "serving")
    vocabulary = records.read_vocabulary(sequences_dir(run_dir))
    users = read_held_out(sequences_dir(run_dir), "test").histories
    histories = [vocabulary.to_raw(users[u]) for u in range(SERVED_USERS)]
    width = max(map(len, histories))
    padded = [history + [""] * (width - len(history)) for history in histories]
    user_tower = tf.saved_model.load(str(newest.user_tower_dir)).signatures["serving_default"]
    item_tower = tf.saved_model.load(str(newest.item_tower_dir)).signatures["serving_default"]
    user_vectors = user_tower(history_item_ids=tf.constant(padded))["user_vectors"].numpy()
    ids = list(vocabulary.item_ids)
    item_vectors = item_tower(item_ids=tf.constant(ids))["item_vectors"].numpy()
    np.savez(run_dir / "vectors.npz", user_vectors=user_vectors, item_vectors=item_vectors)
    (run_dir / "served.json").write_text(json.dumps({"histories": histories, "item_ids": ids}))


def test_a_real_log(tmp_path):
    """Read compressed, with items; a short training that need not beat anything."""
    data = os.environ.get("RECALL_DATA_DIR")
    if not data:
        pytest.skip("RECALL_DATA_DIR names no folder of real logs")
    folder, run_dir = Path(data) / "ml-100k", tmp_path / "run"
    command = [
        "tfx",
        f"--events={folder / 'events.csv.gz'}",
        f"--items={folder / 'items.csv.gz'}",
        f"--output={run_dir}",
        *(f"--set={setting}" for setting in SETTINGS),
    ]
    assert cli.main(command) == 0
    events = latest_of(open_store(run_dir), "pipelines.tfx.components.read_events_of_log")
    assert events.custom_properties["events"].int_value == 100_000
    pushed = latest(open_store(run_dir), "PushedModel").custom_properties["pushed_version"]
    newest = release.latest_release(run_dir / "serving")
    assert pushed.string_value == str(newest.version)
    # The README of the data says how many users there are; each has a last event.
    assert json.loads((newest.index_dir / "manifest.json").read_text())["num_items"] > 1600
    report = json.loads(
        (Path(latest(open_store(run_dir), "ModelEvaluation").uri) / "report.json").read_text()
    )
    assert report["num_users"]["test"] == 943
