"""Logs with kinds of events, weights and impressions: whole runs of ingest, by hand."""

import json

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipelines.artifacts import records
from pipelines.artifacts.event_columns import ColumnsFound
from pipelines.artifacts.held_out import read_held_out
from pipelines.ingestion import ingest, reading
from pipelines.ingestion.open_log import open_events
from pipelines.sources.event_columns import EventColumns
from pipelines.training.example_columns import choose_columns
from recall import features
from recall.config import RecallConfig
from recall.errors import InputError

ROWS = [
    # user, item, time, kind, weight
    ("u1", "a", 1, "view", 1),
    ("u1", "x", 2, "impression", 1),
    ("u1", "c", 2, "impression", 1),  # She views c: it is no negative.
    ("u1", "b", 3, "view", 0.5),
    ("u1", "b", 3, "cart", 2),  # At the same time, but of another kind.
    ("u1", "c", 4, "view", 1),
    ("u1", "d", 5, "cart", 1),
    ("u1", "a", 6, "impression", 1),  # Before a held-out event.
    ("u1", "e", 7, "buy", 4),
    ("u2", "x", 1, "view", 1),
    ("u2", "e", 1, "impression", 1),
    ("u2", "q", 1, "impression", 1),  # Nobody clicks q: it is not in the catalogue.
    ("u2", "b", 2, "view", 3),
    ("u2", "d", 3, "buy", 1),
    ("u2", "a", 4, "view", 1),
    ("u2", "b", 9, "impression", 1),  # Nothing follows.
    ("u3", "a", 1, "impression", 1),
]
HEADER = "user_id,item_id,timestamp,event,weight"
COLUMNS = EventColumns(event_type="event", weight="weight")


def open_log(tmp_path, rows=None, columns=COLUMNS):
    path = tmp_path / "log.csv"
    lines = [HEADER, *(",".join(map(str, row)) for row in rows or ROWS)]
    path.write_text("\n".join(lines) + "\n")
    return open_events(str(path), columns)


def run(tmp_path, columns=COLUMNS, settings=(), rows=None):
    config = RecallConfig().override(["ingest.num_shards=2", *settings])
    source = open_log(tmp_path, rows, columns)
    report = ingest.run_ingest(source, None, tmp_path / "examples", config, max_bad_rows=2)
    return tmp_path / "examples", report


def read(examples_dir, split):
    """Examples as dictionaries, items by their raw ids."""
    item_ids = ["", "?", *records.read_vocabulary(examples_dir).item_ids]
    found = []
    for path in sorted((examples_dir / f"Split-{split}").glob("*.gz")):
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            values = {}
            for name, feature in tf.train.Example.FromString(record).features.feature.items():
                values[name] = list(getattr(feature, feature.WhichOneof("kind")).value)
                if name in ("item_ids", "shown_ids", "history", "positives"):
                    values[name] = [item_ids[value] for value in values[name]]
            found.append(values)
    return found


def test_examples_by_hand(tmp_path):
    examples_dir, report = run(tmp_path)
    # Kinds by number: buy 1, cart 2, impression 3, view 4.
    windows = {tuple(w["item_ids"]): w for w in read(examples_dir, "train")}
    # Leave-one-out: of u1 d and e are held out, of u2 d and a.
    assert set(windows) == {("a", "b", "b", "c"), ("x", "b")}
    one, other = windows["a", "b", "b", "c"], windows["x", "b"]
    assert one["event_kinds"] == [4, 4, 2, 4]
    assert one["event_weights"] == [1.0, 0.5, 2.0, 1.0]
    assert (one["shown_counts"], one["shown_ids"]) == ([1, 0, 0], ["x"])
    assert other["event_kinds"] == [4, 4]
    assert (other["shown_counts"], other["shown_ids"]) == ([1], ["e"])
    (first, second) = sorted(read(examples_dir, "test"), key=lambda task: task["user_id"])
    assert first["history"] == ["a", "b", "b", "c", "d"]
    assert (first["positives"], first["positive_kinds"]) == (["e"], [1])
    assert (second["positives"], second["positive_kinds"]) == (["a"], [4])
    assert report["events_read"] == len(ROWS)
    assert report["kept"] == {"users": 2, "items": 6, "events": 10}
    assert "Events by kind: 2 buy, 2 cart, 7 impression, 6 view." in report["lines"]


