"""Differences of runs, user by user, by hand."""

import json

import numpy as np
import pytest

from pipelines import cli
from pipelines.evaluation.user_results import UserResults
from pipelines.tracking import differences, run_tables
from recall.ragged import Ragged


def write_users(folder, places, names=None):
    """Users with one held-out click each, at these places of lists of 10."""
    number = len(places)
    UserResults(
        np.array(names or [f"u{n}" for n in range(number)], object),
        np.ones(number, int),
        np.ones(number, int),
        Ragged(np.arange(number), np.arange(number + 1)),
        {"model": np.array(places)},
        10,
        number,
    ).write(folder / "evaluation" / "users.parquet")


@pytest.fixture
def runs(run_writer, tmp_path):
    """`b` finds what `a` finds and the clicks of half of the others; `c` has other users."""
    for day, (name, places) in enumerate(
        {"a": [1] * 50 + [0] * 50, "b": [1] * 75 + [0] * 25}.items(), 1
    ):
        run_writer(tmp_path / name, day=day)
        write_users(tmp_path / name, places)
    run_writer(tmp_path / "c", day=3)
    write_users(tmp_path / "c", [1, 1], ["x", "y"])
    return tmp_path


def test_users_are_paired(runs):
    found = differences.measure_differences(run_tables.read_runs(runs))
    assert list(found) == ["recall@10", "ndcg@10"]
    b, c = found["recall@10"]
    assert c is None
    assert b.value == pytest.approx(0.25)
    # A share of .25 of 100 users has a standard error of .0433.
    assert b.low == pytest.approx(0.25 - 1.96 * 0.0433, abs=0.02)
    assert b.high == pytest.approx(0.25 + 1.96 * 0.0433, abs=0.02)


def test_the_comparison_tells_them(runs, capsys):
    assert cli.main(["runs", str(runs), "--compare=a,b,c"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("test.recall@10  +")]
    assert line.split()[1] == "+0.2500"
    assert line.endswith("]*  -")
    assert cli.main(["runs", str(runs), "--compare=a,b", "--format=json"]) == 0
    told = json.loads(capsys.readouterr().out)["differences"]["recall@10"]["b"]
    assert told["value"] == pytest.approx(0.25)


def test_runs_of_different_logs_have_no_intervals(run_writer, tmp_path, capsys):
    """Users of two logs may have the same ids, and as many clicks."""
    for name, events in (("a", "e"), ("b", "e"), ("c", "f")):
        run_writer(tmp_path / name, events=events)
        write_users(tmp_path / name, [1] * 50 + [0] * 50)
    assert cli.main(["runs", str(tmp_path), "--compare=a,b,c"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "No intervals for c: of another log than a." in lines
    (line,) = [line for line in lines if line.startswith("test.recall@10  +")]
    assert line.split()[1] == "+0.0000"
    assert line.endswith("  -")
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "c")]) == 0
    told = capsys.readouterr().out
    assert "No intervals for c" in told
    assert "minus a" not in told


def test_runs_without_results_of_users_are_compared_without(run_writer, tmp_path):
    for name in ("a", "b"):
        run_writer(tmp_path / name)
    assert differences.measure_differences(run_tables.read_runs(tmp_path)) == {}
