"""Features of events and requests: whole runs of ingest, by hand, and what batches make of them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipelines.artifacts import records
from pipelines.artifacts.held_out import read_held_out
from pipelines.ingestion import ingest
from pipelines.ingestion.events import event_features
from pipelines.ingestion.open_log import open_events
from pipelines.sources.event_columns import EventColumns
from pipelines.sources.users import UsersFile
from pipelines.training.input_pipeline import read_training_data
from pipelines.training.packed_input import PackedExamples
from pipelines.training.training_examples import check_features
from recall import features
from recall.config import RecallConfig
from recall.errors import InputError

HOUR = 3600
T0 = 1_704_412_800  # 2024-01-05 00:00 UTC, a Friday.
ROWS = [
    # user, item, hours after T0, device, price
    ("u1", "a", 1, "tv", "1"),
    ("u1", "b", 2, " phone ", ""),
    ("u1", "c", 30, "", "3"),
    ("u1", "d", 31, "tv", "5"),
    ("u1", "e", 32, "watch", "7"),
    ("u2", "b", 5, "phone", "3"),
    ("u2", "a", 6, "tv", "1"),
    ("u2", "c", 7, "tv", "2"),
    ("u2", "d", 8, "phone", "9"),
]
COLUMNS = [
    {"name": "device", "owner": "event", "kind": "categorical"},
    {"name": "paid", "owner": "event", "kind": "numeric", "column": "price"},
    {"name": "when", "owner": "event", "kind": "timestamp"},
    {"name": "screen", "owner": "request", "kind": "categorical", "column": "device"},
    {"name": "asked", "owner": "request", "kind": "timestamp", "parts": ["hour"]},
]
HEADER = "user_id,item_id,timestamp,device,price"


def configure(columns=COLUMNS, *settings):
    return RecallConfig().override(
        [
            "ingest.num_shards=2",
            "train.max_epochs=1",
            "train.jit_compile=false",
            f"features.columns={json.dumps(columns)}",
            *settings,
        ]
    )


def write_log(folder, rows=ROWS):
    lines = [",".join([u, i, str(T0 + HOUR * hours), *more]) for u, i, hours, *more in rows]
    (folder / "log.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return open_events(str(folder / "log.csv"))


def run(folder, columns=COLUMNS, source=None, settings=()):
    source = source or write_log(folder)
    config = configure(columns, *settings)
    report = ingest.run_ingest(source, None, folder / "examples", config)
    return folder / "examples", config, report


def read(examples_dir, split, by):
    """Examples by their raw ids, without ids and what other tests look at."""
    item_ids = ["", "", *records.read_vocabulary(examples_dir).item_ids]
    found = {}
    for path in sorted((examples_dir / f"Split-{split}").glob("*.gz")):
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            values = {}
            for name, feature in tf.train.Example.FromString(record).features.feature.items():
                values[name] = list(getattr(feature, feature.WhichOneof("kind")).value)
            key = "".join(item_ids[value] for value in values[by])
            found[key] = {n: v for n, v in values.items() if "value:" in n}
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Examples of the log with all columns, their settings and the report; not to be changed."""
    return run(tmp_path_factory.mktemp("made"))


def test_examples_by_hand(made):
    examples_dir, _, report = made
    # Held out: of u1 d (valid) and e (test), of u2 c and d. Learnt: of u1 abc, of u2 ba. There
    # tv and phone occur twice, and nothing else; a name on one event is no vocabulary.
    device, paid, when, screen, asked = records.read_vocabulary(examples_dir).log_columns
    assert device.values == screen.values == ("phone", "tv")
    assert (paid.mean, paid.stddev) == pytest.approx((2.0, 1.0))  # Of 1, 3; 3, 1.
    assert when.num_rows == 33 + 24 + 7
    assert asked.num_rows == 24
    windows = read(examples_dir, "train", "item_ids")
    # Numbers: none 0, outside 1, phone 2, tv 3.
    nan = pytest.approx(np.nan, nan_ok=True)
    assert windows == {
        "abc": {
            "event_value:device": [3, 2, 0],
            "event_value:screen": [3, 2, 0],
            "event_value:paid": [1, nan, 3],
        },
        "ba": {
            "event_value:device": [2, 3],
            "event_value:screen": [2, 3],
            "event_value:paid": [3, 1],
        },
    }
    assert read(examples_dir, "test", "history") == {
        "abcd": {
            "history_value:device": [3, 2, 0, 3],
            "history_value:paid": [1, nan, 3, 5],
            "positive_value:device": [1],  # A watch: outside of the vocabulary.
            "positive_value:paid": [7],
            "request_value:screen": [1],
        },
        "bac": {
            "history_value:device": [2, 3, 3],
            "history_value:paid": [3, 1, 2],
            "positive_value:device": [2],
            "positive_value:paid": [9],
            "request_value:screen": [2],
        },
    }
    found = json.loads((examples_dir / "statistics.json").read_text())["event_columns"]
    assert found["features"]["device"] == {
        "owner": "event",
        "kind": "categorical",
        "num_missing": 1,
        "num_values": 4,
        "num_unknown": 0,
    }
    assert found["times"]
    assert report["kept"]["events"] == 9