def test_what_is_found_is_told_to_the_next_job(tmp_path):
    examples_dir, _ = run(tmp_path)
    statistics = json.loads((examples_dir / "statistics.json").read_text())
    counts = {"buy": 2, "cart": 2, "impression": 7, "view": 6}
    wanted = {"kinds": counts, "weights": True, "shown": 2, "times": False, "users": False}
    assert statistics["event_columns"] == wanted
    found = ColumnsFound.read(examples_dir)
    assert found == ColumnsFound(("buy", "cart", "impression", "view"), True, 2)
    held_out = read_held_out(examples_dir, "test")
    order = sorted(range(2), key=lambda at: held_out.user_ids[at])
    assert held_out.positive_kinds[order].tolist() == [1, 4]
    assert held_out.take([order[1]]).positive_kinds.tolist() == [4]


def test_the_schema_names_the_new_features(tmp_path):
    examples_dir, _ = run(tmp_path)
    schema = text_format.Parse(
        (examples_dir / "schema.pbtxt").read_text(), schema_pb2.Schema()
    ).feature
    by_name = {feature.name: feature for feature in schema}
    assert by_name["event_kinds"].int_domain.max == 4
    assert by_name["event_weights"].type == schema_pb2.FLOAT
    assert by_name["shown_ids"].int_domain.name == "dense_item_id"
    assert by_name["positive_kinds"].not_in_environment == ["train"]


def test_the_names_are_those_of_the_model(tmp_path):
    examples_dir, _ = run(tmp_path)
    trained = {
        features.ITEM_IDS,
        features.EVENT_KINDS,
        features.EVENT_WEIGHTS,
        features.SHOWN_COUNTS,
        features.SHOWN_IDS,
    }
    assert set(read(examples_dir, "train")[0]) == trained
    assert features.POSITIVE_KINDS in read(examples_dir, "test")[0]


def test_without_the_flag_all_events_are_alike(tmp_path):
    plain = [row for row in ROWS if row[3] != "impression"]
    examples_dir, _ = run(tmp_path, EventColumns(), rows=plain)
    assert {"item_ids"} == set(read(examples_dir, "train")[0])
    assert "event_columns" not in json.loads((examples_dir / "statistics.json").read_text())
    windows = [w["item_ids"] for w in read(examples_dir, "train")]
    assert ["a", "b", "c"] in windows  # b twice at one time is a duplicate.


def test_at_most_so_many_impressions(tmp_path):
    rows = [("u1", "a", 1, "view", 1)]
    rows += [("u1", f"x{i}", 2, "impression", 1) for i in range(9)]
    rows += [("u1", item, 3 + at, "view", 1) for at, item in enumerate("bcd")]
    rows += [("u2", f"x{i}", i, "view", 1) for i in range(9)]
    examples_dir, _ = run(tmp_path, settings=["ingest.max_impressions=4"], rows=rows)
    (window,) = [w for w in read(examples_dir, "train") if w["item_ids"][0] == "a"]
    assert window["shown_ids"] == ["x5", "x6", "x7", "x8"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("u9", "a", 1, "", 1), "an empty kind of event"),
        (("u9", "a", 1, "view", "heavy"), "a weight must be a number >= 0"),
        (("u9", "a", 1, "view", -1), "a weight must be a number >= 0"),
        (("u9", "a", 1, "view", "nan"), "a weight must be a number >= 0"),
    ],
)
def test_bad_rows_are_counted_with_their_reason(tmp_path, row, reason):
    _, report = run(tmp_path, rows=[*ROWS, row])
    assert report["dropped"]["bad_rows"]["rows"] == 1
    assert list(report["dropped"]["bad_rows"]["reasons"]) == [reason]


def test_a_log_of_impressions_alone(tmp_path):
    rows = [row for row in ROWS if row[3] == "impression"]
    with pytest.raises(InputError, match=r"all events are of the kind 'impression'.*clicks"):
        run(tmp_path, rows=rows)


