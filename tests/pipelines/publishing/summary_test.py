"""The text after a run: the model's numbers beside the baselines'."""

import shlex
import sys
from pathlib import Path

import pytest

from pipelines.publishing import summary

REPORT = {
    "test": {"recall@10": 0.25, "ndcg@10": 0.125, "num_users": 4},
    "baselines": {
        "popularity": {"recall@10": 0.1, "ndcg@10": 0.05},
        "bigram": {"recall@10": 0.2},
    },
    "index": {"kind": "exact", "num_items": 1682, "recall@100": 1.0},
}


def test_table_shows_what_the_report_has():
    assert summary.metrics_table(REPORT) == (
        "test users   model  popularity  bigram\n"
        "recall@10   0.2500      0.1000  0.2000\n"
        "ndcg@10     0.1250      0.0500       -\n"
        "index: exact, 1682 items, recall@100 against exact search 1.0000"
    )


@pytest.mark.parametrize("index", [None, {}])
def test_table_without_an_index(index):
    assert "index" not in summary.metrics_table(REPORT | {"index": index})


def test_the_kinds_with_the_most_clicks_have_a_line():
    def of(value, clicks):
        return {"num_positives": clicks, "recall@10": value, "recall@50": 2 * value}

    found = {
        "model": {f"k{n}": of(0.01 * n, 100 + n) for n in range(7)},
        "popularity": {f"k{n}": of(0.0, 100 + n) for n in range(7)},
    }
    lines = summary.kind_lines(found, (10, 50))
    assert lines[0] == (
        "106 test clicks of the kind k6; recall@10 / @50 model 0.0600 / 0.1200, "
        "popularity 0.0000 / 0.0000"
    )
    assert [line.split(";")[0][-2:] for line in lines] == ["k6", "k5", "k4", "k3", "k2"]
    assert summary.kind_lines({"model": {"view": of(0.1, 5)}}, (10, 50)) == []


def test_next_command_is_the_short_one_where_the_shell_finds_it(monkeypatch):
    script = Path(sys.executable).with_name("recall")
    if not script.exists():
        pytest.skip("the command is not installed in this environment")
    monkeypatch.setenv("PATH", str(script.parent))
    assert summary.next_command("runs/a").startswith("recall serve --release=runs/a/serving ")
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(script.parent.parent)
    assert summary.next_command("runs/a").startswith("bin/recall serve ")


@pytest.mark.parametrize("output", ["runs/a x", "runs/[a]", "it's", "$HOME/a;b", "runs/a"])
def test_the_next_command_can_be_pasted(output, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "a python" / "python"))
    words = shlex.split(summary.next_command(output))
    assert words[:3] == [sys.executable, "-m", "pipelines.cli"]
    assert words[3:5] == ["serve", f"--release={output}/serving"]


def test_words_the_shell_takes_as_they_are_stay_as_they_are():
    command = summary.next_command("runs/a")
    assert command.endswith(" serve --release=runs/a/serving --grpc_port=8500 --http_port=8501")
