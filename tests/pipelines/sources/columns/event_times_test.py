"""Times in every form that logs have them in, and what is refused or reported."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.artifacts import held_out
from pipelines.artifacts import records as artifacts
from pipelines.ingestion import ingest
from pipelines.ingestion import report as ingest_report
from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns import time_findings
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.events import EventColumns
from pipelines.sources.tables import csv_files
from recall.config import RecallConfig
from recall.errors import InputError

NOON_S = 1_700_000_000
"""2023-11-14 22:13:20 UTC."""


def write_log(path, times, file_user="u"):
    rows = "".join(f"{file_user},i{at},{time}\n" for at, time in enumerate(times))
    path.parent.mkdir(exist_ok=True)
    path.write_text("user_id,item_id,timestamp\n" + rows)
    return str(path)


def read(path, *, column="timestamp", max_bad_rows=0, **options):
    """The times read, in seconds, and the source that read them."""
    columns = EventColumns(timestamp=column)
    source = open_events(str(path), columns, options=ReadOptions(**options))
    batches = list(source.read_batches(max_bad_rows))
    return [t for batch in batches for t in batch["timestamp"].to_pylist()], source


def error_of(*args, **kwargs):
    with pytest.raises(InputError) as info:
        read(*args, **kwargs)
    assert "\n" not in str(info.value)
    return str(info.value)


@pytest.mark.parametrize("per_second", [1, 10**3, 10**6, 10**9])
def test_numbers_of_every_unit_become_seconds(tmp_path, per_second):
    times = [NOON_S * per_second, (NOON_S + 60) * per_second]
    path = write_log(tmp_path / "log.csv", times)
    assert read(path)[0] == [NOON_S, NOON_S + 60]


@pytest.mark.parametrize("times", [[1, 2, 3], [19_675, 19_676], [20_231_114, 20_231_115]])
def test_small_growing_numbers_stay_as_they_are(tmp_path, times):
    seconds, source = read(write_log(tmp_path / "log.csv", times))
    assert seconds == times
    assert time_findings.time_lines(source.times) == []


def test_dates_written_as_one_long_number_keep_their_order(tmp_path):
    times = [20_231_114_221_320, 20_231_114_221_321]
    assert read(write_log(tmp_path / "log.csv", times))[0] == times


def test_seconds_with_a_fraction(tmp_path):
    path = write_log(tmp_path / "log.csv", ["1700000000.25", "1.7000000005e9"])
    assert read(path)[0] == [NOON_S + 0.25, NOON_S + 0.5]


@pytest.mark.parametrize(
    ("low", "high"), [(1, 10**3), (1, 10**6), (10**3, 10**6), (10**6, 10**9), (10**9, 1)]
)
def test_two_units_in_a_file_are_refused_with_a_row_of_each(tmp_path, low, high):
    path = write_log(tmp_path / "log.csv", [NOON_S * low, NOON_S * low, (NOON_S + 60) * high])
    message = error_of(path)
    assert path in message
    assert f"data row 1 has {NOON_S * low} " in message
    assert f"data row 3 has {(NOON_S + 60) * high} " in message
    assert "--timestamp_unit=mixed" in message


def test_two_units_are_found_in_different_batches_and_in_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.sources.tables.parquet_files._BATCH_ROWS", 2)
    times = [0, NOON_S, NOON_S, NOON_S * 1000]
    table = pa.table({"user_id": ["u"] * 4, "item_id": list("abcd"), "timestamp": times})
    pq.write_table(table, tmp_path / "log.parquet")
    message = error_of(tmp_path / "log.parquet")
    assert "data row 2 has 1700000000 (seconds), data row 4 has 1700000000000 (milli" in message


def test_mixed_reads_every_number_in_its_own_unit_and_says_so(tmp_path):
    path = write_log(tmp_path / "log.csv", [NOON_S, (NOON_S + 1) * 1000, (NOON_S + 2) * 1000])
    seconds, source = read(path, timestamp_unit="mixed")
    assert seconds == [NOON_S, NOON_S + 1, NOON_S + 2]
    lines = time_findings.time_lines(source.times)
    (line,) = (line for line in lines if "converted" in line)
    assert line.startswith("Warning: 2 times in another unit")
    assert f"data row 2 of {path}: 1700000001000" in line


def test_files_of_one_log_may_have_different_units(tmp_path):
    write_log(tmp_path / "log" / "a.csv", [NOON_S])
    write_log(tmp_path / "log" / "b.csv", [(NOON_S + 1) * 1000])
    write_log(tmp_path / "log" / "c.csv", ["2023-11-14T22:13:22Z"])
    seconds, source = read(tmp_path / "log")
    assert seconds == [NOON_S, NOON_S + 1, NOON_S + 2]
    (line,) = time_findings.time_lines(source.times)
    for text in ("seconds (1 file", "milliseconds (1 file", "ISO 8601 texts (1 file", "b.csv"):
        assert text in line


def test_a_unit_can_be_forced(tmp_path):
    path = write_log(tmp_path / "log.csv", [5_000_000, NOON_S * 1000])
    assert read(path, timestamp_unit="ms")[0] == [5000.0, NOON_S]
    assert read(path, timestamp_unit="none")[0] == [5_000_000, NOON_S * 1000]
    with pytest.raises(InputError, match="--timestamp_unit=minutes"):
        ReadOptions(timestamp_unit="minutes")


def test_placeholders_are_counted_and_come_first(tmp_path):
    path = write_log(tmp_path / "log.csv", [-1, NOON_S * 1000, 0, "-62135596800000"])
    seconds, source = read(path)
    assert seconds[1] == NOON_S
    assert np.argsort(seconds, kind="stable").tolist() == [3, 0, 2, 1]
    (line,) = time_findings.time_lines(source.times)
    assert line.startswith("Warning: 3 times of 0, below 0")
    assert f"data row 1 of {path}: -1" in line


@pytest.mark.parametrize("small", [19_675, 28_333_333])
def test_days_or_minutes_among_seconds_are_refused(tmp_path, small):
    message = error_of(write_log(tmp_path / "log.csv", [NOON_S, *range(small, small + 11)]))
    assert f"data row 2 of {tmp_path / 'log.csv'}: {small}" in message
    assert "--timestamp_unit=none" in message


def test_a_file_of_days_beside_a_file_of_seconds_is_refused(tmp_path):
    write_log(tmp_path / "log" / "a.csv", [NOON_S] * 500)
    write_log(tmp_path / "log" / "b.csv", [19_675])
    assert "b.csv: 19675" in error_of(tmp_path / "log")


def test_one_small_number_among_many_times_is_only_counted(tmp_path):
    _, source = read(write_log(tmp_path / "log.csv", [NOON_S] * 200 + [12]))
    (line,) = time_findings.time_lines(source.times)
    assert line.startswith("Warning: 1 time too small")


def test_a_counter_that_passes_the_first_times_is_no_mixture(tmp_path):
    times = [30_000_000, 70_000_000, 110_000_000, 150_000_000]
    assert read(write_log(tmp_path / "log.csv", times))[0] == times


def test_times_in_the_future_are_counted(tmp_path):
    _, source = read(write_log(tmp_path / "log.csv", [NOON_S, 7_258_118_400]))  # the year 2200
    (line,) = time_findings.time_lines(source.times)
    assert "1 time more than a year in the future" in line
    assert ": 7258118400" in line


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2014-04-07T10:51:09.277Z", 1396867869.277),
        ("2014-04-07 10:51:09", 1396867869),
        ("2014-04-07", 1396828800),
        ("2014-04-07T10:51:09+02:00", 1396860669),
        ("2014-04-07 10:51:09 +0200", 1396860669),
        ("2014-04-07 10:51:09 UTC", 1396867869),
        ("2014-04-07 10:51:09.277123456", 1396867869.277123),
        (" 2014-04-07 10:51 ", 1396867860),
        ("20140407T105109Z", 1396867869),
        ("20140407T105109.277+0200", 1396860669.277),
        ("20140407T1051", 1396867860),
    ],
)
def test_iso_texts(tmp_path, text, seconds):
    alone, _ = read(write_log(tmp_path / "log.csv", [text]))
    among_others, _ = read(
        write_log(tmp_path / "log.csv", [text, "1970-01-02", "2000-01-01Z"[:10]])
    )
    assert alone == [seconds]
    assert among_others == [seconds, 86400.0, 946684800.0]


ZONED, PLAIN, DAY = "2023-11-14T22:30:10Z", "2023-11-15 00:30:00", "2023-11-15"


@pytest.mark.parametrize("times", [[ZONED, PLAIN], [DAY, PLAIN, ZONED], [ZONED, "x", PLAIN]])
@pytest.mark.parametrize("block", [8, 4 << 20])
def test_times_with_and_without_a_zone_in_one_file_are_refused(tmp_path, monkeypatch, times, block):
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", block)
    path = write_log(tmp_path / "log.csv", times)
    message = error_of(path, max_bad_rows=1)
    assert f"data row {times.index(ZONED) + 1}: {ZONED}" in message
    assert f"data row {times.index(PLAIN) + 1}: {PLAIN}" in message
    seconds, source = read(path, max_bad_rows=1, timestamp_unit="mixed")
    expected = {ZONED: 1_700_001_010.0, PLAIN: 1_700_008_200.0, DAY: 1_700_006_400.0}
    assert seconds == [expected[time] for time in times if time != "x"]
    (zoneless, *days) = time_findings.time_lines(source.times)
    assert len(days) == (DAY in times)
    assert "1 time without a zone in a file with zones" in zoneless


def test_files_with_and_without_a_zone_make_a_line(tmp_path):
    write_log(tmp_path / "log" / "a.csv", [ZONED])
    write_log(tmp_path / "log" / "b.csv", [PLAIN])
    (line,) = time_findings.time_lines(read(tmp_path / "log")[1].times)
    assert "several forms" in line
    assert "without a zone, read as UTC (1 file, the first is" in line


@pytest.mark.parametrize(("times", "row"), [([PLAIN, DAY, PLAIN], 2), ([DAY, ZONED], 1)])
def test_days_among_times_are_counted(tmp_path, times, row):
    path = write_log(tmp_path / "log.csv", times)
    seconds, source = read(path)
    assert seconds[row - 1] == 1_700_006_400
    (line,) = time_findings.time_lines(source.times)
    assert "Warning: 1 time" in line
    assert f"data row {row} of {path}: {DAY}" in line
    assert time_findings.time_lines(read(write_log(tmp_path / "log.csv", [DAY] * 2))[1].times) == []


@pytest.mark.parametrize("unit", ["s", "ms", "none"])
def test_a_unit_for_iso_texts_is_refused(tmp_path, unit):
    path = write_log(tmp_path / "log.csv", [PLAIN])
    assert f"--timestamp_unit={unit} is for numbers" in error_of(path, timestamp_unit=unit)
    assert read(path, timestamp_unit="mixed")[0] == [1_700_008_200.0]


def test_what_is_no_day_is_a_bad_row(tmp_path):
    path = write_log(tmp_path / "log.csv", ["2014-04-07", "2014-02-30", "yesterday", "", "2014"])
    seconds, source = read(path, max_bad_rows=4)
    assert seconds == [1396828800.0]  # A year alone is a number, and the file has texts.
    assert source.bad_rows.total == 4


def test_texts_in_a_file_of_numbers_are_bad_rows(tmp_path):
    path = write_log(tmp_path / "log.csv", [NOON_S, "2014-04-07"])
    message = error_of(path)
    assert "Data row 2" in message
    assert "as the first of its file" in message


def test_other_forms_are_named(tmp_path):
    path = write_log(tmp_path / "log.csv", ["11/11/2019 9:05:58 AM", "11/11/2019 9:05:58 PM"])
    assert "--timestamp_format" in error_of(path)
    form = "%m/%d/%Y %I:%M:%S %p"
    assert read(path, timestamp_format=form)[0] == [1573463158.0, 1573506358.0]
    path = write_log(tmp_path / "b.csv", ["11/11/2019 9:05:58 AM", "13/13/2019 9:05:58 AM"])
    assert f"a timestamp must be of the form {form!r}" in error_of(path, timestamp_format=form)


@pytest.mark.parametrize("form", ["%Q", "%H:%M", "%"])
def test_forms_that_give_no_day_are_refused(form):
    with pytest.raises(InputError, match="--timestamp_format="):
        ReadOptions(timestamp_format=form)


def test_days_written_as_numbers_can_be_read_with_a_form(tmp_path):
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [20140407]})
    pq.write_table(table, tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet", timestamp_format="%Y%m%d")[0] == [1396828800.0]


@pytest.mark.parametrize("unit", ["auto", "ms"])
@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("ms", "Asia/Tokyo"), pa.date64()]
)
def test_times_of_parquet_need_no_unit(tmp_path, kind, unit):
    day = datetime.datetime(2014, 4, 7, tzinfo=datetime.timezone.utc)
    times = pa.array([day, None], pa.timestamp("us", "UTC")).cast(kind)
    table = pa.table({"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": times})
    pq.write_table(table, tmp_path / "log.parquet")
    seconds, source = read(tmp_path / "log.parquet", max_bad_rows=1, timestamp_unit=unit)
    assert (seconds, source.bad_rows.total) == ([1396828800.0], 1)
    message = error_of(tmp_path / "log.parquet", max_bad_rows=1, timestamp_format="%Y")
    assert "no whole date" in message


def test_int96_of_old_parquet_files(tmp_path):
    moment = datetime.datetime(2014, 4, 7, 10, 51, 9, 277_000)
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [moment]})
    pq.write_table(table, tmp_path / "log.parquet", use_deprecated_int96_timestamps=True)
    assert read(tmp_path / "log.parquet")[0] == [1396867869.277]


@pytest.mark.parametrize("values", [[True, False], [datetime.time(1), datetime.time(2)]])
def test_types_that_are_no_time_are_refused(tmp_path, values):
    table = pa.table({"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": values})
    pq.write_table(table, tmp_path / "log.parquet")
    assert "a number of seconds or a time is wanted" in error_of(tmp_path / "log.parquet")


def test_without_a_time_column_the_order_is_that_of_the_files(tmp_path):
    for name, items in (("a.csv", "ca"), ("b.csv", "bb")):
        (tmp_path / name).write_text("user_id,item_id\n" + "".join(f"u,{i}\n" for i in items))
    seconds, source = read(tmp_path, column="none")
    assert (seconds, source.times) == ([0.0, 1.0, 2.0, 3.0], {"forms": {}})
    seconds, _ = read("synthetic:users=50,items=40", column="none")
    assert seconds == list(range(len(seconds)))


def write_mixed(path):
    """Every second event in milliseconds; user 1 ends with items 5, 6, 7."""
    rows = []
    for user in (1, 2, 3):
        for n, item in enumerate([4, 3, 5, 6, 7]):
            seconds = NOON_S + 60 * n
            rows.append(f"{user},{item},{seconds if n % 2 else seconds * 1000}\n")
    path.write_text("user_id,item_id,timestamp\n" + "".join(rows))
    return str(path)


def test_ingest_with_mixed_units_keeps_the_true_last_event(tmp_path):
    path, config = write_mixed(tmp_path / "log.csv"), RecallConfig()
    with pytest.raises(InputError, match="two units of time"):
        ingest.run_ingest(open_events(path), None, tmp_path / "examples", config)
    source = open_events(path, options=ReadOptions(timestamp_unit="mixed"))
    ingest.run_ingest(source, None, tmp_path / "examples", config)
    tasks = held_out.read_held_out(tmp_path / "examples", "test")
    item_ids = artifacts.read_vocabulary(tmp_path / "examples").item_ids
    targets = [item_ids[dense - 2] for dense in tasks.positives.values.tolist()]
    assert targets == ["7", "7", "7"]
    report = json.loads((tmp_path / "examples" / "ingest_report.json").read_text())
    assert report["times"]["converted"]["count"] == 6
    assert any("6 times in another" in line for line in ingest_report.report_lines(report))


def test_other_options_make_other_examples(tmp_path):
    path, config = write_log(tmp_path / "log.csv", [1, 2]), RecallConfig()
    records = [
        ingest.ingest_record(open_events(path, options=options), None, config)
        for options in (ReadOptions(), ReadOptions(timestamp_unit="ms"))
    ]
    assert records[0]["inputs"] == records[1]["inputs"]
    assert records[0] != records[1]