def test_kinds_that_may_be_meant_as_others(tmp_path):
    """Kinds are taken letter by letter; a warning says what that makes of them."""
    other = {"impression": "Impression", "buy": "buy ", "cart": "Buy"}
    rows = [(*row[:3], other.get(row[3], row[3]), 1) for row in ROWS]
    _, report = run(tmp_path, rows=rows)
    assert [line for line in report["lines"] if "kind of events" in line or "kinds of" in line] == [
        "Warning: The kind of events 'Impression' counts as clicks: only 'impression' says that an "
        "item was shown.",
        "Warning: The kinds of events 'Buy', 'buy ' differ in capitals or blanks alone, and are "
        "kept apart.",
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('loss.target_kinds=["purchas"]', "names 'purchas', but the events are of the kinds buy"),
        ('loss.event_weights={"impression": 1}', "names 'impression', but items that were only"),
        ('loss.event_weights={"buy": 0, "cart": 0, "view": 0}', "leave no click that counts"),
    ],
)
def test_kinds_that_training_would_refuse_are_refused_before_examples_are_made(
    tmp_path, setting, message
):
    with pytest.raises(InputError, match=message):
        run(tmp_path, settings=[setting])
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_kinds_of_a_log_without_are_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "read_log", None)
    with pytest.raises(InputError, match=r"log.csv is read without any\. .*--event_type_column"):
        run(tmp_path, columns=EventColumns(), settings=['loss.target_kinds=["buy"]'])


def test_a_column_of_something_else(tmp_path):
    rows = [("u1", f"i{i}", i, f"k{i}", 1) for i in range(101)]
    with pytest.raises(InputError, match=r"101 different values.*Check --event_type_column"):
        run(tmp_path, rows=rows)


def test_columns_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="kind"):
        open_log(tmp_path, columns=EventColumns(event_type="kind"))
    with pytest.raises(InputError, match="synthetic:users=5 has no column 'event'"):
        open_events("synthetic:users=5", EventColumns(event_type="event"))


def test_other_columns_are_other_examples(tmp_path):
    run(tmp_path)
    source = open_log(tmp_path, columns=EventColumns(event_type="event"))
    config = RecallConfig().override(["ingest.num_shards=2"])
    with pytest.raises(InputError, match="belongs to another dataset"):
        ingest.run_ingest(source, None, tmp_path / "examples", config)


def test_pages_of_mind_bring_what_was_shown(tmp_path):
    path = tmp_path / "behaviors.tsv"
    path.write_text(
        "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2\tN3-0 N4-1 N5-0\n"
        "2\tU1\t11/11/2019 9:06:58 AM\tN1 N2\tN5-1\n"
    )
    events = [
        [batch.column(name).to_pylist() for name in ("item_id", "event_type")]
        for batch in open_events(f"mind:{path}", EventColumns(event_type="kind")).read_batches()
    ]
    assert events == [
        [
            ["N1", "N2", "N3", "N5", "N4", "N5"],
            ["click", "click", "impression", "impression", "click", "click"],
        ]
    ]
    (batch,) = open_events(f"mind:{path}").read_batches()
    assert batch.column("item_id").to_pylist() == ["N1", "N2", "N4", "N5"]
    assert "event_type" not in batch.schema.names


def test_times_of_windows_and_tasks(tmp_path):
    start = 1_700_000_000
    rows = [(*row[:2], start + 10 * row[2], *row[3:]) for row in ROWS]
    examples_dir, _ = run(tmp_path, settings=["model.time_bias=true"], rows=rows)
    windows = {tuple(w["item_ids"]): w["timestamps"] for w in read(examples_dir, "train")}
    assert windows["a", "b", "b", "c"] == [start + 10, start + 30, start + 30, start + 40]
    (first, second) = sorted(read(examples_dir, "test"), key=lambda task: task["user_id"])
    assert first["history_timestamps"] == [start + 10 * at for at in (1, 3, 3, 4, 5)]
    assert first["positive_timestamps"] == [start + 70]
    assert second["positive_timestamps"] == [start + 40]
    assert ColumnsFound.read(examples_dir).times
    held_out = read_held_out(examples_dir, "test")
    row = held_out.user_ids.tolist().index(b"u1")
    padded = held_out.take([row]).histories.last_padded(2)
    assert padded[0, :, 1:3].tolist() == [
        [start + 40, start + 50],
        [start + 50, start + 70],
    ]


def test_numbers_that_give_an_order_are_no_times(tmp_path):
    with pytest.raises(InputError, match=r"has no times, which model.time_bias needs: 10 of its"):
        run(tmp_path, settings=["model.time_bias=true"])


def test_a_model_with_times_needs_examples_with_times(tmp_path):
    examples_dir, _ = run(tmp_path)
    config = RecallConfig().override(["model.time_bias=true"])
    with pytest.raises(InputError, match=r"Give --set=model.time_bias=true to `recall ingest`"):
        choose_columns(examples_dir, config)
