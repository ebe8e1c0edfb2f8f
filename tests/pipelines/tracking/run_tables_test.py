import csv
import io
import json

import pytest

from pipelines import cli
from pipelines.tracking import run_tables
from recall.errors import InputError


def test_list_has_a_line_for_each_run_the_oldest_first(two_runs):
    (two_runs / "notes").mkdir()
    text = run_tables.list_runs(run_tables.read_runs(two_runs), "table")
    assert text.splitlines() == [
        "run           finished (UTC)       log  users  items  epochs  recall@10  ndcg@10  verdict"
        "       time   memory",
        "before      2026-03-02 03:03  shop.csv  1,200    300       2     0.2500   0.1250  blessed"
        "  1 min 4 s  1.50 GB",
        "shops/mine  2026-03-03 03:03  shop.csv  1,200    300       2     0.3750   0.1250  blessed"
        "  1 min 4 s  1.50 GB",
    ]


def test_a_run_that_has_only_begun_has_gaps(run_writer, tmp_path):
    run_writer(tmp_path / "new", jobs=("ingest",))
    (line,) = run_tables.list_runs(run_tables.read_runs(tmp_path), "table").splitlines()[1:]
    gaps = ["-", "-", "-", "-", "1.0", "s", "400", "MB"]
    assert line.split() == ["new", "2026-03-01", "03:01", "shop.csv", "1,200", "300", *gaps]


def test_a_run_of_an_earlier_version_is_listed(run_writer, tmp_path):
    run_writer(tmp_path / "old")
    for path in tmp_path.rglob("artifact.json"):
        record = json.loads(path.read_text())
        del record["made"]
        path.write_text(json.dumps(record))
    (run,) = run_tables.read_runs(tmp_path)
    assert (run.finished, run.duration_s, run.peak_memory_bytes, run.commit) == (None,) * 4
    assert run.metrics["test.recall@10"] == 0.25
    assert " - " in run_tables.list_runs([run], "table")


@pytest.mark.parametrize(
    "name",
    ["examples/artifact.json", "examples/ingest_report.json", "model/training_log.jsonl"],
)
def test_a_damaged_run_is_told_of_and_hides_no_other(two_runs, name, capfd):
    (two_runs / "before" / name).write_text("{")
    assert cli.main(["runs", str(two_runs), "--format=json"]) == 0
    shown, said = capfd.readouterr()
    assert [run["name"] for run in json.loads(shown)] == ["shops/mine"]
    (line,) = said.splitlines()
    assert f"{two_runs}/before is left out: " in line
    assert f"before/{name}" in line
    (two_runs / "shops/mine" / name).write_text("{")
    with pytest.raises(InputError, match=f"All 2 runs in {two_runs} are damaged"):
        run_tables.read_runs(two_runs)
    with pytest.raises(InputError, match=name):
        run_tables.read_runs(two_runs / "before")


def test_json_has_everything(two_runs):
    before, mine = json.loads(run_tables.list_runs(run_tables.read_runs(two_runs), "json"))
    assert mine["name"] == "shops/mine"
    assert mine["settings"] == {
        "ingest.protocol": "leave_one_out",
        "model.max_history_length": 50,
        "model.dim": 128,
        "train.seed": 1,
        "evaluation.ks": [10],
    }
    assert mine["metrics"] == {
        "test.recall@10": 0.375,
        "test.ndcg@10": 0.125,
        "validation.recall@10": 0.5,
        "baselines.popularity.recall@10": 0.0625,
    }
    assert before["jobs"]["train"]["duration_s"] == 61.0
    assert before["inputs"] == {"events": "e" * 64}


