"""Logs in CSV and Parquet files: what is read, and what is refused and how."""

import datetime
import decimal
import gzip
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.events import EVENT_SCHEMA, EventColumns
from pipelines.sources.tables import csv_files, parquet_files
from recall.errors import InputError

HEADER = "user_id,item_id,timestamp\n"


def write(path, text):
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return str(path)


def read(spec, max_bad_rows=0, columns=EventColumns()):  # noqa: B008
    """All rows as tuples in the order of the schema."""
    source = open_events(spec, columns)
    batches = list(source.read_batches(max_bad_rows))
    assert all(batch.schema == source.schema for batch in batches)
    table = pa.Table.from_batches(batches)
    return list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


def error_of(action, *args, **kwargs):
    with pytest.raises(InputError) as info:
        action(*args, **kwargs)
    assert "\n" not in str(info.value)
    return str(info.value)


ROWS = [("u1", "a", 10.0, 0), ("u1", "b", 11.5, 1), ("u2", "a", 3.0, 2)]


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.tsv", "log.tsv.gz"])
def test_text_files(tmp_path, name):
    text = HEADER + "u1,a,10\nu1,b,11.5\nu2,a,3e0\n"
    text = text.replace(",", "\t") if "tsv" in name else text
    assert read(write(tmp_path / name, text)) == ROWS


def test_extra_columns_order_blank_lines_and_byte_order_mark_do_not_matter(tmp_path):
    text = "\ufefftimestamp,note,item_id,user_id\r\n10,x,a,u1\r\n\r\n11.5,,b,u1\r\n3,z,a,u2\r\n"
    assert read(write(tmp_path / "log.csv", text)) == ROWS


def test_ids_keep_their_text(tmp_path):
    text = HEADER + '007,"a,1",1\nNull Island,NAN-1,2\n"two\nlines",b c,3\n'
    assert read(write(tmp_path / "log.csv", text)) == [
        ("007", "a,1", 1.0, 0),
        ("Null Island", "NAN-1", 2.0, 1),
        ("two\nlines", "b c", 3.0, 2),
    ]


def test_split_column_and_column_names(tmp_path):
    path = write(tmp_path / "log.csv", "u,i,t,part\nu1,a,1,train\nu1,b,2,context\n")
    columns = EventColumns("u", "i", "t", "part")
    assert open_events(path, columns).has_split
    assert read(path, columns=columns) == [
        ("u1", "a", 1.0, 0, "train"),
        ("u1", "b", 2.0, 1, "context"),
    ]
    assert read(path, columns=columns._replace(split="")) == [
        ("u1", "a", 1.0, 0),
        ("u1", "b", 2.0, 1),
    ]
    message = error_of(open_events, path, columns._replace(split="fold"))
    assert "'fold'" in message
    assert "'u', 'i', 't', 'part'" in message


def write_parquet(path, rows=ROWS, **types):
    columns = dict(zip(("user_id", "item_id", "timestamp"), zip(*rows, strict=False), strict=False))
    arrays = {name: pa.array(column, types.get(name)) for name, column in columns.items()}
    pq.write_table(pa.table(arrays), path, row_group_size=2)
    return str(path)


def test_parquet_file_folder_and_pattern_number_rows_through_all_files(tmp_path):
    assert read(write_parquet(tmp_path / "log.parquet")) == ROWS
    folder = tmp_path / "parts"
    (folder / "day=2").mkdir(parents=True)
    write_parquet(folder / "part-0.parquet")
    write_parquet(folder / "day=2" / "part-1.parquet", [("u3", "c", 1.0)])
    write(folder / "_SUCCESS", "")
    write(folder / "_temporary.parquet", "not parquet")
    # Sorted by path: day=2/part-1 comes before part-0.
    shifted = [("u3", "c", 1.0, 0), *((*row[:3], row[3] + 1) for row in ROWS)]
    assert read(str(folder)) == shifted
    assert read(str(folder / "**" / "part-*.parquet")) == shifted
    assert read(str(folder / "part-*.parquet")) == ROWS