def test_batches_have_clicks_before_and_requests_after_the_slot(made):
    examples_dir, config, _ = made
    batches = list(read_training_data(examples_dir, config).dataset)
    by_length = {batch.history_ids.shape[1]: batch.columns for batch in batches}
    columns = {name: values.numpy()[0] for name, values in by_length[2].items()}
    # Rows of events: none 0; device: outside 1, phone 2, tv 3; gaps 4 - 36, of 1 h (4096 s are
    # 13 bits, 3600 s are 12) 4 + 13; hours 37 - 60; weekdays 61 - 67, Friday the fifth.
    click_a, click_b, click_c = [3, 0, 38, 65], [2, 17, 39, 65], [0, 4 + 18, 37 + 6, 66]
    assert columns["event_slots"].tolist() == [click_a, click_b, click_c]
    np.testing.assert_allclose(columns["event_numbers"], [[-1, 0], [0, 1], [1, 0]], atol=1e-6)
    # Of requests: screen 1 - 3, hours 4 - 27: of the clicks on b and c.
    assert columns["request_slots"].tolist() == [[2, 4 + 2], [0, 4 + 6]]
    assert columns["request_numbers"].shape == (2, 0)


def test_packed_batches_have_the_same(made):
    examples_dir, config, _ = made
    packed = config.override(["train.batch_slots=64"])
    (batch,) = PackedExamples(examples_dir, packed).stream(0).dataset.take(1)
    history_ids = batch.history_ids.numpy().ravel()
    for padded in read_training_data(examples_dir, config).dataset:
        (place,) = np.flatnonzero(
            (history_ids == padded.history_ids[0, 0])
            & (batch.positive_ids.numpy().ravel() == padded.positive_ids[0, 0])
        )
        length = padded.history_ids.shape[1]
        for name, values in padded.columns.items():
            flat = batch.columns[name].numpy().reshape(len(history_ids), -1)
            of_slots = values.numpy()[0, :length]  # Of events those that are clicks of slots.
            np.testing.assert_array_equal(flat[place : place + length], of_slots)
            if name.startswith("event"):
                futures = batch.columns[name.replace("event", "future")].numpy()
                found = futures.reshape(len(history_ids), -1)[place : place + length]
                np.testing.assert_array_equal(found, values.numpy()[0, :0:-1])


def test_held_out_users_have_their_values(made):
    examples_dir, _, _ = made
    held_out = read_held_out(examples_dir, "test")
    row = held_out.user_ids.tolist().index(b"u2")
    padded = held_out.take([row]).histories.last_padded(2)
    item_ids = ["", "", *records.read_vocabulary(examples_dir).item_ids]
    assert [item_ids[item] for item in padded[0, :, 0]] == ["a", "c"]
    # Of a and c: tv, an hour after the click before, at 6 and at 7 on a Friday.
    assert padded[0, :, 4:8].tolist() == [[3, 17, 43, 65], [3, 17, 44, 65]]
    numbers = padded[0, :, 8:10].astype(np.int32).view(np.float32)
    np.testing.assert_allclose(numbers, [[-1, 0], [0, 0]], atol=1e-6)
    # The request: on the phone, at 8.
    assert padded[0, :, 10:].tolist() == [[2, 4 + 8]] * 2


def test_the_slot_before_the_first_click_has_no_values(tmp_path):
    (tmp_path / "users.csv").write_text("user_id,country\nu1,NL\nu2,NL\n")
    source = write_log(tmp_path)
    source.users_file = UsersFile(str(tmp_path / "users.csv"))
    columns = [*COLUMNS[:2], {"name": "country", "owner": "user", "kind": "categorical"}]
    examples_dir, _, _ = run(tmp_path, columns, source)
    windows = read(examples_dir, "train", "item_ids")
    assert windows["ba"]["event_value:device"] == [0, 2, 3]
    assert windows["ba"]["event_value:paid"][1:] == [3, 1]
    assert np.isnan(windows["ba"]["event_value:paid"][0])


