import json
import logging

import pytest

from pipelines import cli
from pipelines.tracking import mlflow_log
from recall.errors import InputError


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The address of a store of files."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return f"file://{tmp_path}/store"


def logged_runs(uri, experiment="recall"):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_a_run_is_logged_with_all_that_is_known_of_it(run_writer, store, tmp_path):
    run_dir = run_writer(tmp_path / "mine", recall=0.25)
    (run_dir / "report.html").write_text("<p>")

    assert mlflow_log.logging_run(store, run_dir, lambda: "result") == "result"

    client, (run,) = logged_runs(store)
    assert run.info.run_name == "mine"
    assert run.info.status == "FINISHED"
    assert run.data.params["model.dim"] == "64"
    assert run.data.params["evaluation.ks"] == "[10]"
    assert run.data.metrics["test.recall_at_10"] == 0.25
    assert run.data.metrics["baselines.popularity.recall_at_10"] == 0.0625
    assert run.data.metrics["train.duration_s"] == 61.0
    assert run.data.metrics["train.peak_memory_bytes"] == 1.5e9
    history = client.get_metric_history(run.info.run_id, "epoch.loss")
    assert [(one.step, one.value) for one in history] == [(1, 8.0), (2, 4.0)]
    assert run.data.tags["mlflow.source.git.commit"] == "0123456789abcdef0123"
    assert run.data.tags["recall.log"] == "shop.csv"
    assert run.data.tags["recall.input.events"] == "e" * 64
    assert run.data.tags["recall.version.recall"] == "0.1.0"
    names = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    assert names == {"report.html", "report.json", "config.json"}


def test_what_is_there_already_is_not_logged_again(run_writer, store, tmp_path):
    run_dir = run_writer(tmp_path / "mine")
    for _ in range(2):
        mlflow_log.logging_run(store, run_dir, lambda: None)
    assert len(logged_runs(store)[1]) == 1
    path = run_dir / "evaluation" / "artifact.json"
    path.write_text(path.read_text().replace("2026-03-01T03:03:07", "2026-03-01T09:00:00"))
    mlflow_log.logging_run(store, run_dir, lambda: None)
    assert len(logged_runs(store)[1]) == 2


def test_a_refused_run_is_logged_as_failed(run_writer, store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nightly")
    run_dir = tmp_path / "mine"

    def refuse():
        run_writer(run_dir)
        raise InputError("The model is not blessed.")

    with pytest.raises(InputError, match="not blessed"):
        mlflow_log.logging_run(store, run_dir, refuse)
    _, (run,) = logged_runs(store, "nightly")
    assert run.info.status == "FAILED"
    assert run.data.tags["recall.refused"] == "The model is not blessed."


def test_what_was_evaluated_before_a_refusal_is_not_logged_for_it(run_writer, store, tmp_path):
    run_dir = run_writer(tmp_path / "mine")

    def refuse():
        raise InputError("The log is not fit to be trained on.")

    with pytest.raises(InputError):
        mlflow_log.logging_run(store, run_dir, refuse)
    assert logged_runs(store)[1] == []


def test_a_run_without_an_evaluation_is_not_logged(run_writer, store, tmp_path):
    run_dir = run_writer(tmp_path / "mine", jobs=("ingest",))
    mlflow_log.logging_run(store, run_dir, lambda: None)
    assert logged_runs(store)[1] == []


def test_a_server_that_does_not_answer_stops_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match=r"^MLflow at http://127\.0\.0\.1:9: "):
        mlflow_log.logging_run("http://me:secret@127.0.0.1:9", tmp_path, lambda: pytest.fail("ran"))


def test_a_store_that_fails_later_costs_a_warning(run_writer, store, tmp_path, caplog):
    run_dir = run_writer(tmp_path / "mine")
    caplog.set_level(logging.WARNING)

    def lose_the_store():
        for path in sorted((tmp_path / "store").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        return "published"

    assert mlflow_log.logging_run(store, run_dir, lose_the_store) == "published"
    assert f"MLflow at {store} did not take the run" in caplog.text
    assert not (run_dir / "mlflow.json").exists()


def test_without_an_address_nothing_is_logged(run_writer, tmp_path):
    run_dir = run_writer(tmp_path / "mine")
    assert mlflow_log.logging_run(None, run_dir, lambda: 3) == 3
    assert not (run_dir / "mlflow.json").exists()


def test_the_mark_holds_no_password(run_writer, store, tmp_path):
    run_dir = run_writer(tmp_path / "mine")
    mlflow_log.logging_run(store, run_dir, lambda: None)
    mark = json.loads((run_dir / "mlflow.json").read_text())
    assert mark["uri"] == store
    assert mlflow_log._without_secrets("https://a:b@host:1/x") == "https://host:1/x"


@pytest.mark.parametrize("by_flag", [True, False])
def test_the_command_takes_the_address_from_its_flag_or_the_environment(
    tmp_path, monkeypatch, capsys, by_flag
):
    events = tmp_path / "events.csv"
    events.write_text("user_id,item_id,timestamp\n" + "".join(f"u{n},i,{n}\n" for n in range(9)))
    words = ["run", f"--events={events}", f"--output={tmp_path / 'out'}"]
    monkeypatch.setenv("RECALL_MLFLOW", "no-such-kind://host")
    if by_flag:
        words.append("--mlflow=other-kind://host")
    assert cli.main(words) == 1
    error = capsys.readouterr().err
    assert f"MLflow at {'other' if by_flag else 'no-such'}-kind://host" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
