"""`recall tune` on a small log: trials, a stop, going on, and what is written."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import optuna
import pytest

from pipelines import cli
from pipelines.commands import tune as tune_command
from pipelines.tuning import results, space, tune
from recall.config import RecallConfig
from recall.errors import InputError

WORDS = (
    "tune",
    "--events=synthetic:users=120,items=40",
    "--set=train.max_epochs=2",
    "--set=model.dim=8",
    "--set=model.num_interests=2",
    "--set=model.num_blocks=1",
    "--set=loss.seq2seq_weight=0",
    "--space=train.learning_rate=log:0.0001..0.01",
    "--space=model.num_interests=1|2",
)


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A folder with two trials; do not change it but by going on."""
    folder = tmp_path_factory.mktemp("search") / "tuning"
    assert cli.main([*WORDS, f"--output={folder}", "--trials=2"]) == 0
    return folder


def trials_of(folder):
    return json.loads((folder / "trials.json").read_text())["trials"]


def test_the_first_trial_has_the_settings_it_began_with(search):
    first = next(t for t in trials_of(search) if t["number"] == 0)
    assert first["settings"] == {"train.learning_rate": 0.001, "model.num_interests": 2}
    assert first["epochs"] == 2


def test_the_table_is_sorted_and_the_best_settings_can_be_run(search):
    rows = trials_of(search)
    assert [r["value"] for r in rows] == sorted((r["value"] for r in rows), reverse=True)
    best = RecallConfig.from_json((search / "best.json").read_text())
    expected = [tune.assignment(n, v) for n, v in rows[0]["settings"].items()]
    base = [word.removeprefix("--set=") for word in WORDS if word.startswith("--set=")]
    assert best == RecallConfig().override([*base, *expected])


def test_a_value_is_the_best_epoch_of_the_training(search):
    best = trials_of(search)[0]
    log = search / "trials" / f"{best['number']:04d}" / "training_log.jsonl"
    values = [json.loads(line)["val_ndcg@10"] for line in log.read_text().splitlines()]
    assert best["value"] == max(values)


@pytest.mark.slow
def test_the_metric_that_is_raised_decides_the_epoch(tmp_path):
    """The kept epoch of a trial, and of a run with the best settings, is the one that counted."""
    words = [*WORDS, "--metric=debiased_hit_rate@50", f"--output={tmp_path}", "--trials=1"]
    assert cli.main(words) == 0

    best = RecallConfig.from_json((tmp_path / "best.json").read_text())
    assert best.train.stopping_metric == "debiased_hit_rate@50"
    (trial,) = trials_of(tmp_path)
    log = (tmp_path / "trials" / "0000" / "training_log.jsonl").read_text().splitlines()
    values = [json.loads(line)["val_debiased_hit_rate@50"] for line in log]
    assert trial["value"] == max(values)
    assert json.loads((tmp_path / "trials.json").read_text())["metric"] == "debiased_hit_rate@50"


def test_settings_that_make_no_sense_together_are_no_trial(tmp_path, monkeypatch, caplog):
    """One interest has no overlap with others."""
    tried = []

    def run_trial(*arguments, **_):
        tried.append(sorted(arguments[3]))
        return tune.trial_job.TrialResult((0.5,), False)

    monkeypatch.setattr(tune.trial_job, "run_trial", run_trial)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "artifact.json").write_text("{}")
    texts = ["model.num_interests=1|2", "loss.overlap_weight=0|0.1"]
    config = RecallConfig().override(["model.num_interests=2"])

    with caplog.at_level("INFO"):
        rows = tune.tune(tmp_path, config, space.parse_space(texts, config), tune.Budget(20))

    refused = ["loss.overlap_weight=0.1", "model.num_interests=1"]
    assert len(rows) == len(tried) == 20
    assert refused not in tried
    said = [" ".join(message.split()) for message in caplog.messages if "left out" in message]
    assert "is left out: Config key `loss.overlap_weight` must be 0 with one interest" in said[0]


def test_a_space_of_settings_that_make_no_sense_together_is_refused(tmp_path):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "artifact.json").write_text("{}")
    fixed = [
        space.Dimension("model.num_interests", (1,)),
        space.Dimension("loss.overlap_weight", (0.1,)),
    ]
    with pytest.raises(InputError, match="50 times in a row --space gave settings"):
        tune.tune(tmp_path, RecallConfig(), fixed, tune.Budget(2))


def test_only_the_best_model_stays(search):
    kept = [path.name for path in (search / "trials").iterdir() if path.is_dir()]
    assert kept == [f"{trials_of(search)[0]['number']:04d}"]


def test_the_plot_is_an_image_of_all_settings(search):
    root = ET.parse(search / "tuning.svg").getroot()
    text = " ".join(root.itertext())
    assert root.tag.endswith("svg")
    for word in ("best so far", "train.learning_rate", "model.num_interests", "ndcg@10"):
        assert word in text


