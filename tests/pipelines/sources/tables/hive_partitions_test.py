"""Columns in the names of folders."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns.where import parse_conditions
from pipelines.sources.tables.hive_partitions import read_partitions, root_of
from recall.errors import InputError

HEADER = "item_id,timestamp\n"


def rows_of(source):
    return [row for batch in source.read_batches() for row in batch.to_pylist()]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_values_are_text(tmp_path):
    write(tmp_path / "log/user_id=007/split=train/a.csv", HEADER + "a,1\nb,2\n")
    write(tmp_path / "log/user_id=7/split=test/a.csv", HEADER + "a,3\n")
    write(tmp_path / "log/user_id=a%20b%2Fc/split=valid/a.csv", HEADER + "c,4\n")
    write(tmp_path / "log/_temporary/split=valid/a.csv", HEADER + "c,4\n")
    expected = [
        {"user_id": "007", "item_id": "a", "timestamp": 1.0, "row": 0, "split": "train"},
        {"user_id": "007", "item_id": "b", "timestamp": 2.0, "row": 1, "split": "train"},
        {"user_id": "7", "item_id": "a", "timestamp": 3.0, "row": 2, "split": "test"},
        {"user_id": "a b/c", "item_id": "c", "timestamp": 4.0, "row": 3, "split": "valid"},
    ]
    assert rows_of(open_events(str(tmp_path / "log"))) == expected
    assert rows_of(open_events(str(tmp_path / "log/user_id=*/**/*.csv"))) == expected


def test_parquet_with_a_null_a_date_and_a_column_that_is_there_twice(tmp_path):
    table = pa.table({"user_id": [1, 2], "item_id": ["a", "b"]})
    for day in ("2024-01-02", "2024-01-01"):
        folder = tmp_path / f"log/timestamp={day}/item_id=from_the_folder"
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "0.parquet")
    rows = rows_of(open_events(str(tmp_path / "log")))
    assert [(r["user_id"], r["item_id"], r["timestamp"]) for r in rows] == [
        ("1", "a", 1704067200.0),
        ("2", "b", 1704067200.0),
        ("1", "a", 1704153600.0),
        ("2", "b", 1704153600.0),
    ]
    write(tmp_path / "nulls/user_id=__HIVE_DEFAULT_PARTITION__/a.csv", HEADER + "a,1\n")
    with pytest.raises(InputError, match=r"column 'user_id' holds '': an empty user id"):
        rows_of(open_events(str(tmp_path / "nulls")))


def test_only_folders_below_the_one_named_count(tmp_path):
    path = tmp_path / "split=7/log.csv.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b"user_id,item_id,timestamp\nu,a,1\n"))
    for spec in (path, path.parent, path.parent / "*.gz"):
        assert not open_events(str(spec)).has_split
    assert open_events(str(tmp_path)).has_split
    assert read_partitions(path, root_of(str(tmp_path))) == {"split": "7"}
    conditions = parse_conditions(["split=8"])
    with pytest.raises(InputError, match="--where leaves out 1 rows"):
        rows_of(open_events(str(tmp_path), where=conditions))


def test_folders_are_part_of_what_a_log_is(tmp_path):
    write(tmp_path / "1/user_id=a/x.csv", HEADER + "a,1\n")
    write(tmp_path / "2/user_id=b/x.csv", HEADER + "a,1\n")
    one, two = (open_events(str(tmp_path / name)).fingerprint() for name in "12")
    assert one != two


def test_files_of_one_log_with_different_folders(tmp_path):
    write(tmp_path / "log/user_id=a/x.csv", HEADER + "a,1\n")
    write(tmp_path / "log/x.csv", HEADER + "a,1\n")
    with pytest.raises(InputError, match=r"lacks the column 'user_id'; its columns are: 'item_id'"):
        open_events(str(tmp_path / "log"))
