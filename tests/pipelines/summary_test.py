"""The text after a run: the model's numbers beside the baselines'."""

import sys
from pathlib import Path

import pytest

from pipelines import summary

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


def test_next_command_is_the_short_one_where_the_shell_finds_it(monkeypatch):
    script = Path(sys.executable).with_name("recall")
    if not script.exists():
        pytest.skip("the command is not installed in this environment")
    monkeypatch.setenv("PATH", str(script.parent))
    assert summary.next_command("runs/a").startswith("recall serve --release=runs/a/serving ")
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(script.parent.parent)
    assert summary.next_command("runs/a").startswith("bin/recall serve ")