def test_a_parquet_file_of_many_parts_says_the_same(made, tmp_path):
    examples_dir, _, _ = made
    names = HEADER.split(",")
    rows = [(u, i, T0 + HOUR * h, d.strip() or None, float(p or "nan")) for u, i, h, d, p in ROWS]
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    (tmp_path / "parquet").mkdir()
    for part in range(3):
        pq.write_table(table.slice(3 * part, 3), tmp_path / "parquet" / f"{part}.parquet")
    again, _, _ = run(tmp_path, source=open_events(str(tmp_path / "parquet")))
    nan = pytest.approx(np.nan, nan_ok=True)
    for split, by in (("train", "item_ids"), ("test", "history")):
        wanted = read(examples_dir, split, by)
        found = read(again, split, by)
        for key, values in wanted.items():
            for name, listed in values.items():
                assert found[key][name] == [nan if v != v else v for v in listed]


def test_the_schema_tells_of_them(made):
    examples_dir, _, _ = made
    schema = text_format.Parse((examples_dir / "schema.pbtxt").read_text(), schema_pb2.Schema())
    kinds = {feature.name: feature.type for feature in schema.feature if "value:" in feature.name}
    number, name = schema_pb2.FLOAT, schema_pb2.INT
    assert kinds == {
        "event_value:device": name,
        "history_value:device": name,
        "event_value:paid": number,
        "history_value:paid": number,
        "positive_value:device": name,
        "positive_value:paid": number,
        "event_value:screen": name,
        "request_value:screen": name,
    }


def test_names_of_features_are_those_of_the_reader():
    assert event_features._EVENT_VALUES == features.EVENT_VALUES
    assert event_features._HISTORY_VALUES == features.HISTORY_VALUES
    assert event_features._POSITIVE_VALUES == features.POSITIVE_VALUES
    assert event_features._REQUEST_VALUES == features.REQUEST_VALUES


def test_what_is_rare_is_told(tmp_path):
    rows = [(u, i, h, f"d{n}", p) for n, (u, i, h, _, p) in enumerate(ROWS)]
    _, _, report = run(tmp_path, COLUMNS[:1], write_log(tmp_path, rows))
    (line,) = [line for line in report["lines"] if "'device'" in line]
    assert line == (
        "Warning: 100.0% of the values of the event feature 'device' are outside of the "
        "vocabulary (limit features.max_unknown_share = 0.05): they are rare. Nothing is learnt "
        "of them."
    )


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (
            [{"name": "x", "owner": "event", "kind": "categorical"}],
            "lacks the column 'x'; its columns are: .*`column` in `features.columns` says",
        ),
        (
            [{"name": "x", "owner": "request", "kind": "numeric", "column": "device"}],
            "Data row 1 of .*log.csv: column 'device' of the numeric feature 'x' holds 'tv', which",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, columns, text):
    with pytest.raises(InputError, match=text):
        run(tmp_path, columns)
    assert not (tmp_path / "examples").exists()


def test_logs_without_columns_or_times(tmp_path):
    with pytest.raises(InputError, match=r"has no column 'device' for the feature 'device' of own"):
        run(tmp_path, COLUMNS[:1], open_events("synthetic:users=20"))
    write_log(tmp_path)
    source = open_events(str(tmp_path / "log.csv"), EventColumns(timestamp="none"))
    with pytest.raises(InputError, match=r"has no times, which the feature 'when' needs"):
        run(tmp_path, [COLUMNS[2]], source)
    (tmp_path / "counted.csv").write_text(
        "user_id,item_id,timestamp\n" + "".join(f"u{n % 2},i{n},{n}\n" for n in range(9))
    )
    with pytest.raises(InputError, match=r"has no times, which features of kind timestamp need"):
        run(tmp_path, [COLUMNS[2]], open_events(str(tmp_path / "counted.csv")))


def test_other_settings_than_those_of_the_examples_are_refused(made):
    examples_dir, config, _ = made
    vocabulary = records.read_vocabulary(examples_dir)
    check_features(config, vocabulary, examples_dir)
    with pytest.raises(InputError, match=r"other features of events and requests \(device, paid,"):
        check_features(configure(COLUMNS[:1]), vocabulary, examples_dir)
