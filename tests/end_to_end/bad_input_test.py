"""Everything a user can get wrong: one clear line, exit code 1 or 2, nothing half-written."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import cli
from pipelines.artifacts import records

HEADER = "user_id,item_id,timestamp\n"
TINY = (
    "--set=train.max_epochs=1",
    "--set=model.dim=4",
    "--set=model.num_heads=1",
    "--set=model.num_blocks=1",
    "--set=model.num_interests=1",
    "--set=model.max_history_length=8",
    "--set=loss.num_negatives=4",
)


def good_rows(num_users: int = 6, num_events: int = 5) -> str:
    return "".join(
        f"u{user},i{(user + event) % 8},{100 + event}\n"
        for user in range(num_users)
        for event in range(num_events)
    )


def fails_with_one_line(words, capsys, *mentioned: str, code: int = 1) -> str:
    """Runs a command that must fail; its error line."""
    capsys.readouterr()
    assert cli.main([*words, "--verbosity=-1"]) == code
    captured = capsys.readouterr()
    # Warnings of a job that began well have the time in front.
    said = [t for t in captured.err.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", t)]
    assert len(said) == 1, captured.err
    assert said[0].startswith(f"recall {words[0]}: error: ")
    for text in mentioned:
        assert text in said[0]
    return said[0]


def run_fails(tmp_path, capsys, events, *more: str, mentioned=(), code: int = 1) -> str:
    output_dir = tmp_path / "out"
    words = ["run", f"--events={events}", f"--output={output_dir}", *TINY, *more]
    line = fails_with_one_line(words, capsys, *mentioned, code=code)
    assert not output_dir.exists()
    return line


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# ---- the log -----------------------------------------------------------------


def test_a_missing_file(tmp_path, capsys):
    run_fails(tmp_path, capsys, tmp_path / "none.csv", mentioned=("none.csv",))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(tmp_path, capsys):
    events = write(tmp_path / "events.csv", HEADER + good_rows())
    events.chmod(0)
    run_fails(tmp_path, capsys, events, mentioned=("events.csv",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("events.csv.gz", b"this is not gzip"),
        ("events.csv.gz", gzip.compress((HEADER + good_rows(50)).encode())[:-20]),
        ("events.parquet", b"this is not parquet"),
        ("events.csv", b"\xff\xfe\x00binary\x00\x01\n\x00"),
        ("events.xlsx", b"PK"),
    ],
)
def test_an_unreadable_file(tmp_path, capsys, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    run_fails(tmp_path, capsys, path, mentioned=(name,))


@pytest.mark.parametrize("column", ["user_id", "item_id", "timestamp"])
def test_a_missing_column(tmp_path, capsys, column):
    text = (HEADER + good_rows()).replace(column, "something", 1)
    events = write(tmp_path / "events.csv", text)
    run_fails(tmp_path, capsys, events, mentioned=("events.csv", column))


def test_a_column_name_that_is_not_there(tmp_path, capsys):
    events = write(tmp_path / "events.csv", HEADER + good_rows())
    run_fails(tmp_path, capsys, events, "--user_column=visitor", mentioned=("visitor",))


@pytest.mark.parametrize("text", ["", "\n", HEADER])
def test_an_empty_log(tmp_path, capsys, text):
    events = write(tmp_path / "events.csv", text)
    run_fails(tmp_path, capsys, events, mentioned=("events.csv",))


def test_an_empty_parquet_log(tmp_path, capsys):
    columns = {"user_id": pa.string(), "item_id": pa.string(), "timestamp": pa.float64()}
    events = tmp_path / "events.parquet"
    pq.write_table(pa.schema(columns).empty_table(), events)
    run_fails(tmp_path, capsys, events, mentioned=("events.parquet",))


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (",i1,100", "user_id"),
        ("u1,,100", "item_id"),
        ("u1,i1,", "timestamp"),
        ("u1,i1,yesterday", "timestamp"),
        ("u1,i1,nan", "timestamp"),
        ("u1,i1,inf", "timestamp"),
    ],
)
def test_a_bad_row(tmp_path, capsys, row, column):
    events = write(tmp_path / "events.csv", f"{HEADER}u1,i2,1\n{row}\n{good_rows()}")
    run_fails(tmp_path, capsys, events, mentioned=("events.csv", column, "--max_bad_rows"))


def test_more_bad_rows_than_allowed(tmp_path, capsys):
    events = write(tmp_path / "events.csv", HEADER + good_rows() + "u1,i1,x\n" * 3)
    run_fails(tmp_path, capsys, events, "--max_bad_rows=2", mentioned=("events.csv",))


@pytest.mark.parametrize("row", ["u1,i1", "u1,i1,100,extra"])
def test_a_row_of_another_width(tmp_path, capsys, row):
    events = write(tmp_path / "events.csv", f"{HEADER}{good_rows()}{row}\n")
    run_fails(tmp_path, capsys, events, mentioned=("events.csv",))


def test_all_sequences_too_short(tmp_path, capsys):
    events = write(tmp_path / "events.csv", HEADER + good_rows(num_events=2))
    run_fails(tmp_path, capsys, events)


def test_one_user_only(tmp_path, capsys):
    events = write(tmp_path / "events.csv", HEADER + good_rows(num_users=1, num_events=30))
    run_fails(tmp_path, capsys, events)


def test_a_protocol_that_needs_a_split_column(tmp_path, capsys):
    events = write(tmp_path / "events.csv", HEADER + good_rows())
    run_fails(tmp_path, capsys, events, "--set=ingest.protocol=provided", mentioned=("split",))


def test_an_unknown_split(tmp_path, capsys):
    rows = good_rows().replace("\n", ",train\n") + "u1,i1,500,holdout\n"
    events = write(tmp_path / "events.csv", HEADER.strip() + ",split\n" + rows)
    run_fails(
        tmp_path,
        capsys,
        events,
        "--set=ingest.protocol=provided",
        mentioned=("events.csv", "holdout"),
    )


@pytest.mark.parametrize(
    "spec",
    ["synthetic:users=-1", "synthetic:colour=3", "synthetic:users=many", "tfds:", "tfds:no_such"],
)
def test_a_spec_that_makes_no_sense(tmp_path, capsys, spec):
    run_fails(tmp_path, capsys, spec)


def test_a_missing_items_file(tmp_path, capsys):
    events = write(tmp_path / "events.csv", HEADER + good_rows())
    run_fails(tmp_path, capsys, events, f"--items={tmp_path / 'i.csv'}", mentioned=("i.csv",))


@pytest.mark.parametrize("text", ["", "id,category\ni1,a\n", "item_id\n,a\n"])
def test_a_bad_items_file(tmp_path, capsys, text):
    events = write(tmp_path / "events.csv", HEADER + good_rows())
    items = write(tmp_path / "items.csv", text)
    run_fails(tmp_path, capsys, events, f"--items={items}", mentioned=("items.csv",))


# ---- settings and folders ------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "mentioned"),
    [
        ('{"train": {"batchsize": 3}}', "train.batchsize"),
        ('{"train": {"batch_size": "three"}}', "train.batch_size"),
        ('{"evaluation": {"thresholds": "x"}}', "evaluation.thresholds"),
        ("{", "my.json"),
        ("[]", "my.json"),
    ],
)
def test_a_bad_config(tmp_path, capsys, config, mentioned):
    path = write(tmp_path / "my.json", config)
    run_fails(tmp_path, capsys, "x.csv", f"--config={path}", mentioned=("my.json", mentioned))


def test_a_missing_config(tmp_path, capsys):
    run_fails(tmp_path, capsys, "x.csv", "--config=no.json", mentioned=("no.json",))


@pytest.mark.parametrize("setting", ["train.batchsize=3", "train.batch_size=three", "batch=3"])
def test_a_bad_setting(tmp_path, capsys, setting):
    run_fails(tmp_path, capsys, "x.csv", f"--set={setting}", mentioned=("batch",))


def test_an_output_that_is_a_file_or_below_one(tmp_path, capsys):
    blocker = write(tmp_path / "file", "")
    for output in (blocker, blocker / "out"):
        words = ["run", "--events=synthetic:users=5", f"--output={output}"]
        fails_with_one_line(words, capsys, str(output))


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--examples=none", "--output=out"],
        ["evaluate", "--examples=none", "--model=none", "--output=out"],
        ["export", "--model=none", "--output=out"],
        ["index", "--export=none", "--examples=none", "--output=out"],
        ["push", "--run=none"],
        ["serve", "--release=none"],
        ["demo", "--run=none"],
    ],
)
def test_an_input_folder_that_is_missing_or_empty(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    fails_with_one_line(words, capsys, "none")
    (tmp_path / "none").mkdir()
    fails_with_one_line(words, capsys, "none")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("job", ["ingest", "train", "evaluate", "export", "index"])
def test_an_output_folder_with_other_content_is_left_alone(examples, tmp_path, capsys, job):
    output_dir = tmp_path / "thesis"
    output_dir.mkdir()
    write(output_dir / "chapter1.tex", "years of work")
    inputs = {
        "ingest": ["--events=synthetic:users=5"],
        "train": [f"--examples={examples}", "--set=model.max_history_length=8"],
        "evaluate": [f"--examples={examples}", f"--model={examples}"],
        "export": [f"--model={examples}"],
        "index": [f"--examples={examples}", f"--export={examples}"],
    }
    words = [job, *inputs[job], f"--output={output_dir}"]
    for more in ([], ["--overwrite"]):
        fails_with_one_line([*words, *more], capsys, "thesis", "Choose another folder")
    assert os.listdir(output_dir) == ["chapter1.tex"]


# ---- damaged artifacts -----------------------------------------------------------


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Examples of a small log."""
    folder = tmp_path_factory.mktemp("examples")
    write(folder / "events.csv", HEADER + good_rows(num_users=20, num_events=6))
    assert cli.main(ingest_words(folder / "events.csv", folder / "examples")) == 0
    return folder / "examples"