def test_files_of_a_folder_that_are_not_read_are_said(tmp_path, caplog):
    for name in ("a.csv", "b.txt", "c.CSV", "d.zip", "notes.pdf", "_e.txt"):
        write(tmp_path / name, HEADER + "u,a,1\n")
    assert [file.name for file in open_events(str(tmp_path)).files] == ["a.csv", "c.CSV"]
    assert "2 files are not read, the first is b.txt" in caplog.text
    (tmp_path / "f.csv").mkdir()
    write(tmp_path / "f.csv" / "part-0.csv", HEADER + "u,a,1\n")
    assert len(open_events(str(tmp_path)).files) == 3


def test_parquet_ids_may_be_numbers_and_times_may_be_times(tmp_path):
    moment = datetime.datetime(2024, 1, 1, 0, 0, 1, 500_000)
    rows = [(7, 8, moment)]
    expected = [("7", "8", 1704067201.5, 0)]
    for kind in (pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ms", "Europe/Berlin")):
        path = write_parquet(tmp_path / "log.parquet", rows, user_id=pa.int32(), timestamp=kind)
        assert read(path) == expected
    path = write_parquet(tmp_path / "d.parquet", [("u", "i", datetime.date(1970, 1, 2))])
    assert read(path) == [("u", "i", 86400.0, 0)]
    path = write_parquet(tmp_path / "e.parquet", [("u", "i", decimal.Decimal("1.5"))])
    assert read(path) == [("u", "i", 1.5, 0)]
    kind = pa.dictionary(pa.int32(), pa.string())
    path = write_parquet(tmp_path / "f.parquet", [("u", b"i", "2")], user_id=kind, timestamp=kind)
    assert read(path) == [("u", "i", 2.0, 0)]


@pytest.mark.parametrize(
    ("rows", "column", "kind"),
    [
        ([(1.0, "a", 1)], "user_id", "double"),
        ([("u", True, 1)], "item_id", "bool"),
        ([("u", "a", True)], "timestamp", "bool"),
    ],
)
def test_parquet_types_that_are_no_ids_or_times(tmp_path, rows, column, kind):
    path = write_parquet(tmp_path / "log.parquet", rows)
    message = error_of(read, path)
    assert path in message
    assert column in message
    assert kind in message


def test_parquet_rows_are_checked_too(tmp_path):
    path = write_parquet(
        tmp_path / "log.parquet", [("u", "a", 1.0), (None, "b", None), ("u", "c", 2.0)]
    )
    assert "data row 2" in error_of(read, path).lower()
    assert read(path, max_bad_rows=1) == [("u", "a", 1.0, 0), ("u", "c", 2.0, 2)]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (",a,1", ("'user_id'", "empty user id")),
        ("u, ,1", ("'item_id'", "' '", "empty item id")),
        ("u,a,yesterday", ("'timestamp'", "'yesterday'", "number")),
        ("u,a,", ("'timestamp'", "''", "number")),
        ("u,a,nan", ("'timestamp'", "'nan'", "number")),
        ("u,a,inf", ("'timestamp'", "'inf'", "number")),
        ("u,a,1e999", ("'timestamp'", "'1e999'", "number")),
        ("u,a", ("2 fields instead of 3", "'u,a'")),
        ("u,a,1,x", ("4 fields instead of 3",)),
    ],
)
def test_bad_rows_name_file_row_column_value_and_remedy(tmp_path, line, parts):
    path = write(tmp_path / "log.csv", HEADER + f"u,b, 1\n\n{line}\nu,c,+2.\n")
    message = error_of(read, path)
    assert "Data row 2 of" in message
    for part in (path, "--max_bad_rows", *parts):
        assert part in message
    source = open_events(path)
    table = pa.Table.from_batches(source.read_batches(max_bad_rows=1))
    assert table["item_id"].to_pylist() == ["b", "c"]
    assert table["timestamp"].to_pylist() == [1.0, 2.0]
    assert table["row"].to_pylist() == [0, 2]
    assert source.bad_rows.total == 1
    ((_, bad),) = source.bad_rows.by_reason.items()
    assert (bad.count, bad.file, bad.row) == (1, path, 2)


def test_unknown_split_value(tmp_path):
    path = write(tmp_path / "log.csv", "user_id,item_id,timestamp,split\nu,a,1,train\nu,b,2,dev\n")
    message = error_of(read, path)
    for part in ("Data row 2", "'split'", "'dev'", "train, valid, test, context"):
        assert part in message


