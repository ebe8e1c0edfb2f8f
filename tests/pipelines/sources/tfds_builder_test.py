"""The TFDS dataset of an interaction log: built for real, read back by both doors."""

import pickle

import pyarrow as pa
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources import tfds_builder
from pipelines.sources.events import EventColumns
from recall.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")

ROWS = [
    ("u2", "b", 1_712_607_149.25, "train"),  # float32 would round by a minute
    ("u1", "a", 1_712_607_150.0, "train"),
    ("ü", "a", 1_712_607_151.5, "test"),
    ("u2", "c", 1_712_607_151.5, "context"),
]


def build(folder, config, manual_dir=None):
    builder = tfds_builder.InteractionLog(config=config, data_dir=folder)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return builder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder with the dataset that was built from a small log with splits."""
    root = tmp_path_factory.mktemp("tfds")
    manual_dir = root / "manual"
    manual_dir.mkdir()
    lines = [",".join(map(str, row)) for row in ROWS]
    text = "user_id,item_id,timestamp,split\n" + "\n".join(lines) + "\n"
    (manual_dir / "events.csv").write_text(text, encoding="utf-8")
    build(root, "log_with_split", manual_dir)
    return root


def read(source):
    table = pa.Table.from_batches(source.read_batches())
    names = ["user_id", "item_id", "timestamp", "split"][: 4 if source.has_split else 3]
    assert table["row"].to_pylist() == list(range(table.num_rows))
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_tfds_gives_the_examples_in_order(folder):
    dataset = tfds.load("interaction_log/log_with_split", split="train", data_dir=folder)
    examples = [
        (x["user_id"].decode(), x["item_id"].decode(), float(x["timestamp"]), x["split"].decode())
        for x in tfds.as_numpy(dataset)
    ]
    assert examples == ROWS


def test_the_source_gives_the_same(folder):
    source = open_events("tfds:interaction_log/log_with_split", data_dir=str(folder))
    assert source.has_split
    assert read(source) == ROWS
    assert read(source) == ROWS
    assert read(pickle.loads(pickle.dumps(source))) == ROWS
    assert source.items() is None
    without = open_events(
        "tfds:interaction_log/log_with_split", EventColumns(split=""), data_dir=str(folder)
    )
    assert read(without) == [row[:3] for row in ROWS]
    assert source.fingerprint() == pickle.loads(pickle.dumps(source)).fingerprint()
    assert source.fingerprint() != without.fingerprint()


def test_without_a_time_the_order_is_that_on_disk(folder):
    columns = EventColumns(timestamp="none")
    source = open_events("tfds:interaction_log/log_with_split", columns, data_dir=str(folder))
    expected = [(user, item, float(at), split) for at, (user, item, _, split) in enumerate(ROWS)]
    assert read(source) == expected


def test_parts_of_splits_and_versions(folder):
    def rows_of(suffix):
        spec = f"tfds:interaction_log/log_with_split{suffix}"
        return read(open_events(spec, data_dir=str(folder)))

    assert rows_of(":train[:2]") == ROWS[:2]
    assert rows_of(":1.0.0") == ROWS
    assert rows_of(":1.0.0:train[50%:]") == ROWS[2:]
    assert rows_of(":train[3:]+train[:1]") == [ROWS[3], ROWS[0]]


def test_refused_specs(folder):
    def error_of(spec, **columns):
        with pytest.raises(InputError) as info:
            open_events(spec, EventColumns(**columns), data_dir=str(folder))
        assert "\n" not in str(info.value)
        return str(info.value)

    name = "tfds:interaction_log/log_with_split"
    assert "its splits are: train" in error_of(f"{name}:validation")
    assert "only: 1.0.0" in error_of(f"{name}:7.0.0")
    assert "tfds build interaction_log/log`" in error_of("tfds:interaction_log/log")
    assert "'other'" in error_of(name, timestamp="other")
    assert "'fold'" in error_of(name, split="fold")


def test_a_log_from_a_path_with_its_own_columns(tmp_path):
    (tmp_path / "log.csv").write_text("who,what,when\nu,a,5\n,b,6\nu,c,7\n")
    config = tfds_builder.InteractionLogConfig(
        name="mine",
        path=str(tmp_path / "log.csv"),
        columns=EventColumns("who", "what", "when"),
        max_bad_rows=1,
    )
    build(tmp_path / "data", config)
    source = open_events("tfds:interaction_log/mine", data_dir=str(tmp_path / "data"))
    assert not source.has_split
    assert read(source) == [("u", "a", 5.0), ("u", "c", 7.0)]


def test_logs_that_cannot_be_built(tmp_path):
    manual_dir = tmp_path / "manual"
    manual_dir.mkdir()
    (manual_dir / "log.csv").write_text("")
    with pytest.raises(InputError, match="found: none"):
        build(tmp_path, "log", manual_dir)
    (manual_dir / "events.csv").write_text("user_id,item_id,timestamp\nu,a,5\n")
    with pytest.raises(InputError, match="has no column 'split'"):
        build(tmp_path, "log_with_split", manual_dir)
    (manual_dir / "events.tsv").write_text("")
    with pytest.raises(InputError, match=r"found: events\.csv, events\.tsv"):
        build(tmp_path, "log", manual_dir)
