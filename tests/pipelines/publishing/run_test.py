"""The chain of jobs: what is skipped, resumed and refused.

The jobs themselves run in tests/end_to_end; here are folders and records.
"""

import fcntl

import pytest

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from pipelines.ingestion.ingest import ingest_record
from pipelines.ingestion.open_log import open_events
from pipelines.publishing import run, run_folder
from pipelines.training import trainer
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import storage

SPEC = "synthetic:users=5,items=6,interests=2,interests_per_user=1"
OTHER_SPEC = SPEC + ",seed=2"


class CountingJob:
    """A job that writes an artifact, or fails, and counts how often it ran."""

    def __init__(self, directory, settings, fails=False):
        self.directory, self.settings, self.fails = directory, settings, fails
        self.executions = 0

    def record(self):
        return records.build_record("count", self.settings, {})

    def execute(self):
        self.executions += 1
        if self.fails:
            raise InputError("failed")
        self.directory.mkdir(exist_ok=True)
        records.write_record(self.directory, self.record())

    def execute_if_stale(self):
        job = run._artifact_job("count", self.directory, self.record, self.execute)
        return run._execute_if_stale(job, 1, 6)


def start_run(output_dir, spec=SPEC, **kwargs):
    return run.run(open_events(spec), None, output_dir, RecallConfig(), **kwargs)


def write_examples_record(output_dir, spec):
    examples_dir = RunPaths.under(output_dir).examples
    examples_dir.mkdir(parents=True)
    record = ingest_record(open_events(spec), None, RecallConfig())
    records.write_record(examples_dir, record)


def test_a_job_runs_once_and_again_when_its_settings_change(tmp_path):
    job = CountingJob(tmp_path / "artifact", {"a": 1})
    assert job.execute_if_stale() is True
    assert job.execute_if_stale() is False
    job.settings = {"a": 2}
    assert job.execute_if_stale() is True
    assert job.execute_if_stale() is False
    assert job.executions == 2


def test_a_failed_job_is_not_taken_for_done(tmp_path):
    job = CountingJob(tmp_path / "artifact", {}, fails=True)
    with pytest.raises(InputError):
        job.execute_if_stale()
    job.fails = False
    assert job.execute_if_stale() is True


def test_progress_says_what_happens_and_how_long_it_took(tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    job = CountingJob(tmp_path / "artifact", {})
    job.execute_if_stale()
    job.execute_if_stale()
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("[1/6] count")
    assert " done in " in lines[1]
    assert "up to date" in lines[2]


def test_a_folder_of_another_log_is_refused_and_left_alone(tmp_path):
    write_examples_record(tmp_path / "out", OTHER_SPEC)
    before = records.read_record(tmp_path / "out" / "examples")

    with pytest.raises(InputError, match=r"another log .*, or to the same one read .* --overwrite"):
        start_run(tmp_path / "out")

    assert records.read_record(tmp_path / "out" / "examples") == before


def test_overwrite_removes_the_artifacts_but_not_the_releases(tmp_path):
    write_examples_record(tmp_path, OTHER_SPEC)
    paths = RunPaths.under(tmp_path)
    for path in (paths.model, paths.serving / "index" / "7"):
        path.mkdir(parents=True)
        (path / "file").write_text("old")
    (paths.model / "started.json").write_text('{"job": "train"}')

    run_folder.remove_artifacts(paths)

    assert not paths.examples.exists()
    assert not paths.model.exists()
    assert (paths.serving / "index" / "7" / "file").exists()


@pytest.mark.parametrize("strategy", ["processes", "multi_worker"])
def test_a_training_that_this_machine_has_no_devices_for_is_refused_first(
    tmp_path, monkeypatch, strategy
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    config = RecallConfig().override([f"train.strategy={strategy}"])

    with pytest.raises(InputError, match=f"train.strategy={strategy} "):
        run.run(open_events(SPEC), None, tmp_path / "run", config)

    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds other files \(thesis\.tex\)"):
        start_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["examples", "model", "evaluation", "export", "index"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_the_name_of_an_artifact_that_is_none_is_refused(tmp_path, name, overwrite):
    (tmp_path / name).mkdir()
    (tmp_path / name / "events.csv").write_text("the log")
    with pytest.raises(InputError, match=rf"/{name} is not empty \(events\.csv\)"):
        start_run(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.rglob("*")] == [name, "events.csv"]


def test_a_training_that_another_version_began_is_refused_before_the_log_is_read(tmp_path):
    model_dir = RunPaths.under(tmp_path).model
    (model_dir / "checkpoints").mkdir(parents=True)
    begun = records.build_record("train", trainer.train_settings(RecallConfig()), {})
    begun["versions"]["recall"] = "0.0.1"
    storage.write_json(model_dir / records.STARTED_NAME, begun)

    with pytest.raises(InputError, match=r"unfinished training .*0\.0\.1.*--overwrite"):
        start_run(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert storage.read_json(model_dir / records.STARTED_NAME) == begun


def test_a_file_as_output_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file"):
        start_run(tmp_path / "out")


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    write_examples_record(tmp_path, SPEC)
    with open(tmp_path / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another `recall run` is working"):
            start_run(tmp_path)


def test_what_a_killed_run_left_is_cleared(tmp_path):
    leftover = tmp_path / ".examples.0123abcd.partial"
    leftover.mkdir()
    (leftover / "half").write_text("")
    foreign = tmp_path / ".notes.partial"
    foreign.mkdir()

    with run_folder.locked(tmp_path):
        assert not leftover.exists()
        assert foreign.exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(InputError, match="Cannot write to "), run_folder.locked(blocker / "out"):
        pass
