import json

import pytest

import recall
from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary


def test_folders_of_a_run(tmp_path):
    paths = RunPaths.under(tmp_path)
    assert paths.examples == tmp_path / "examples"
    assert [path.name for path in paths] == list(RunPaths._fields)


def test_record_names_job_settings_inputs_and_versions():
    record = records.build_record("train", {"ks": (5, 10)}, {"examples": "abc"})
    assert record["job"] == "train"
    assert record["settings"] == {"ks": [5, 10]}
    assert record["inputs"] == {"examples": "abc"}
    assert record["versions"]["recall"] == recall.__version__
    assert record["versions"]["tensorflow"].startswith("2.")


def test_current_until_something_changes(tmp_path):
    record = records.build_record("train", {"a": 1}, {"examples": "abc"})
    assert not records.is_current(tmp_path, record)
    assert not records.is_current(tmp_path / "missing", record)
    records.write_record(tmp_path, record)
    assert records.is_current(tmp_path, record)
    for other in (
        records.build_record("evaluate", {"a": 1}, {"examples": "abc"}),
        records.build_record("train", {"a": 2}, {"examples": "abc"}),
        records.build_record("train", {"a": 1}, {"examples": "abd"}),
        {**record, "versions": {**record["versions"], "recall": "0"}},
    ):
        assert not records.is_current(tmp_path, other)


def test_an_output_folder_is_free_or_of_the_same_job(tmp_path):
    records.check_output(tmp_path / "new", "export")
    records.check_output(tmp_path, "export")
    records.write_record(tmp_path, records.build_record("export", {}, {}))
    records.check_output(tmp_path, "export")
    with pytest.raises(InputError, match=r"made by `recall export`, not by .* --overwrite"):
        records.check_output(tmp_path, "index")
    records.check_output(tmp_path, "index", overwrite=True)


def test_a_training_that_has_begun_is_its_own(tmp_path):
    (tmp_path / "started.json").write_text('{"job": "train"}')
    (tmp_path / "checkpoints").mkdir()
    records.check_output(tmp_path, "train")
    with pytest.raises(InputError, match="made by `recall train`"):
        records.check_output(tmp_path, "export")


@pytest.mark.parametrize("name", ["customers.csv", ".git"])
def test_what_no_job_made_is_never_replaced(tmp_path, name):
    (tmp_path / name).write_text("")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=rf"not empty \({name}\)"):
            records.check_output(tmp_path, "export", overwrite=overwrite)


def test_a_record_that_was_never_finished_is_no_content(tmp_path):
    (tmp_path / ".started.json.0123abcd.partial").write_text('{"job')
    records.check_output(tmp_path, "train")


def test_requiring_a_job(tmp_path):
    with pytest.raises(InputError, match=r"holds no finished artifact\. Run `recall train` first"):
        records.require(tmp_path, "train")
    record = records.build_record("ingest", {}, {})
    records.write_record(tmp_path, record)
    assert records.require(tmp_path, "ingest") == record
    with pytest.raises(InputError, match="made by `recall ingest`, not by `recall train`"):
        records.require(tmp_path, "train")


def test_damaged_record(tmp_path):
    (tmp_path / "artifact.json").write_text("{")
    with pytest.raises(InputError, match=r"artifact\.json is not valid JSON"):
        records.require(tmp_path, "train")


def test_checksum_depends_on_content_not_on_layout(tmp_path):
    record = records.build_record("ingest", {"a": 1, "b": 2}, {})
    records.write_record(tmp_path, record)
    before = records.checksum_of_record(tmp_path, "ingest")
    (tmp_path / "artifact.json").write_text(json.dumps(dict(reversed(record.items()))))
    assert records.checksum_of_record(tmp_path, "ingest") == before
    records.write_record(tmp_path, records.build_record("ingest", {"a": 1, "b": 3}, {}))
    assert records.checksum_of_record(tmp_path, "ingest") != before


def test_vocabulary_round_trip(tmp_path):
    vocabulary = ItemVocabulary(["ž", "b"], [2, 1], [["x", "y"], []], ["Title", ""])
    records.write_vocabulary(tmp_path, vocabulary)
    read = records.read_vocabulary(tmp_path)
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
        records.read_vocabulary(tmp_path)


def test_config_round_trip(tmp_path):
    config = RecallConfig().override(["train.batch_size=7"])
    records.write_config(tmp_path, config)
    assert records.read_config(tmp_path) == config


@pytest.mark.parametrize(
    ("section", "key"), [("model", "filter_share"), ("features", "id_shrinkage")]
)
def test_a_config_of_an_earlier_version_is_without_what_came_later(tmp_path, section, key):
    values = RecallConfig().to_dict()
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert records.had_setting(tmp_path, section, key)
    assert values[section].pop(key) > 0
    (tmp_path / "config.json").write_text(json.dumps(values))

    assert records.read_config(tmp_path) == RecallConfig().override([f"{section}.{key}=0"])
    assert not records.had_setting(tmp_path, section, key)


@pytest.mark.parametrize("text", ["[]", '{"model": []}'])
def test_a_config_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError):
        records.read_config(tmp_path)


def test_missing_config(tmp_path):
    with pytest.raises(InputError, match=r"Cannot read .*config\.json"):
        records.read_config(tmp_path)


def test_lines_of_a_training(tmp_path):
    assert records.read_training_log(tmp_path) == []
    (tmp_path / "training_log.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    assert records.read_training_log(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
    (tmp_path / "training_log.jsonl").write_text('{"epoch": 1}\n{"ep')
    with pytest.raises(InputError, match=r"Cannot read .*training_log\.jsonl"):
        records.read_training_log(tmp_path)
