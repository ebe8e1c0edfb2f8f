"""Events through `tf.Example`s and back: nothing about them changes."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.event_columns import NO_TIME, EventColumns
from pipelines.tfx import event_examples
from recall.errors import InputError

# Ids that are no numbers, though they look it; equal times, whose order is that of the rows.
LOG = """user_id,item_id,timestamp
007,x,1700000000.25
7,"a,b",1700000000.25
7,é,1600000000
7,1e3,1600000000
"""
EXPECTED = {
    "user_id": ["007", "7", "7", "7"],
    "item_id": ["x", "a,b", "é", "1e3"],
    "timestamp": [1700000000250000, 1700000000250000, 1600000000000000, 1600000000000000],
}


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG, encoding="utf-8")
    return path


def there_and_back(source, folder, max_bad_rows=0):
    number = event_examples.write_events(source, folder / "Split-log", max_bad_rows)
    schema = event_examples.events_to_parquet(folder / "Split-log", folder / "events.parquet")
    table = pq.read_table(folder / "events.parquet")
    assert (table.num_rows, table.schema.names) == (number, schema.names)
    return table.to_pydict()


def test_ids_times_and_order_stay(log, tmp_path):
    assert there_and_back(open_events(str(log)), tmp_path) == EXPECTED


def test_a_parquet_log_is_the_same(tmp_path):
    times = pa.array([t * 1000 for t in EXPECTED["timestamp"]], pa.timestamp("ns"))
    pq.write_table(pa.table({**EXPECTED, "timestamp": times}), tmp_path / "log.parquet")
    assert there_and_back(open_events(str(tmp_path / "log.parquet")), tmp_path) == EXPECTED


def test_a_file_is_what_tfx_reads(log, tmp_path):
    """Gzipped TFRecords of `tf.Example`, by TensorFlow's own parser."""
    event_examples.write_events(open_events(str(log)), tmp_path / "Split-log")
    (file,) = (tmp_path / "Split-log").iterdir()
    with gzip.open(file) as stream:
        stream.read()
    (first, *_) = tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator()
    features = tf.train.Example.FromString(first).features.feature
    assert set(features) == {"user_id", "item_id", "timestamp"}
    assert features["user_id"].bytes_list.value == [b"007"]
    assert features["timestamp"].int64_list.value == [1700000000250000]


def test_several_files_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(event_examples, "_FILE_EVENTS", 3)
    monkeypatch.setattr(event_examples, "_READ_EVENTS", 2)
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\n" + "".join(f"u,{i},5\n" for i in range(8)))
    found = there_and_back(open_events(str(log)), tmp_path)
    assert found["item_id"] == [str(i) for i in range(8)]
    assert len(list((tmp_path / "Split-log").iterdir())) == 3


def test_a_log_without_times_has_no_such_column(log, tmp_path):
    source = open_events(str(log), EventColumns(timestamp=NO_TIME))
    assert set(there_and_back(source, tmp_path)) == {"user_id", "item_id"}


def test_a_split_column_comes_along(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp,split\nu,a,1,train\nu,b,2,test\n")
    assert there_and_back(open_events(str(log)), tmp_path)["split"] == ["train", "test"]


def test_bad_rows_are_those_of_the_log(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\nu,,1\nu,b,2\n")
    assert there_and_back(open_events(str(log)), tmp_path, max_bad_rows=1)["item_id"] == ["b"]
    with pytest.raises(InputError, match="empty item id"):
        event_examples.write_events(open_events(str(log)), tmp_path / "other")


def test_times_that_do_not_fit_are_refused(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\nu,a,1700000000000000000\n")
    source = open_events(str(log), options=ReadOptions(timestamp_unit="none"))
    with pytest.raises(InputError, match=r"1.7e\+18 s, which is none.*--timestamp_unit"):
        event_examples.write_events(source, tmp_path / "Split-log")


def test_no_events_are_told_of(tmp_path):
    with pytest.raises(InputError, match="holds no events"):
        event_examples.events_to_parquet(tmp_path, tmp_path / "events.parquet")
