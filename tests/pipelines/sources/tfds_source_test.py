"""Datasets of TFDS as sources: its own MovieLens, mocked by TFDS's testing module."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns.where import parse_conditions
from pipelines.sources.events import EventColumns
from pipelines.sources.tfds_source import DatasetName
from recall.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")


def fake_ratings(self, *args, **kwargs):
    """Two users' ratings as `DatasetBuilder._as_dataset` gives them."""
    import tensorflow as tf

    del self, args, kwargs
    columns = {
        "user_id": ["138", "138", "7"],
        "movie_id": ["50", "1", "50"],
        "timestamp": np.array([881250949, 881250950, 2**33 + 1]),
    }
    return tf.data.Dataset.from_tensor_slices(columns)


def test_movielens_through_mocked_data(tmp_path):
    with tfds.testing.mock_data(as_dataset_fn=fake_ratings):
        source = open_events("tfds:movielens/1m-ratings:train", data_dir=str(tmp_path))
        (batch,) = source.read_batches()
    assert batch.to_pydict() == {
        "user_id": ["138", "138", "7"],
        "item_id": ["50", "1", "50"],
        "timestamp": [881250949.0, 881250950.0, 8589934593.0],
        "row": [0, 1, 2],
    }
    assert not source.has_split
    assert source.columns == EventColumns(item_id="movie_id")
    assert len(source.fingerprint()) == 64


def test_where_leaves_examples_out(tmp_path):
    conditions = parse_conditions(["user_id=138,timestamp!=881250950"])
    with tfds.testing.mock_data(as_dataset_fn=fake_ratings):
        spec = "tfds:movielens/1m-ratings:train"
        source = open_events(spec, data_dir=str(tmp_path), where=conditions)
        (batch,) = source.read_batches()
        with pytest.raises(InputError, match="no scalar feature 'event'"):
            open_events(spec, data_dir=str(tmp_path), where=parse_conditions(["event=x"]))
    assert batch["item_id"].to_pylist() == ["50"]
    assert batch["row"].to_pylist() == [0]
    assert source.rows_left_out == 2


def test_random_mocked_examples_and_other_columns(tmp_path):
    columns = EventColumns(user_id="user_zip_code", item_id="movie_title")
    with tfds.testing.mock_data(num_examples=25):
        source = open_events("tfds:movielens/100k-ratings", columns, data_dir=str(tmp_path))
        table = pa.Table.from_batches(source.read_batches())
        again = pa.Table.from_batches(source.read_batches())
    assert table.num_rows == 25
    assert table.equals(again)
    assert all(table["item_id"].to_pylist())


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("tfds:movielens/1m-ratings", ("not prepared", "`tfds build movielens/1m-ratings`")),
        ("tfds:movielens/1m-ratings:train", ("not prepared", "TFDS_DATA_DIR")),
        ("tfds:movielens/nothing", ("BuilderConfig nothing not found", "tfds build")),
        (
            "tfds:no_such_dataset",
            ("'no_such_dataset' with the data folder", "not found", "tfds build"),
        ),
        (
            "tfds:mnist",
            ("no scalar feature 'user_id'", "scalar features are: label", "--user_column"),
        ),
        ("tfds:", ("tfds:movielens/1m-ratings:train",)),
        ("tfds:a b", ("tfds:name/config",)),
    ],
)
def test_datasets_that_cannot_be_read(tmp_path, spec, parts):
    with pytest.raises(InputError) as info:
        open_events(spec, data_dir=str(tmp_path))
    assert "\n" not in str(info.value)
    assert spec in str(info.value) or "knows no" in str(info.value)
    for part in parts:
        assert part in str(info.value)


@pytest.mark.parametrize(
    ("spec", "name", "split"),
    [
        ("tfds:mnist", "mnist", None),
        ("tfds:movielens/1m-ratings", "movielens/1m-ratings", None),
        ("tfds:movielens/1m-ratings:train", "movielens/1m-ratings", "train"),
        ("tfds:mnist:3.0.1", "mnist:3.0.1", None),
        ("tfds:mnist:3.0.1:train+test[:5%]", "mnist:3.0.1", "train+test[:5%]"),
        ("tfds:mnist:*:test", "mnist:*", "test"),
    ],
)
def test_parts_of_a_spec(spec, name, split):
    assert DatasetName.parse(spec) == DatasetName(name, split)
