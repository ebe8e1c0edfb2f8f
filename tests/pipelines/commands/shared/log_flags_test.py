"""The flags that say how a log is read, from the command line to the report."""

import json

import pytest

from pipelines import cli

USERS = ("u1", "u2", "u3")


def write_log(path, times, header="user_id,item_id,timestamp"):
    rows = [f"{user},i{at}" for user in USERS for at in range(4)]
    lines = [",".join(filter(None, pair)) for pair in zip(rows, times * 3, strict=True)]
    path.write_text("\n".join([header, *lines, ""]))
    return path


def ingest(tmp_path, path, *flags):
    """The exit code of `recall ingest`, and the report where there is one."""
    words = [
        "ingest",
        f"--events={path}",
        f"--output={tmp_path / 'out'}",
        "--set=ingest.num_shards=1",
    ]
    code = cli.main([*words, *flags])
    report = tmp_path / "out" / "ingest_report.json"
    return code, json.loads(report.read_text()) if report.exists() else None


@pytest.mark.parametrize(
    ("times", "flag", "form"),
    [
        (
            ["1.7e9", "1700000001", "1700000002000", "1700000003"],
            "--timestamp_unit=mixed",
            "seconds",
        ),
        (["1", "2", "3", "4"], "--timestamp_unit=ms", "milliseconds"),
        (
            ["1/2/2020", "2/2/2020", "3/2/2020", "4/2/2020"],
            "--timestamp_format=%d/%m/%Y",
            "%d/%m/%Y",
        ),
    ],
)
def test_times(tmp_path, times, flag, form):
    path = write_log(tmp_path / "log.csv", times)
    code, report = ingest(tmp_path, path, flag)
    assert code == 0
    assert any(form in found for found in report["times"]["forms"])


def test_a_log_without_times(tmp_path):
    path = write_log(tmp_path / "log.csv", [""] * 4, header="user_id,item_id")
    assert ingest(tmp_path, path) == (1, None)
    code, report = ingest(tmp_path, path, "--timestamp_column=none")
    assert (code, report["kept"]["events"]) == (0, 12)


def test_markers_as_ids_and_up_to_date_logic(tmp_path, capsys):
    path = write_log(tmp_path / "log.csv", ["1", "2", "3", "4"])
    path.write_text(path.read_text().replace("u3,", "NA,"))
    assert ingest(tmp_path, path) == (1, None)
    code, report = ingest(tmp_path, path, "--null_markers=ids")
    assert (code, report["kept"]["users"]) == (0, 3)
    code, report = ingest(tmp_path, path, "--max_bad_rows=4")  # other options: made again
    assert (code, report["kept"]["users"]) == (0, 2)
    assert "up to date" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "code"),
    [("--timestamp_unit=h", 2), ("--timestamp_format=%H", 1), ("--null_markers=x", 2)],
)
def test_wrong_values_are_refused_in_one_line(tmp_path, capsys, flag, code):
    path = write_log(tmp_path / "log.csv", ["1", "2", "3", "4"])
    assert ingest(tmp_path, path, flag) == (code, None)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert flag in error


def test_a_name_for_the_log(tmp_path):
    path = write_log(tmp_path / "log.csv", [str(1_700_000_000 + at) for at in range(4)])
    _, report = ingest(tmp_path, path)
    assert report["source"] == str(path)
    (tmp_path / "named").mkdir()
    _, report = ingest(tmp_path / "named", path, "--events_name=Shop, 2024")
    assert report["source"] == "Shop, 2024"
    assert report["lines"][0].startswith("Read 12 events from Shop, 2024; kept 12 ")


@pytest.mark.parametrize(
    "words",
    [
        ("ingest",),
        ("run",),
        ("tune",),
        ("recommend", "--release={release}"),
        ("embed", "--release={release}"),
    ],
)
def test_an_output_in_the_folder_of_the_log_is_refused(tmp_path, monkeypatch, words, capsys):
    """It would be read as a part of the log the next time."""
    logs = tmp_path / "logs"
    logs.mkdir()
    write_log(logs / "monday.csv", ["1", "2", "3", "4"])
    (tmp_path / "link").symlink_to(logs)
    (tmp_path / "release").mkdir()
    monkeypatch.chdir(tmp_path)
    words = [word.format(release=tmp_path / "release") for word in words]
    for output in ("logs/out", "logs/a/b", "link/out"):
        assert cli.main([*words, "--events=logs", f"--output={output}"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"recall {words[0]}: error: --output={output} lies in the folder of the log, "
            "--events=logs, and would be read as a part of it the next time. Choose another "
            "--output."
        )
    assert [path.name for path in logs.iterdir()] == ["monday.csv"]


def test_an_output_beside_the_files_of_the_log(tmp_path):
    log = write_log(tmp_path / "monday.csv", ["1", "2", "3", "4"])
    assert ingest(tmp_path, log)[0] == 0
