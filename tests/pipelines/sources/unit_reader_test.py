"""A log read in parts says what one reader of all of it says, also about its faults."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources import file_source, unit_reader
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.columns.where import Condition
from pipelines.sources.events import NO_TIME, EventColumns
from pipelines.sources.tables import csv_files, file_parts, parquet_files
from recall.errors import InputError


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Logs of a page are then read as logs of gigabytes are."""
    monkeypatch.setattr(file_source, "_SPLIT_BYTES", 300)
    monkeypatch.setattr(file_source, "_UNIT_BYTES", 400)
    monkeypatch.setattr(file_parts, "PART_BYTES", 200)
    monkeypatch.setattr(file_parts, "PART_ROWS", 20)
    monkeypatch.setattr(file_parts, "_SCANNED_BYTES", 77)
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 128)
    monkeypatch.setattr(parquet_files, "_BATCH_ROWS", 16)
    monkeypatch.setattr(parquet_files, "_FIRST_ROWS", 16)


def lines(times, *, extra=()):
    rows = [f"u{at % 7},i{at % 11},{time}" for at, time in enumerate(times)]
    for at, line in extra:
        rows[at] = line
    return rows


def write_csv(path, rows, *, end="\n", header="user_id,item_id,timestamp"):
    path.write_bytes((end.join([header, *rows]) + end).encode())
    return path


def read_whole(source, max_bad_rows):
    table = pa.Table.from_batches(source.read_batches(max_bad_rows), schema=source.schema)
    bad_rows = source.bad_rows
    return table.to_pylist(), {
        "events_read": table.num_rows,
        "left_out_by_where": source.rows_left_out,
        "bad_rows": {"rows": bad_rows.total, "reasons": bad_rows.to_dict()},
        "times": source.times,
    }


def read_parts(source, max_bad_rows):
    """Units from the last to the first, as workers may come to them."""
    units = source.work_units()
    events, facts = [None] * len(units), [None] * len(units)
    for number in reversed(range(len(units))):
        reader = unit_reader.UnitReader(source, units[number], max_bad_rows)
        events[number] = [row for batch in reader.batches() for row in batch.to_pylist()]
        facts[number] = reader.facts
    read = unit_reader.merge_facts(source, facts, max_bad_rows)
    first_rows = read.pop("first_rows")
    rows = [row for unit in events for row in unit]
    for row in rows:
        file, place = divmod(row["row"], 1 << unit_reader.ROW_BITS)
        row["row"] = first_rows[file] + place
        if not source.columns.has_time:
            row["timestamp"] = float(row["row"])
    return len(units), rows, read


def compare(path, max_bad_rows=0, **options):
    """How many units there are, and the error of both, None where there is none."""

    def open_again():
        return open_events(str(path), **options)

    error = None
    try:
        events, facts = read_whole(open_again(), max_bad_rows)
    except InputError as caught:
        error = str(caught)
    if error is not None:
        with pytest.raises(InputError) as raised:
            read_parts(open_again(), max_bad_rows)
        assert str(raised.value) == error
        return len(open_again().work_units()), error
    num_units, in_parts, found = read_parts(open_again(), max_bad_rows)
    assert in_parts == events
    assert found == facts
    return num_units, None


