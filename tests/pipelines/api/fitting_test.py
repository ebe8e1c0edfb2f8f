"""`recall.fit`: what it takes and what it refuses; the jobs have tests of their own."""

import json
import shutil

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import recall
from pipelines.artifacts import records
from tests.pipelines.api import conftest

here = pytest.mark.usefixtures("in_this_process")


def test_the_same_call_finds_everything_up_to_date(fitted, events, capfd):
    again = recall.fit(events, conftest.make_items(), output=fitted.path, config=conftest.SETTINGS)
    assert again.version == fitted.version
    shown = capfd.readouterr().err
    assert shown.count("up to date") == 7


@here
def test_polars_and_arrow_are_the_same_log(fitted, events):
    """A table of another library has the same rows, so the examples are those of the run."""
    arrow = pa.Table.from_pandas(events)
    for table in (pl.from_arrow(arrow), arrow):
        with pytest.raises(recall.InputError, match=r"config"):
            recall.fit(table, output=fitted.path, config={"config": 1}, show=False)
    sums = set()
    for table in (events, pl.from_arrow(arrow), arrow):
        recall.fit(
            table, conftest.make_items(), output=fitted.path, config=conftest.SETTINGS, show=False
        )
        sums.add(records.checksum_of_record(fitted.path / "examples", "ingest"))
    assert len(sums) == 1


@here
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"events": pd.DataFrame({"user_id": [1]})}, "have no column 'item_id', only user_id"),
        ({"events": [1, 2]}, "The events are of the type list. Give a pandas"),
        ({"events": None}, "The events are None. Give a pandas"),
        ({"events": pd.Series([1])}, "The events are of the type Series. Give a pandas"),
        ({"events": pl.LazyFrame({"user_id": [1]})}, "are of the type LazyFrame. Give a pandas"),
        (
            {"events": pd.DataFrame([[1, 2]], columns=["user_id", "user_id"])},
            "The events have a column that Arrow cannot hold: Duplicate column names",
        ),
        ({"events": ""}, "`events` must be a path, received ''"),
        ({"items": ""}, "`items` must be a path, received ''"),
        ({"items": 5}, "The items are of the type int"),
        ({"config": 5}, "Settings are a list of texts .* received 5"),
        ({"config": ""}, "`config` must be a path, received ''"),
        ({"overwrite": "yes"}, "`overwrite` must be True or False, received 'yes'"),
        ({"warm_start": 5}, "`warm_start` must be a path, received 5"),
        ({"where": 5}, "`where` must be a list of texts, received 5"),
        (
            {"max_bad_rows": "many"},
            "max_bad_rows=many: 'many' is not a whole number. See `recall run --help`",
        ),
        ({"events": "missing.csv"}, "missing.csv"),
        ({"user_column": "visitor"}, "no column 'visitor'.* Name yours by user_column="),
        ({"item_column": "timestamp"}, "'timestamp' of the events is of the type timestamp"),
        ({"colour": "red"}, "There is no argument 'colour'. There are: "),
        ({"output": "x", "set": ["a=1"]}, "There is no argument 'set'"),
        ({"config": {"train.max_epoch": 1}}, "max_epoch"),
        ({"config": "train.max_epochs=1"}, "Give a list of settings"),
        ({"config": "missing.json"}, "Cannot read the settings missing.json"),
        ({"items": pd.DataFrame({"id": [1]})}, "The items have no column 'item_id', only id"),
    ],
)
def test_a_mistake_is_one_line(events, tmp_path, arguments, text):
    given = {"events": events, "output": tmp_path / "run", "show": False, **arguments}
    with pytest.raises(recall.InputError, match=text) as caught:
        recall.fit(**given)
    assert "\n" not in str(caught.value)


@here
def test_a_column_of_a_wrong_type_is_named(events, tmp_path):
    events = events.assign(timestamp="yesterday")
    with pytest.raises(recall.InputError, match="yesterday"):
        recall.fit(events, output=tmp_path / "run", show=False)


@here
@pytest.mark.parametrize(
    ("users", "text"),
    [
        (
            "bad row",
            r"^Data row 4 of the events is bad: .* skip up to n bad rows with max_bad_rows=n",
        ),
        ("fractions", r"^The events: column 'user_id' has the type double"),
    ],
)
def test_an_error_of_a_job_speaks_of_the_table_and_of_arguments(events, tmp_path, users, text):
    """Not of the file that the job read, nor of its flags."""
    column = events.user_id.astype(str).where(events.index != 3, None)
    events = events.assign(user_id=column if users == "bad row" else 0.5)
    with pytest.raises(recall.InputError, match=text) as caught:
        recall.fit(events, output=tmp_path / "run", show=False)
    assert "--" not in str(caught.value)
    assert "parquet" not in str(caught.value)


@pytest.mark.slow
def test_what_is_shown_names_the_table_and_arguments(events, tmp_path, capfd):
    """And so does the report, which outlives the file that the job read."""
    column = events.user_id.astype(str).where(events.index != 3, None)
    run = recall.fit(
        events.assign(user_id=column),
        output=tmp_path / "run",
        config=conftest.SETTINGS,
        max_bad_rows=1,
        where="item_id!=3",
        timestamp_format=None,  # As if it were left out.
    )
    shown = capfd.readouterr().err
    assert "events from the pandas table of events; kept" in shown
    assert "the first is data row 4 of the pandas table of events" in shown
    assert "rows by where." in shown
    assert "recall-tables" not in shown
    for name in ("report.html", "examples/ingest_report.json"):
        text = (run.path / name).read_text()
        assert "the pandas table of events" in text
        assert "recall-tables" not in text


@here
def test_another_log_in_the_same_folder_names_the_argument(fitted, events):
    with pytest.raises(recall.InputError, match="or pass overwrite=True to replace") as caught:
        recall.fit(events.head(60), output=fitted.path, config=conftest.SETTINGS, show=False)
    assert "another log than the events, or to the same one" in str(caught.value)
    assert "checksums differ" in str(caught.value)


@here
def test_a_model_that_is_not_good_enough_leaves_its_numbers(fitted, events, tmp_path):
    """The model of another run, which is not published."""
    ignored = shutil.ignore_patterns("serving", "evaluation", "export", "index")
    shutil.copytree(fitted.path, tmp_path / "run", ignore=ignored)
    settings = {**conftest.SETTINGS, "evaluation.thresholds": ["test.recall@10 > 1"]}
    with pytest.raises(recall.InputError, match="recall@10"):
        recall.fit(
            events, conftest.make_items(), output=tmp_path / "run", config=settings, show=False
        )
    run = recall.load(tmp_path / "run")
    assert "not published" in repr(run)
    assert len(run.metrics) > 10


@pytest.mark.slow
def test_a_warm_start_takes_a_run_or_its_folder(fitted, tmp_path):
    later = conftest.make_events(seed=1)
    missing = {"output": tmp_path / "missing", "warm_start": tmp_path, "show": False}
    with pytest.raises(recall.InputError, match=r"^warm_start=.* holds no finished model"):
        recall.fit(later, **missing)

    run = recall.fit(
        later,
        output=tmp_path / "run",
        config={**conftest.SETTINGS, "train.early_stopping_patience": 1},
        warm_start=fitted,
        show=False,
    )

    facts = json.loads((run.path / "model" / "warm_start.json").read_text())
    assert facts["carried_items"] == conftest.NUM_ITEMS
    assert facts["run"] == str(fitted.path)