def ingest_words(events: Path, examples_dir: Path) -> list[str]:
    words = ["ingest", f"--events={events}", f"--output={examples_dir}"]
    return [*words, "--set=ingest.num_shards=1", TINY[5]]


@pytest.fixture
def damaged(examples, tmp_path):
    """A copy of the examples to damage."""
    return Path(shutil.copytree(examples, tmp_path / "examples"))


def train_fails(damaged, capsys, *mentioned: str) -> None:
    output_dir = damaged.parent / "model"
    words = ["train", f"--examples={damaged}", f"--output={output_dir}", *TINY]
    fails_with_one_line(words, capsys, *mentioned)
    assert records.read_record(output_dir) is None


@pytest.mark.parametrize(
    ("split", "damage"),
    [
        ("train", "flipped"),
        ("train", "removed"),
        ("valid", "truncated"),
        ("valid", "flipped"),
        ("valid", "emptied"),
        ("valid", "removed"),
    ],
)
def test_a_damaged_tfrecord_is_named(damaged, capsys, split, damage):
    path = max((damaged / f"Split-{split}").iterdir(), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()
    train_fails(damaged, capsys, path.name)


def test_the_remedy_for_a_damaged_file_mends_it(examples, damaged, capsys):
    (path,) = (damaged / "Split-valid").iterdir()
    whole = path.read_bytes()
    path.write_bytes(b"")
    remedy = f"Remove {damaged} and run `recall ingest` again."
    train_fails(damaged, capsys, path.name, remedy)
    shutil.rmtree(damaged)
    assert cli.main(ingest_words(examples.parent / "events.csv", damaged)) == 0
    assert path.read_bytes() == whole


def test_a_damaged_vocabulary_is_named(damaged, capsys):
    (damaged / "vocabulary.parquet").write_bytes(b"PAR1")
    train_fails(damaged, capsys, "vocabulary.parquet")


def test_examples_without_their_record_are_unfinished(damaged, capsys):
    (damaged / records.RECORD_NAME).unlink()
    train_fails(damaged, capsys, "recall ingest")


def test_a_damaged_record_is_named(damaged, capsys):
    (damaged / records.RECORD_NAME).write_text("{")
    train_fails(damaged, capsys, records.RECORD_NAME)


def test_an_artifact_of_another_job_is_refused(damaged, capsys):
    record = records.read_record(damaged) | {"job": "export"}
    (damaged / records.RECORD_NAME).write_text(json.dumps(record))
    train_fails(damaged, capsys, "recall export")