@pytest.mark.slow
def test_a_search_goes_on(search, capsys):
    """After a trial that a killed process left running, which is not counted."""
    study = optuna.load_study(
        study_name="recall",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(search / "journal.log"))
        ),
    )
    left = study.ask().number
    before = {t["number"]: t["value"] for t in trials_of(search)}
    assert cli.main([*WORDS, f"--output={search}", "--trials=3"]) == 0
    after = {t["number"]: t["value"] for t in trials_of(search)}
    assert len(after) == 3
    assert left not in after
    assert before.items() <= after.items()
    assert "Trial 0, the settings it began with" in capsys.readouterr().out
    assert cli.main([*WORDS, f"--output={search}", "--trials=3"]) == 0  # Nothing is left to do.
    assert {t["number"] for t in trials_of(search)} == set(after)


@pytest.mark.parametrize(
    "changed", ["--metric=recall@50", "--set=train.seed=5", "--space=model.num_blocks=1|2"]
)
def test_another_search_is_another_folder(search, changed, capsys):
    assert cli.main([*WORDS, changed, f"--output={search}", "--trials=3"]) == 1
    assert "Choose another --output" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("is_file", [True, False])
def test_a_folder_of_something_else_is_left_alone(tmp_path, is_file, capsys):
    output = tmp_path / "runs"
    content = output if is_file else output / "mine" / "notes.txt"
    content.parent.mkdir(parents=True, exist_ok=True)
    content.write_text("kept")
    assert cli.main([*WORDS, f"--output={output}", "--trials=1"]) == 1
    error = capsys.readouterr().err
    expected = "is a file. Name a folder." if is_file else "is not empty (mine) and was not made by"
    assert f"recall tune: error: {output} {expected}" in error
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [content]


@pytest.mark.slow
def test_a_time_that_is_over_leaves_what_was_found(tmp_path, capsys):
    words = [*WORDS, "--set=train.max_epochs=500", "--set=train.early_stopping_patience=500"]
    code = cli.main([*words, f"--output={tmp_path / 't'}", "--trials=50", "--minutes=0.6"])
    captured = capsys.readouterr()
    if code == 1:  # A machine that is too slow for one epoch says so.
        assert "No trial has finished an epoch" in captured.err
    else:
        rows = trials_of(tmp_path / "t")
        assert rows[-1]["was_cut"]
        assert len(rows) < 50
        assert "* ended early" in captured.out


def test_no_epoch_in_time_is_said(tmp_path, capsys):
    assert cli.main([*WORDS, f"--output={tmp_path / 't'}", "--minutes=0.01"]) == 1
    assert "No trial has finished an epoch" in capsys.readouterr().err


def test_the_next_command_reads_the_log_as_the_search_did():
    words = ["--events=a b.csv", "--items=i.csv", "--user_column=visitor"]
    conditions = ["--where=kind=sale|gift", "--where=paid=1"]
    values, _ = cli.parse("tune", [*words, *conditions, "--output=t", "--trials=2"])
    assert tune_command.next_command(values, Path("t/best.json")).split(" \\\n    ") == [
        "recall run",
        "'--events=a b.csv'",
        "--items=i.csv",
        "--user_column=visitor",
        "'--where=kind=sale|gift'",
        "--where=paid=1",
        "--config=t/best.json",
        "--output=runs/best",
    ]


def test_lines_fit_a_terminal():
    settings = {f"section.setting_of_number_{n}": 0.000123 for n in range(6)}
    heads, second, row, *_ = results.table(
        [results.TrialRow(0, 0.2, settings, 2, 5.0, False)], "ndcg@10"
    ).splitlines()
    assert heads.split() == ["setting_"] * 6
    assert second.split() == [
        "trial",
        "ndcg@10",
        "epochs",
        "s",
        *(f"of_number_{n}" for n in range(6)),
    ]
    assert row.split() == ["0", "0.2000", "2", "5", *["0.000123"] * 6]
    assert max(map(len, (heads, second, row))) <= 110
    texts = ", ".join(f"{name}={value}" for name, value in settings.items())
    lines = results.wrap(f"Trial 3, 4 of 30: {texts}").splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 110 - len("12:00:00 ")
    assert " ".join(map(str.strip, lines)) == f"Trial 3, 4 of 30: {texts}"


def test_a_table_of_trials():
    rows = [
        results.TrialRow(1, 0.25, {"model.dropout_rate": None}, 3, 7.4, False),
        results.TrialRow(0, 0.2, {"model.dropout_rate": 0.1}, 2, 5.0, True),
    ]
    assert results.table(rows, "ndcg@10").splitlines() == [
        "trial  ndcg@10  epochs  s  dropout_rate",
        "1       0.2500       3  7          auto",
        "0       0.2000      2*  5           0.1",
        "* ended early: hopeless, or the time was over",
        "Trial 0, the settings it began with: 0.2000, place 2 of 2.",
    ]