SECONDS = [1_700_000_000 + at for at in range(90)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_plain_text_is_cut_at_its_lines(tmp_path, end):
    rows = lines(SECONDS, extra=[(3, "u1,i1"), (50, ",i1,5"), (51, "u2,i3,yesterday")])
    num_units, error = compare(write_csv(tmp_path / "log.csv", rows, end=end), 3)
    assert (num_units > 5, error) == (True, None)


@pytest.mark.parametrize(
    ("rows", "end"),
    [
        (lines(SECONDS, extra=[(60, '"u\n3",i1,1700000000')]), "\n"),
        (lines(SECONDS, extra=[(60, "")]), "\n"),
        (lines(SECONDS, extra=[(60, "")]), "\r\n"),
        (lines(SECONDS), "\r"),
        (lines(SECONDS, extra=[(60, "u1,i1,1700000000\ru1,i2,1700000000")]), "\n"),
    ],
    ids=["a quoted line break", "a blank line", "a blank line, CRLF", "CR", "a CR in between"],
)
def test_what_makes_lines_no_rows_is_read_by_one(tmp_path, rows, end):
    assert compare(write_csv(tmp_path / "log.csv", rows, end=end)) == (1, None)


@pytest.mark.parametrize("size", range(60, 90))
def test_cuts_at_every_place_of_a_block(tmp_path, monkeypatch, size):
    monkeypatch.setattr(file_parts, "_SCANNED_BYTES", size)
    path = write_csv(tmp_path / "log.csv", lines(SECONDS), end="\r\n")
    parts = file_parts.find_line_parts(path, 28, 200, quoting=True)
    text = path.read_bytes()
    assert len(parts) > 5
    for part in parts[1:]:
        assert text[part.start - 1 : part.start] == b"\n"
        assert text[28 : part.start].count(b"\n") == part.first_row
    assert sum(part.share for part in parts) == pytest.approx(1)


def write_parquet(path, times, rows_per_group=8, **columns):
    size = len(times)
    table = {
        "user_id": [f"u{at % 7}" for at in range(size)],
        "item_id": [at % 11 for at in range(size)],
        "timestamp": times,
    }
    pq.write_table(pa.table(table | columns), path, row_group_size=rows_per_group)
    return path


def test_row_groups(tmp_path):
    ids = [f"u{at % 7}" if at not in (5, 70) else None for at in range(90)]
    path = write_parquet(tmp_path / "log.parquet", SECONDS, user_id=ids)
    num_units, error = compare(path, 2)
    assert (num_units, error) == (4, None)  # 24 rows, three groups, each; 18 are left


def test_a_folder_of_files_of_all_sizes(tmp_path):
    for number in range(3):
        write_parquet(tmp_path / f"a{number}.parquet", SECONDS[: 10 * (number + 1)])
    write_parquet(tmp_path / "b.parquet", SECONDS)
    write_csv(tmp_path / "c.csv", lines(SECONDS, extra=[(89, "too,few")]))
    write_csv(tmp_path / "d.csv", lines(SECONDS[:3]))
    num_units, error = compare(tmp_path, 1)
    assert (num_units > 8, error) == (True, None)


def test_a_column_of_folders_and_conditions(tmp_path):
    for day in ("1", "2"):
        folder = tmp_path / f"day={day}"
        folder.mkdir()
        kinds = [("view", "buy")[at % 3 == 0] for at in range(90)]
        write_parquet(folder / "log.parquet", SECONDS, kind=kinds)
    conditions = [Condition("kind", ("buy",), True), Condition("day", ("2",), True)]
    num_units, error = compare(tmp_path, where=conditions)
    # One where no row is wanted, so that no time tells its form, and four.
    assert (num_units, error) == (5, None)


def test_without_times_the_rows_of_all_files_are_the_order(tmp_path):
    write_csv(tmp_path / "a.csv", lines(SECONDS))
    write_csv(tmp_path / "b.csv", lines(SECONDS))
    num_units, error = compare(tmp_path, columns=EventColumns(timestamp=NO_TIME))
    assert (num_units > 8, error) == (True, None)


ISO = [f"2024-03-01T10:{at // 60:02d}:{at % 60:02d}Z" for at in range(90)]


@pytest.mark.parametrize(
    ("times", "max_bad_rows", "message"),
    [
        ([*SECONDS[:70], *(1000 * time for time in SECONDS[70:])], 0, "two units of time"),
        ([*SECONDS[:-1], 1000 * SECONDS[0]], 0, "two units of time"),
        ([*ISO[:80], *(time[:-1] for time in ISO[80:])], 0, "with a zone .* and without one"),
        ([*ISO[:40], ISO[40][:-1], *ISO[41:]], 0, "with a zone .* and without one"),
        ([*SECONDS[:60], *range(1, 31)], 0, "numbers too small to be times"),
        ([*SECONDS[:60], *["never"] * 30], 20, "More than 20 bad rows; the first: data row 61"),
        ([*SECONDS[:60], *["never"] * 30], 0, "Data row 61 of"),
        ([*ISO[:60], *SECONDS[:30]], 29, "data row 61"),
    ],
)
def test_faults_are_told_as_by_one_reader(tmp_path, times, max_bad_rows, message):
    num_units, error = compare(write_csv(tmp_path / "log.csv", lines(times)), max_bad_rows)
    assert num_units > 5
    with pytest.raises(InputError, match=message):
        raise InputError(error)


def test_findings_of_times_are_added_up(tmp_path):
    days = [time[:10] if at in (30, 80) else time for at, time in enumerate(ISO)]
    write_csv(tmp_path / "a.csv", lines(days))
    write_csv(tmp_path / "b.csv", lines([0, 5, *SECONDS[2:80], *[4_000_000_000] * 10]))
    num_units, error = compare(tmp_path)
    assert (num_units > 8, error) == (True, None)


def test_mixed_units_are_converted_in_every_part(tmp_path):
    times = [time * (1000 if at % 9 == 5 else 1) for at, time in enumerate(SECONDS)]
    path = write_csv(tmp_path / "log.csv", lines(times))
    assert compare(path)[1] is not None
    num_units, error = compare(path, options=ReadOptions(timestamp_unit="mixed"))
    assert (num_units > 5, error) == (True, None)


def test_a_file_whose_first_times_say_nothing_is_read_by_one(tmp_path):
    times = [*range(1, 40), *SECONDS[40:]]
    path = write_parquet(tmp_path / "log.parquet", times)
    num_units, error = compare(path)
    assert num_units == 1
    assert "too small" in error


def test_no_events(tmp_path):
    path = write_csv(tmp_path / "log.csv", lines(["?"] * 90))
    _, error = compare(path, 90)
    assert "has no events besides 90 bad rows" in error


def test_the_share_grows_to_one(tmp_path):
    source = open_events(str(write_csv(tmp_path / "log.csv", lines(SECONDS))))
    shares = []
    for unit in source.work_units():
        reader = unit_reader.UnitReader(source, unit, 0)
        shares += [reader.share_read for _ in reader.batches()]
    assert len(shares) > 5
    assert np.all(np.diff(shares) >= 0)
    assert shares[-1] == pytest.approx(1, abs=0.05)