def test_bad_rows_are_counted_once_each_by_reason(tmp_path):
    lines = ["u,a,1", ",,x", "u,,2", "u", "u,b,x", "u,c,y", "u,d,3"]
    path = write(tmp_path / "log.csv", HEADER + "\n".join(lines))
    source = open_events(path)
    (batch,) = source.read_batches(max_bad_rows=5)
    assert batch["row"].to_pylist() == [0, 6]
    counts = {
        reason: (bad["count"], bad["row"]) for reason, bad in source.bad_rows.to_dict().items()
    }
    assert counts == {
        "1 field instead of 3": (1, 4),
        "an empty user id": (1, 2),
        "an empty item id": (1, 3),
        "a timestamp must be a number or an ISO 8601 time, as the first of its file "
        "(--timestamp_format names another form)": (2, 5),
    }
    message = error_of(read, path, max_bad_rows=4)
    assert "More than 4 bad rows" in message
    assert "data row 2" in message


def test_item_ids_that_cannot_be_exported_are_bad_rows(tmp_path):
    rows = 'u,a,1\nu,"b\nc",2\nu,"d\re",3\nu,f\0,4\nu,g\0h,5\n"u\nv",i,6\n'
    path = write(tmp_path / "log.csv", HEADER + rows)
    message = error_of(read, path)
    assert "Data row 2" in message
    assert "a line break" in message

    source = open_events(path)
    (batch,) = source.read_batches(max_bad_rows=3)
    assert batch["item_id"].to_pylist() == ["a", "g\0h", "i"]
    assert batch["user_id"].to_pylist() == ["u", "u", "u\nv"]


def test_rows_keep_their_numbers_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 256)
    rng = np.random.default_rng(0)
    expected, bad, lines = [], 0, []
    for row in range(500):
        form = rng.integers(5)
        if form == 0:
            lines.append(f"u{row}")
        elif form == 1:
            lines.append(f"u{row},a,x")
        else:
            lines.append(f"u{row},a,{row}")
            expected.append((f"u{row}", "a", float(row), row))
        bad += form < 2
    path = write(tmp_path / "log.csv.gz", HEADER + "\n".join(lines))
    assert read(path, max_bad_rows=bad) == expected
    assert f"More than {bad - 1} bad rows" in error_of(read, path, max_bad_rows=bad - 1)


def test_parquet_is_read_in_small_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "_BATCH_ROWS", 7)
    rows = [(f"u{row}", "a", float(row)) for row in range(50)]
    path = write_parquet(tmp_path / "log.parquet", rows)
    assert max(batch.num_rows for batch in open_events(path).read_batches()) <= 7
    assert read(path) == [(*row, number) for number, row in enumerate(rows)]


def test_missing_and_unknown_files(tmp_path):
    missing = str(tmp_path / "nothing.csv")
    assert "does not exist" in error_of(open_events, missing)
    assert "does not exist" in error_of(open_events, str(tmp_path / "*.parquet"))
    assert "holds no table" in error_of(open_events, str(tmp_path))
    assert "must end with" in error_of(open_events, write(tmp_path / "log.xlsx", "x"))
    assert "No log is named" in error_of(open_events, "")


def test_missing_column_names_the_columns_found(tmp_path):
    path = write(tmp_path / "log.csv", "user_id,movie_id,timestamp\nu,a,1\n")
    message = error_of(open_events, path)
    for part in (path, "'item_id'", "'user_id', 'movie_id', 'timestamp'", "--item_column"):
        assert part in message
    path = write(tmp_path / "twice.csv", "user_id,item_id,item_id,timestamp\nu,a,b,1\n")
    assert "repeats" in error_of(open_events, path)
    path = write_parquet(tmp_path / "log.parquet", [("u", "a")])
    assert "'timestamp'" in error_of(open_events, path)


def test_files_must_agree_on_the_split_column(tmp_path):
    write(tmp_path / "1.csv", HEADER + "u,a,1\n")
    write(tmp_path / "2.csv", "user_id,item_id,timestamp,split\nu,a,1,train\n")
    assert "Only some files" in error_of(open_events, str(tmp_path))