def test_csv_is_a_table_of_columns(two_runs):
    text = run_tables.list_runs(run_tables.read_runs(two_runs), "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["settings.model.dim"] for row in rows] == ["64", "128"]
    assert [row["metrics.test.recall@10"] for row in rows] == ["0.25", "0.375"]
    assert [row["jobs.train.cpu_s"] for row in rows] == ["122.0", "122.0"]


def test_comparison_shows_metrics_and_only_the_settings_that_differ(two_runs, capsys):
    code = cli.main(["runs", str(two_runs), "--compare=before,shops/mine"])
    metrics, jobs, settings = capsys.readouterr().out.rstrip().split("\n\n")
    assert code == 0
    assert metrics.splitlines() == [
        "metric          before  shops/mine",
        "test.recall@10  0.2500      0.3750",
        "test.ndcg@10    0.1250      0.1250",
    ]
    assert [line.split() for line in jobs.splitlines()[1:3]] == [
        ["ingest", "(s)", "1", "1"],
        ["ingest", "(MB)", "400", "400"],
    ]
    assert settings.splitlines() == [
        "setting that differs  before  shops/mine",
        "model.dim                 64         128",
    ]


def test_runs_of_the_same_settings_say_so(run_writer, tmp_path):
    for name in ("a", "b"):
        run_writer(tmp_path / name)
    text = run_tables.compare(run_tables.read_runs(tmp_path), "table")
    assert text.endswith("\n\nThe settings are the same.\n")


def test_a_setting_that_one_run_does_not_have_differs(two_runs):
    path = two_runs / "before" / "model" / "artifact.json"
    record = json.loads(path.read_text())
    del record["settings"]["train"]["seed"]
    path.write_text(json.dumps(record))
    parts = json.loads(run_tables.compare(run_tables.read_runs(two_runs), "json"))
    assert parts["runs"] == ["before", "shops/mine"]
    assert parts["settings"] == {
        "model.dim": {"before": 64, "shops/mine": 128},
        "train.seed": {"before": None, "shops/mine": 1},
    }
    assert parts["inputs"] == {}


def test_lists_of_another_system_have_no_settings_that_differ(run_writer, tmp_path):
    run_writer(tmp_path / "mine", dim=128)
    (tmp_path / "theirs").mkdir()
    record = {
        "job": "evaluate --lists",
        "settings": {"evaluation": {"ks": [20]}},
        "inputs": {"events": "e" * 64, "lists": "l"},
        "versions": {"recall": "0.1.0"},
    }
    (tmp_path / "theirs" / "artifact.json").write_text(json.dumps(record))
    report = {"log": {"source": "shop.csv", "users": 7}, "test": {"recall@10": 0.5}}
    (tmp_path / "theirs" / "report.json").write_text(json.dumps(report))

    theirs, mine = run_tables.read_runs(tmp_path)

    assert (theirs.name, theirs.log, theirs.users, theirs.epochs) == ("theirs", "shop.csv", 7, None)
    assert theirs.metrics == {"test.recall@10": 0.5}
    told = json.loads(run_tables.compare([mine, theirs], "json"))
    assert told["settings"] == {"evaluation.ks": {"mine": [10], "theirs": [20]}}
    assert told["inputs"] == {"lists": {"mine": None, "theirs": "l"}}


def test_the_folder_of_an_experiment_is_told(tmp_path, capsys):
    (tmp_path / "results.md").touch()
    assert cli.main(["runs", str(tmp_path)]) == 1
    assert (
        "is of `recall experiment`: what came out is in its results.md" in capsys.readouterr().err
    )


def test_comparison_as_csv(two_runs, capsys):
    assert cli.main(["runs", str(two_runs), "--compare=all", "--format=csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == {
        "part": "metrics",
        "name": "test.recall@10",
        "before": "0.25",
        "shops/mine": "0.375",
    }


def test_the_folder_of_one_run_is_its_own_list(two_runs):
    (run,) = run_tables.read_runs(two_runs / "before")
    assert run.name == "before"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare=before,shops/min"], "no run 'shops/min', but there is 'shops/mine'"),
        (["--compare=before"], "--compare needs two runs or more"),
    ],
)
def test_names_that_are_no_runs(two_runs, capsys, words, message):
    assert cli.main(["runs", str(two_runs), *words]) == 1
    assert message in capsys.readouterr().err


def test_folders_without_a_run(tmp_path, capsys):
    with pytest.raises(InputError, match="holds no finished run"):
        run_tables.read_runs(tmp_path)
    assert cli.main(["runs", str(tmp_path / "missing")]) == 1
    assert "is no folder" in capsys.readouterr().err
    assert cli.main(["runs"]) == 2


def test_compare_takes_folders_in_their_order_and_shortens_names(two_runs, capsys):
    before, mine = (str(two_runs / name) for name in ("before", "shops/mine"))
    assert cli.main(["compare", mine, "--format=json", before]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == ["shops/mine", "before"]
    assert told["metrics"]["test.recall@10"] == {"shops/mine": 0.375, "before": 0.25}
    assert told["settings"] == {"model.dim": {"shops/mine": 128, "before": 64}}


@pytest.mark.parametrize(
    ("names", "code", "error"),
    [
        ([], 2, "--runs is required, for example `recall compare runs/before runs/mine`"),
        (["before"], 1, "nothing to compare {0}/before with. Name two runs or more."),
        (["before", "shops/../before"], 1, "{0}/shops/../before is named twice."),
        (["before", "shops"], 1, "{0}/shops is no run, but {0}/shops/mine is."),
        (["before", "none"], 1, "{0}/none is no folder."),
        (["before", "empty"], 1, "{0}/empty holds no finished run."),
    ],
)
def test_compare_refuses_what_are_no_two_runs_in_one_line(two_runs, capsys, names, code, error):
    (two_runs / "empty").mkdir()
    assert cli.main(["compare", *(f"{two_runs}/{name}" for name in names)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert error.format(two_runs) in line
