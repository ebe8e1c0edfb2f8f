"""`recall experiment`: what it refuses before any work, and how an own log is named and read."""

import json
import re
import shlex

import pytest

from pipelines import cli
from tests.rooms import ROOT


def write_log(folder):
    """Three users with twelve clicks each, in columns of other names, and a row without item."""
    folder.mkdir()
    rows = [f"u{u};i{(t + u) % 7};{t + 1}" for t in range(12) for u in range(3)]
    (folder / "events.csv").write_text("\n".join(["who;what;timestamp", *rows, "u1;;5"]))
    items = [f"i{n};{'even' if n % 2 == 0 else 'odd'}" for n in range(7)]
    (folder / "items.csv").write_text("\n".join(["id;category", *items]))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--logs="], 1, "--logs has an empty name"),
        (["--logs=planted,planted"], 1, "--logs=planted is there twice"),
        (["--logs=synthetic:users=9,item=5"], 1, "Unknown setting `item` of a synthetic log"),
        (["--only_examples", "--only_results"], 2, "one of the two"),
    ],
)
def test_mistakes_are_one_line_before_any_work(tmp_path, capsys, words, code, message):
    output = tmp_path / "out"
    assert cli.main(["experiment", "seq2seq", f"--output={output}", *words]) == code
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(output.glob("[!.]*"))


def test_an_own_log_is_a_folder_and_has_the_usual_flags(tmp_path):
    write_log(tmp_path / "shop")
    words = [f"--logs={tmp_path / 'shop'}", f"--output={tmp_path / 'out'}", "--only_examples"]
    flags = ["--user_column=who", "--item_column=what", "--max_bad_rows=1", "--items_id_column=id"]
    assert cli.main(["experiment", "seq2seq", *words, *flags]) == 0

    report = json.loads((tmp_path / "out/examples/shop/ingest_report.json").read_text())
    assert report["kept"]["users"] == 3
    assert report["items_file"] == {"items": 7, "matched": 7}


def documented_commands():
    """Every `recall experiment` in a block of a page, joined to one line."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(
        {
            line
            for page in pages
            for block in re.findall(r"^```\w*[^\n]*\n(.*?)^```", page.read_text(), re.M | re.S)
            for line in block.replace("\\\n", " ").splitlines()
            if line.startswith("recall experiment ")
        }
    )


@pytest.mark.parametrize("line", documented_commands())
def test_commands_of_the_pages_are_planned(line, capsys):
    """Names, recipes and settings are known, whatever data is there."""
    assert cli.main([*shlex.split(line)[1:], "--list"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(" runs.") or line == "recall experiment --list"


def test_the_plan_shows_logs_recipes_and_runs(capsys, monkeypatch):
    monkeypatch.delenv("RECALL_DATA_DIR", raising=False)
    words = ["--logs=ml-1m,planted", "--seeds=2", "--epochs=3", "--set=model.dim=16"]
    assert cli.main(["experiment", "seq2seq", "--list", *words]) == 0
    shown = capsys.readouterr().out
    assert [block.splitlines()[0].split() for block in shown.split("\n\n")[1:3]] == [
        ["log", "settings"],
        ["recipe", "settings"],
    ]
    lines = shown.splitlines()
    next_five = "ingest.protocol=next_n ingest.num_targets=5"
    assert f"ml-1m    model.max_history_length=200 train.max_epochs=8 {next_five}" in lines
    assert "seq2item      loss.seq2seq_weight=0" in lines
    assert "with seq2seq  -" in lines
    assert "All runs have train.max_epochs=3 model.dim=16." in lines
    assert lines[-1] == "2 logs x 2 recipes x 2 seeds: 8 runs."


def test_a_plan_of_settings_that_make_no_sense_is_refused(capsys):
    assert cli.main(["experiment", "ablation", "--list", "--set=loss.seq2seq_anchors=99"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "`loss.seq2seq_anchors` must be at most model.max_history_length" in line