def test_empty_logs(tmp_path):
    assert "is empty" in error_of(open_events, write(tmp_path / "log.csv", ""))
    path = write(tmp_path / "header.csv", HEADER)
    assert "has no events" in error_of(read, path)
    assert "has no events" in error_of(read, write(tmp_path / "header.csv.gz", HEADER))
    path = write(tmp_path / "bad.csv", HEADER + ",a,1\n")
    assert "has no events besides 1 bad rows" in error_of(read, path, max_bad_rows=3)
    pq.write_table(
        pa.table({name: pa.array([], pa.string()) for name in HEADER.strip().split(",")}),
        tmp_path / "empty.parquet",
    )
    assert "has no events" in error_of(read, str(tmp_path / "empty.parquet"))


def test_damaged_files(tmp_path):
    whole = gzip.compress((HEADER + "".join(f"u{i},a,{i * 7}\n" for i in range(5000))).encode())
    path = tmp_path / "log.csv.gz"
    path.write_bytes(HEADER.encode())
    assert "is not gzip" in error_of(open_events, str(path))
    path.write_bytes(whole[:-20])
    assert "cut off" in error_of(read, str(path))
    path.write_bytes(whole[:12])
    assert "cut off" in error_of(open_events, str(path))
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" * 50 + whole[len(whole) // 2 :])
    assert "damaged gzip" in error_of(read, str(path))
    path = tmp_path / "log.csv"
    path.write_bytes(whole)
    assert "Name it log.csv.gz" in error_of(open_events, str(path))
    path.write_bytes(HEADER.encode() + b"u\xe9,a,1\n")
    assert "UTF-8" in error_of(read, str(path))
    path = tmp_path / "log.parquet"
    path.write_bytes(b"PAR1 but nothing else")
    assert "not a whole Parquet file" in error_of(open_events, str(path))


def test_damage_inside_a_parquet_file(tmp_path):
    path = tmp_path / "log.parquet"
    write_parquet(path, [(f"u{i}", f"i{i * 31}", float(i)) for i in range(2000)])
    data = bytearray(path.read_bytes())
    data[100:400] = b"\xff" * 300
    path.write_bytes(bytes(data))
    assert "not a whole Parquet file" in error_of(read, str(path))


def test_a_folder_named_like_a_file_and_a_file_that_vanishes(tmp_path):
    path = write(tmp_path / "log.csv", HEADER + "u,a,1\n")
    source = open_events(path)
    (tmp_path / "log.csv").unlink()
    assert "No such file" in error_of(lambda: list(source.read_batches()))
    assert "No such file" in error_of(source.fingerprint)
    (tmp_path / "folder.csv").mkdir()
    assert "holds no table" in error_of(open_events, str(tmp_path / "folder.csv"))


def test_fingerprint_follows_content_and_columns_not_the_place(tmp_path):
    first = open_events(write(tmp_path / "1.csv", HEADER + "u,a,1\n")).fingerprint()
    moved = open_events(write(tmp_path / "2.csv", HEADER + "u,a,1\n")).fingerprint()
    other = open_events(write(tmp_path / "1.csv", HEADER + "u,a,2\n")).fingerprint()
    columns = EventColumns(user_id="item_id", item_id="user_id")
    swapped = open_events(str(tmp_path / "2.csv"), columns).fingerprint()
    assert first == moved
    assert len({first, other, swapped}) == 3
    assert len(first) == 64


def test_a_source_reads_again_and_travels_to_workers(tmp_path):
    source = open_events(write(tmp_path / "log.csv", HEADER + "u1,a,10\nu1,b,11.5\nu2,a,3\n"))
    copy = pickle.loads(pickle.dumps(source))
    assert list(source.read_batches()) == list(source.read_batches()) == list(copy.read_batches())
    assert source.items() is None


def test_one_column_may_serve_twice(tmp_path):
    path = write(tmp_path / "log.csv", "user_id,item_id\n1,5\n")
    assert read(path, columns=EventColumns(timestamp="item_id")) == [("1", "5", 5.0, 0)]


def test_the_columns_of_events():
    assert EVENT_SCHEMA.names == ["user_id", "item_id", "timestamp", "row"]
