import json

import pytest

import recall
from pipelines import artifacts
from pipelines.artifacts import RunPaths
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary


def test_folders_of_a_run(tmp_path):
    paths = RunPaths.under(tmp_path)
    assert paths.examples == tmp_path / "examples"
    assert [path.name for path in paths] == list(RunPaths._fields)


def test_record_names_job_settings_inputs_and_versions():
    record = artifacts.build_record("train", {"ks": (5, 10)}, {"examples": "abc"})
    assert record["job"] == "train"
    assert record["settings"] == {"ks": [5, 10]}
    assert record["inputs"] == {"examples": "abc"}
    assert record["versions"]["recall"] == recall.__version__
    assert record["versions"]["tensorflow"].startswith("2.")


def test_current_until_something_changes(tmp_path):
    record = artifacts.build_record("train", {"a": 1}, {"examples": "abc"})
    assert not artifacts.is_current(tmp_path, record)
    assert not artifacts.is_current(tmp_path / "missing", record)
    artifacts.write_record(tmp_path, record)
    assert artifacts.is_current(tmp_path, record)
    for other in (
        artifacts.build_record("evaluate", {"a": 1}, {"examples": "abc"}),
        artifacts.build_record("train", {"a": 2}, {"examples": "abc"}),
        artifacts.build_record("train", {"a": 1}, {"examples": "abd"}),
        {**record, "versions": {**record["versions"], "recall": "0"}},
    ):
        assert not artifacts.is_current(tmp_path, other)


def test_an_output_folder_is_free_or_of_the_same_job(tmp_path):
    artifacts.check_output(tmp_path / "new", "export")
    artifacts.check_output(tmp_path, "export")
    artifacts.write_record(tmp_path, artifacts.build_record("export", {}, {}))
    artifacts.check_output(tmp_path, "export")
    with pytest.raises(InputError, match=r"made by `recall export`, not by .* --overwrite"):
        artifacts.check_output(tmp_path, "index")
    artifacts.check_output(tmp_path, "index", overwrite=True)


def test_a_training_that_has_begun_is_its_own(tmp_path):
    (tmp_path / "started.json").write_text('{"job": "train"}')
    (tmp_path / "checkpoints").mkdir()
    artifacts.check_output(tmp_path, "train")
    with pytest.raises(InputError, match="made by `recall train`"):
        artifacts.check_output(tmp_path, "export")


@pytest.mark.parametrize("name", ["customers.csv", ".git"])
def test_what_no_job_made_is_never_replaced(tmp_path, name):
    (tmp_path / name).write_text("")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=rf"not empty \({name}\)"):
            artifacts.check_output(tmp_path, "export", overwrite=overwrite)


def test_a_record_that_was_never_finished_is_no_content(tmp_path):
    (tmp_path / ".started.json.0123abcd.partial").write_text('{"job')
    artifacts.check_output(tmp_path, "train")


def test_requiring_a_job(tmp_path):
    with pytest.raises(InputError, match=r"holds no finished artifact\. Run `recall train` first"):
        artifacts.require(tmp_path, "train")
    record = artifacts.build_record("ingest", {}, {})
    artifacts.write_record(tmp_path, record)
    assert artifacts.require(tmp_path, "ingest") == record
    with pytest.raises(InputError, match="made by `recall ingest`, not by `recall train`"):
        artifacts.require(tmp_path, "train")


def test_damaged_record(tmp_path):
    (tmp_path / "artifact.json").write_text("{")
    with pytest.raises(InputError, match=r"artifact\.json is not valid JSON"):
        artifacts.require(tmp_path, "train")


def test_checksum_depends_on_content_not_on_layout(tmp_path):
    record = artifacts.build_record("ingest", {"a": 1, "b": 2}, {})
    artifacts.write_record(tmp_path, record)
    before = artifacts.checksum_of_record(tmp_path, "ingest")
    (tmp_path / "artifact.json").write_text(json.dumps(dict(reversed(record.items()))))
    assert artifacts.checksum_of_record(tmp_path, "ingest") == before
    artifacts.write_record(tmp_path, artifacts.build_record("ingest", {"a": 1, "b": 3}, {}))
    assert artifacts.checksum_of_record(tmp_path, "ingest") != before


def test_vocabulary_round_trip(tmp_path):
    vocabulary = ItemVocabulary(["ž", "b"], [2, 1], [["x", "y"], []], ["Title", ""])
    artifacts.write_vocabulary(tmp_path, vocabulary)
    read = artifacts.read_vocabulary(tmp_path)
    assert (read.item_ids, read.categories, read.titles) == (
        ("ž", "b"),
        (("x", "y"), ()),
        ("Title", ""),
    )
    assert read.counts.tolist() == [2, 1]


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but not really"])
def test_missing_or_damaged_vocabulary(tmp_path, content):
    if content is not None:
        (tmp_path / "vocabulary.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"Cannot read the vocabulary .*vocabulary\.parquet"):
        artifacts.read_vocabulary(tmp_path)


def test_config_round_trip(tmp_path):
    config = RecallConfig().override(["train.batch_size=7"])
    artifacts.write_config(tmp_path, config)
    assert artifacts.read_config(tmp_path) == config


def test_missing_config(tmp_path):
    with pytest.raises(InputError, match=r"Cannot read .*config\.json"):
        artifacts.read_config(tmp_path)
