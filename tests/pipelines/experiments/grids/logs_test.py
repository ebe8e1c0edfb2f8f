"""Logs of `--logs`: by name, by file, by folder, synthetic ones with commas."""

import pytest

from pipelines.experiments.grids import catalogue, grid, logs
from pipelines.experiments.grids.grid import Options
from recall.errors import InputError


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


@pytest.mark.parametrize("ending", [".csv.gz", ".csv", ".parquet"])
def test_a_folder_is_a_log_with_its_items(tmp_path, ending):
    events = write(tmp_path / "shop" / f"events{ending}")
    assert logs.find_log(str(tmp_path / "shop")) == (events, None)
    items = write(tmp_path / "shop" / f"items{ending}")
    assert logs.find_log(str(tmp_path / "shop")) == (events, items)
    assert logs.find_log(events) == (events, items)
    assert logs.log_name(events) == logs.log_name(str(tmp_path / "shop")) == "shop"


def test_a_folder_without_such_a_file_is_one_log_of_all_its_files(tmp_path):
    write(tmp_path / "days" / "monday.csv")
    folder = str(tmp_path / "days")
    assert logs.find_log(folder) == (folder, None)
    assert logs.find_log(f"{folder}/*.csv") == (f"{folder}/*.csv", None)


def test_names_are_those_of_a_place_also_of_the_one_we_are_in(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    assert [logs.log_name(name) for name in (".", "events.csv", "./events.csv.gz")] == ["shop"] * 3
    assert logs.log_name("..") == tmp_path.name


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"--logs=mll is neither a file nor a folder, nor one of"):
        logs.find_log("mll")


def test_commas_of_a_synthetic_log_are_its_own():
    """`unrelated=0` looks like a setting, and is one of the worlds of `planted`."""
    given = "planted,synthetic:users=9,items=5,unrelated=0,synthetic:users=3,ml-1m"
    assert catalogue.read_logs(given.split(",")) == (
        "planted",
        "synthetic:users=9,items=5",
        "unrelated=0",
        "synthetic:users=3",
        "ml-1m",
    )


@pytest.mark.parametrize("parts", [[], [""], ["planted", " "]])
def test_no_name_is_a_mistake_and_not_every_log(parts):
    with pytest.raises(InputError, match="--logs has an empty name"):
        catalogue.read_logs(parts)


def test_two_logs_of_one_name_are_told_apart_from_one_log_twice():
    twice = catalogue.build("seq2seq", Options(("planted", "planted")))
    with pytest.raises(InputError, match=r"--logs=planted is there twice\. Name each log once"):
        grid.check_names(twice)
    two = catalogue.build("seq2seq", Options(("a/mine.csv", "b/mine.csv")))
    with pytest.raises(InputError, match=r"a/mine\.csv and b/mine\.csv would both be called mine"):
        grid.check_names(two)
    grid.check_names(catalogue.build("seq2seq", Options(("a/events.csv", "b/events.csv"))))
