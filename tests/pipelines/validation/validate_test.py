"""Two nights of a log, through `recall ingest` and `recall validate`."""

import dataclasses
import json

import pytest

from pipelines import cli
from pipelines.artifacts import records
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.reporting.sections import validation as section
from pipelines.reporting.sections.run_folder import RunFolder
from pipelines.validation import tables, validate
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.validation import ValidationConfig

MONDAY = {  # Users of the first night and what they clicked, a click a day from March 1 on.
    "u1": "abcd",
    "u2": "bcda",
    "u3": "cdab",
    "u4": "dabc",
}
TUESDAY = {**MONDAY, "u1": "abcdx", "u5": "xyab"}


def config(*assignments):
    return RecallConfig().override(["ingest.num_shards=2", *assignments])


def write_run(folder, users, *, repeats=0, skip=()):
    """A run folder with its examples; `skip` leaves out days of March."""
    folder.mkdir()
    lines = ["user_id,item_id,timestamp"]
    for user, items in users.items():
        for day, item in enumerate(items, start=1):
            if day not in skip:
                lines.append(f"{user},{item},2024-03-{day:02d}T12:00:00")
    lines += [lines[1]] * repeats
    path = folder / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    ingest.run_ingest(open_events(str(path)), None, folder / "examples", config())
    return folder


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    root = tmp_path_factory.mktemp("nights")
    write_run(root / "monday", MONDAY)
    write_run(root / "tuesday", TUESDAY, repeats=2)
    return root


def measured(result):
    return {check["name"]: check["value"] for check in result["checks"]}


def run(nights, output, *assignments, previous="monday"):
    previous = None if previous is None else nights / previous
    examples = nights / "tuesday" / "examples"
    return validate.run_validation(examples, output, config(*assignments), previous)


def test_what_is_measured(nights, tmp_path):
    values = measured(run(nights, tmp_path / "out"))
    # Training on Monday: ab bc cd da, two each. On Tuesday: abc bc cd da xy.
    assert values["bad_rows"] == 0
    assert values["duplicates"] == pytest.approx(2 / 23)
    assert values["cold_targets"] == 0
    assert values["missing_days"] == 0
    assert values["new_items"] == pytest.approx(2 / 6)
    assert values["gone_items"] == 0
    assert values["unknown_clicks"] == pytest.approx(2 / 11)
    assert values["popularity_l_infinity"] == pytest.approx(1 / 11)
    assert values["event_loss"] == 0
    assert values["new_days"] == 1
    assert set(values) == set(tables.MEANINGS)


def test_every_limit_is_of_a_measure():
    names = {field.name.partition("_")[2] for field in dataclasses.fields(ValidationConfig)}
    assert names == set(tables.MEANINGS)


def test_a_limit_that_holds_lets_pass_and_one_that_is_broken_stops(nights, tmp_path):
    result = run(nights, tmp_path / "out", "validation.max_unknown_clicks=0.2")
    assert result["passed"]
    assert validate.passed(tmp_path / "out")
    limits = ("validation.max_unknown_clicks=0.1", "validation.min_new_days=2")
    with pytest.raises(InputError) as failure:
        run(nights, tmp_path / "out", *limits)
    assert str(failure.value) == (
        f"The log is not fit to be trained on beside {nights / 'monday'}: unknown_clicks is 0.182 "
        "(validation.max_unknown_clicks=0.1); new_days is 1 (validation.min_new_days=2). Look at "
        "the section about it in the report, mend the log, or change the limit."
    )
    assert not validate.passed(tmp_path / "out")
    result = json.loads((tmp_path / "out" / "validation.json").read_text())
    broken = [check["name"] for check in result["checks"] if not check["holds"]]
    assert broken == ["unknown_clicks", "new_days"]


def test_a_day_that_is_missing_and_a_log_that_shrank(nights, tmp_path):
    shrunk = {user: items[:5] for user, items in TUESDAY.items() if user != "u2"}
    folder = write_run(tmp_path / "wednesday", shrunk, skip=(2,))
    result = validate.run_validation(
        folder / "examples", tmp_path / "out", config(), nights / "tuesday"
    )
    values = measured(result)
    assert values["missing_days"] == 1
    assert result["gaps"] == {"number": 1, "longest": [["2024-03-02", "2024-03-02"]]}
    assert tables.as_text(result).endswith("\nmissing days: 2024-03-02")
    assert values["event_loss"] == pytest.approx((21 - 13) / 21)
    assert values["new_days"] == 0


def test_the_line_that_stops_a_run_names_the_longest_gaps(tmp_path):
    days = (1, 2, 4, 6, 10, 12, 14, 16, 18, 20)
    rows = [f"{user},i{day},2024-03-{day:02d}" for user in ("u1", "u2") for day in days]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    ingest.run_ingest(open_events(str(path)), None, tmp_path / "examples", config())
    limits = config("validation.max_missing_days=9")
    with pytest.raises(InputError) as failure:
        validate.run_validation(tmp_path / "examples", tmp_path / "out", limits)
    assert str(failure.value).startswith(
        "The log is not fit to be trained on: missing_days is 10 (validation.max_missing_days=9): "
        "2024-03-07 to 2024-03-09, 2024-03-03, 2024-03-05, 2024-03-11, 2024-03-13 and 3 more gaps. "
        "Look at"
    )


def test_without_an_earlier_run_its_limits_are_told_of(nights, tmp_path, caplog):
    result = run(nights, tmp_path / "out", "validation.max_new_items=0.1", previous=None)
    assert result["not_checked"] == ["validation.max_new_items"]
    assert "Not checked: validation.max_new_items." in caplog.text
    assert result["largest_changes"] == []


def test_record_follows_the_earlier_run_and_the_limits(nights, tmp_path):
    run(nights, tmp_path / "out")
    examples = nights / "tuesday" / "examples"
    monday = nights / "monday"
    record = validate.validation_record(config(), examples, monday / "examples")
    assert records.is_current(tmp_path / "out", record)
    for other in (
        validate.validation_record(config(), examples, None),
        validate.validation_record(
            config("validation.max_bad_rows=0"), examples, nights / "monday"
        ),
    ):
        assert not records.is_current(tmp_path / "out", other)


def test_the_command_prints_measures_and_limits(nights, tmp_path, capsys):
    words = [
        "validate",
        f"--examples={nights / 'tuesday' / 'examples'}",
        f"--previous={nights / 'monday'}",
        f"--output={tmp_path / 'out'}",
    ]
    assert cli.main([*words, "--set=validation.max_new_items=0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["measure", "value", "limit"]
    assert "new_items                   0.333  at most 0.5  holds" in lines
    assert "unknown_clicks              0.182" in lines
    assert cli.main([*words, "--set=validation.max_new_items=0.1"]) == 1
    assert "new_items is 0.333 (validation.max_new_items=0.1)" in capsys.readouterr().err
    assert cli.main([*words[:2], "--previous=nowhere", words[3]]) == 1
    assert "--previous=nowhere has no finished examples" in capsys.readouterr().err


def test_the_report_has_the_measures_and_what_changed_most(nights):
    folder = nights / "tuesday"
    run(nights, folder / "validation", "validation.max_new_items=0.5")
    shown = section.build(RunFolder.read(folder))
    measures, changes = shown.blocks
    assert ("share of the items that are new", "0.333", "at most 0.5", "holds") in measures.rows
    assert measures.caption == f"The log beside {nights / 'monday'}"
    assert changes.rows[0][0] in ("x", "y", "d", "a", "c", "b")
    assert len(changes.rows) == 6
