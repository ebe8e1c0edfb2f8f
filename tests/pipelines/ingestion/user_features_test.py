"""Features of users: the file, the slot before the first click, what examples say; by hand."""

import json
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.held_out import read_held_out
from pipelines.ingestion import ingest
from pipelines.ingestion.events import user_rows
from pipelines.ingestion.events.event_features import EventValues
from pipelines.ingestion.events.impressions import ShownItems
from pipelines.ingestion.open_log import open_events
from pipelines.ingestion.splitting import choose_new_users
from pipelines.sources.users import UsersFile
from pipelines.training.example_columns import choose_columns
from pipelines.training.input_pipeline import read_training_data
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.ingest import IngestConfig

COLUMNS = [
    {"name": "country", "owner": "user", "kind": "categorical", "min_count": 1},
    {"name": "age", "owner": "user", "kind": "numeric"},
]
CONFIG = RecallConfig().override(
    [
        "ingest.num_shards=2",
        "train.max_epochs=1",
        "train.jit_compile=false",
        f"features.columns={json.dumps(COLUMNS)}",
    ]
)
EVENTS = """user_id,item_id,timestamp
u1,a,1
u1,b,2
u1,c,3
u1,d,4
u2,b,1
u2,a,2
u2,c,3
u3,a,1
"""


def write_users(folder, text="user_id,country,age\nu2,NL,30\nu9,DE,20\nu1,NL,\n"):
    path = folder / "users.csv"
    path.write_text(text)
    return path


def run(tmp_path, config=CONFIG, users=True, events=EVENTS):
    (tmp_path / "log.csv").write_text(events)
    source = open_events(str(tmp_path / "log.csv"))
    if users:
        source.users_file = UsersFile(str(write_users(tmp_path)))
    ingest.run_ingest(source, None, tmp_path / "examples", config)
    return tmp_path / "examples"


def read(examples_dir, split):
    item_ids = ["", "START", *records.read_vocabulary(examples_dir).item_ids]
    found = {}
    for path in sorted((examples_dir / f"Split-{split}").glob("*.gz")):
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            name = "item_ids" if split == "train" else "history"
            items = tuple(item_ids[value] for value in feature[name].int64_list.value)
            found[items] = feature["user_row"].int64_list.value[0]
    return found


def test_a_history_begins_with_a_slot_that_is_no_click(tmp_path):
    examples_dir = run(tmp_path)
    # Rows of the file from 1: u2, u9, u1. u3 has one event, too few.
    assert read(examples_dir, "train") == {("START", "a", "b"): 3, ("START", "b"): 1}
    assert read(examples_dir, "test") == {("START", "a", "b", "c"): 3, ("START", "b", "a"): 1}
    held_out = read_held_out(examples_dir, "test")
    by_user = dict(zip(held_out.user_ids.tolist(), held_out.histories.user_rows, strict=True))
    assert by_user == {b"u1": 3, b"u2": 1}
    trained = dict(zip(held_out.user_ids.tolist(), held_out.num_trained, strict=True))
    assert trained == {b"u1": 2, b"u2": 1}
    # The slot is no click, whoever is taken.
    taken = held_out.take(np.argsort(held_out.user_ids))
    assert taken.history_lengths.tolist() == [3, 2]
    vocabulary = records.read_vocabulary(examples_dir)
    country, age = vocabulary.users.columns
    assert country.values == ("NL", "DE")
    assert age.mean == pytest.approx(25)
    assert len(vocabulary.users) == 3
    assert len(vocabulary.without_examples().users) == 0


def test_batches_have_the_row_of_each_slot(tmp_path):
    (batch,) = [
        b for b in read_training_data(run(tmp_path), CONFIG).dataset if len(b.item_ids) > 0
    ][:1]
    for items, users in zip(batch.item_ids.numpy(), batch.columns["users"].numpy(), strict=True):
        size = int((items > 0).sum())
        assert len(set(users[: size - 1])) == 1
        assert users[0] == {3: 3, 2: 1}[size]


def test_slots_are_inserted_by_hand():
    started = user_rows.add_starts(
        np.array([0, 2, 3]),
        np.array([7, 8, 9]),
        np.array([0, 2, 0], np.int8),
        EventValues(
            kinds=np.array([1, 2, 1]),
            weights=np.array([0.5, 1.0, 2.0]),
            shown=ShownItems(np.array([4, 5]), np.array([0, 0, 2, 2])),
            times=np.array([10.0, 20.0, 30.0]),
        ),
    )
    assert started.offsets.tolist() == [0, 3, 5]
    assert started.dense.tolist() == [1, 7, 8, 1, 9]
    assert started.parts.tolist() == [0, 0, 2, 0, 0]
    assert started.values.kinds.tolist() == [0, 1, 2, 0, 1]
    assert started.values.times.tolist() == [10, 10, 20, 30, 30]
    assert started.values.shown.offsets.tolist() == [0, 0, 0, 2, 2, 2]


def test_sessions_are_of_their_user():
    rows = user_rows.rows_in_file(
        pa.array(["a#1", "a#x", "b", "b#2#3"]), pa.array(["b", "a", "b#2"])
    )
    assert rows.tolist() == [2, 0, 1, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,country,age\nu1,NL,1\nu1,DE,2\n", r"Data row 2 of .* repeats the user 'u1'"),
        ("user_id,country,age\n,NL,1\n", r"Data row 1 of .*: column 'user_id' is empty"),
        ("user_id,country,age\nu1,NL,old\n", r"holds 'old', which is no number"),
        ("user_id,country\nu1,NL\n", r"age"),
        ("user_id,country,age\n", r"has no users"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, message):
    file = UsersFile(str(write_users(tmp_path, text)))
    with pytest.raises(InputError, match=message):
        file.read(CONFIG.features.of("user"))


def test_parquet_and_other_names(tmp_path):
    table = pa.table({"uid": [1, 2], "country": ["NL", None], "age": [3.5, None]})
    pq.write_table(table, tmp_path / "users.parquet")
    found = UsersFile(str(tmp_path / "users.parquet"), "uid").read(CONFIG.features.of("user"))
    assert found["user_id"].to_pylist() == ["1", "2"]
    assert found["country"].to_pylist() == [["NL"], []]


def test_declared_without_a_file_and_the_other_way_round(tmp_path):
    with pytest.raises(InputError, match="declares 'country' of users, but there is no users file"):
        run(tmp_path, users=False)
    plain = RecallConfig().override(["ingest.num_shards=2"])
    examples_dir = run(tmp_path, plain)
    with pytest.raises(InputError, match="was made without"):
        choose_columns(examples_dir, CONFIG)


def test_users_are_kept_out_of_training_by_their_ids():
    config = IngestConfig(new_user_share=0.5, session_gap_minutes=30)
    ids = pa.array([f"u{n}" for n in range(1000)] + [f"u{n}#2" for n in range(1000)])
    chosen = choose_new_users(config, ids)
    assert 400 < chosen[:1000].sum() < 600
    assert chosen[:1000].tolist() == chosen[1000:].tolist()


def test_their_clicks_are_history_alone(tmp_path):
    names = [f"u{number}" for number in range(1, 5)]
    lines = [f"{name},{item},{at}" for name in names for at, item in enumerate("abcde")]
    shares = {name: zlib.crc32(f"user {name}".encode()) / 2**32 for name in names}
    first, second, *_ = sorted(shares, key=shares.get)
    config = CONFIG.override([f"ingest.new_user_share={(shares[first] + shares[second]) / 2}"])
    folder = run(tmp_path, config, events="\n".join(["user_id,item_id,timestamp", *lines]))
    users = read_held_out(folder, "test")
    # Of five clicks two are held out.
    assert dict(zip(users.user_ids.tolist(), users.num_trained.tolist(), strict=True)) == {
        name.encode(): 0 if name == first else 3 for name in names
    }
    assert records.read_vocabulary(folder).counts.tolist() == [3, 3, 3, 0, 0]


def report_of(tmp_path, text, *settings):
    (tmp_path / "log.csv").write_text(EVENTS)
    source = open_events(str(tmp_path / "log.csv"))
    source.users_file = UsersFile(str(write_users(tmp_path, text)))
    return ingest.run_ingest(source, None, tmp_path / "examples", CONFIG.override(settings))


def test_rare_and_missing_values_are_in_the_report(tmp_path):
    columns = [{**COLUMNS[0], "min_count": 2}, COLUMNS[1]]
    text = "user_id,country,age\nu2,NL,30\nu9,DE,20\nu1,NL,\nu8,,\n"
    report = report_of(tmp_path, text, f"features.columns={json.dumps(columns)}")
    assert report["user_features"] == {
        "users": 4,
        "matched": 2,
        "max_unknown_share": 0.05,
        "columns": {
            "country": {
                "kind": "categorical",
                "num_missing": 1,
                "num_values": 3,
                "num_unknown": 1,
            },
            "age": {"kind": "numeric", "num_missing": 2, "num_values": 2, "num_unknown": 0},
        },
    }
    assert (
        "2 users of the log are among the 4 of the users file; of others nothing is known."
        in report["lines"]
    )
    assert (
        "Warning: 33.3% of the values of the user feature 'country' are outside of the vocabulary "
        "(limit features.max_unknown_share = 0.05): they are rare. Nothing is learnt of them."
    ) in report["lines"]


def test_a_users_file_of_other_users_is_an_error(tmp_path):
    with pytest.raises(InputError, match="None of the 2 users of the users file is in the log"):
        report_of(tmp_path, "user_id,country,age\n001,NL,30\n002,DE,20\n")
    assert not (tmp_path / "examples").exists()
