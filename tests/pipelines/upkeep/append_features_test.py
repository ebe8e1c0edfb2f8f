"""Days with features, kinds, impressions, new items and users: as one log of them all."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipelines.artifacts import held_out, item_attributes, kept_examples, records
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources.event_columns import EventColumns
from pipelines.sources.users import UsersFile
from pipelines.training.input_pipeline import read_training_data
from pipelines.upkeep import append, forget
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import storage

DAY_S = 86_400
FIRST_S = 1_700_000_000 // DAY_S * DAY_S
NUM_DAYS = 4
COLUMNS = [
    {"name": "device", "owner": "event", "kind": "categorical", "min_count": 3},
    {"name": "campaign", "owner": "event", "kind": "categorical", "max_vocabulary": 4},
    {"name": "paid", "owner": "event", "kind": "numeric", "column": "price"},
    {"name": "price_range", "owner": "event", "kind": "numeric", "column": "price", "buckets": 5},
    {"name": "when", "owner": "event", "kind": "timestamp"},
    {"name": "screen", "owner": "request", "kind": "categorical", "column": "device"},
    {"name": "country", "owner": "user", "kind": "categorical", "min_count": 1},
    {"name": "age", "owner": "user", "kind": "numeric", "buckets": 3},
    {"name": "brand", "owner": "item", "kind": "categorical", "max_values": 2},
    {"name": "size", "owner": "item", "kind": "numeric"},
]
ATTRIBUTES = [{"name": "shop"}]
LOG = EventColumns(event_type="kind", weight="weight")


def configure(*settings, columns=COLUMNS, attributes=ATTRIBUTES):
    return RecallConfig().override(
        [
            "ingest.keep_sequences=true",
            "ingest.num_shards=2",
            "ingest.max_impressions=3",
            "model.max_history_length=5",
            "train.batch_slots=16",
            "train.max_epochs=1",
            "train.jit_compile=false",
            f"features.columns={json.dumps(columns)}",
            f"features.attributes={json.dumps(attributes)}",
            *settings,
        ]
    )


def random_day(rng, day, kinds):
    """Events of a day; names, items and users come with the days, times repeat."""
    size, of_event = 160, rng.choice(kinds, 160)
    here = rng.permutation(30 + 8 * day)[:14]  # The others keep the examples that they have.
    num_items = 25 + 8 * day + 12 * (of_event == "impression")  # Shown before they are clicked.
    return pa.table(
        {
            "user_id": [f"u{n}" for n in rng.choice(here, size)],
            "item_id": [f"i{n}" for n in rng.zipf(1.2, size) % num_items],
            "timestamp": FIRST_S + day * DAY_S + rng.integers(0, 6, size) * 3600,
            "kind": of_event,
            "weight": rng.choice([0.5, 1.0, 2.0], size),
            "device": [f"d{n}" if n else "" for n in rng.zipf(1.5, size) % (6 + day)],
            "campaign": [f"c{n}" for n in rng.integers(0, 4 + 2 * day, size)],
            "price": [None if n > 90 else float(n) for n in rng.integers(0, 100, size)],
        }
    )


def write_files(folder, seed, kinds_of_days):
    """A log, a users file and an items file of each day; what they say changes every day."""
    rng, days = np.random.default_rng(seed), []
    for day, kinds in enumerate(kinds_of_days):
        events, users, items = (folder / f"{name}-{day}.parquet" for name in ("e", "u", "i"))
        days.append((random_day(rng, day, kinds), events, users, items))
        pq.write_table(days[-1][0], events)
        known = rng.permutation(30 + 5 * day)[:25]  # Some are gone, some come back.
        countries, ages = rng.choice(["NL", "DE", ""], 25), rng.integers(20, 60, 25)
        pq.write_table(
            pa.table({"user_id": [f"u{n}" for n in known], "country": countries, "age": ages}),
            users,
        )
        names = [f"i{n}" for n in rng.permutation(30 + 10 * day)[: 28 + 9 * day]]
        brands = [[f"b{b}" for b in rng.zipf(1.6, 2) % 6] for _ in names]
        table = {"item_id": names, "brand": brands, "size": rng.normal(size=len(names))}
        pq.write_table(
            pa.table({**table, "shop": rng.choice(["north", "south"], len(names))}), items
        )
    return days


def open_day(events, users, columns=LOG):
    source = open_events(str(events), columns)
    source.users_file = None if users is None else UsersFile(str(users))
    return source


def read_examples(examples_dir):
    """Every example that counts, with names in the place of all numbers."""
    vocabulary = records.read_vocabulary(examples_dir)
    statistics = storage.read_json(examples_dir / "statistics.json")
    kinds = [None, *statistics["event_columns"]["kinds"]]
    item_ids = ["", "START", *vocabulary.item_ids]
    users = [{}]
    if vocabulary.users is not None:
        rows = vocabulary.users.table.to_pylist()
        users += [{name: v for name, v in row.items() if v not in (None, [])} for row in rows]
    of_log = {c.name: c for c in vocabulary.log_columns if c.kind == "categorical"}

    def show(name, values):
        feature = name.rpartition(":")[2]
        if name in ("item_ids", "shown_ids", "history", "positives"):
            return [item_ids[value] for value in values]
        if name in ("event_kinds", "positive_kinds"):
            return [kinds[value] for value in values]
        if name == "user_row":
            return users[values[0]]
        if "value:" in name and feature in of_log:
            column = of_log[feature]
            numbers = [column.numbers[v] if column.numbers else v for v in values]
            return [["", "other", *column.values][number] for number in numbers]
        return values

    found = []
    for split in ("train", "valid", "test"):
        for path in sorted((examples_dir / f"Split-{split}").glob("*.gz")):
            kept = kept_examples.read_kept(path)
            for at, record in enumerate(tf.data.TFRecordDataset(str(path), "GZIP")):
                if kept is not None and not kept[at]:
                    continue
                features = tf.train.Example.FromString(record.numpy()).features.feature
                values = {
                    name: show(
                        name, list(getattr(one, one.WhichOneof("kind") or "int64_list").value)
                    )
                    for name, one in features.items()
                }
                found.append(f"{split} {sorted(values.items())}")
    return sorted(found)


def read_columns(examples_dir):
    """What was learnt of all features."""
    vocabulary = records.read_vocabulary(examples_dir)
    owned = [] if vocabulary.users is None else vocabulary.users.columns
    of_items = [] if vocabulary.features is None else vocabulary.features.columns
    found = {c.name: c for c in (*vocabulary.log_columns, *owned, *of_items)}
    exact = {name: (c.values, c.width) for name, c in found.items()}
    numbers = {name: [c.mean, c.stddev, *c.edges] for name, c in found.items()}
    return exact, numbers


def read_items(examples_dir):
    """Clicks, features and attributes of the items by their ids, without items of nothing."""
    vocabulary = records.read_vocabulary(examples_dir)
    tables = [vocabulary.features.table.to_pylist()]
    path = examples_dir / item_attributes.FILE_NAME
    tables.append(pq.read_table(path).to_pylist())
    found = {}
    for item_id, count, *rows in zip(vocabulary.item_ids, vocabulary.counts, *tables, strict=True):
        values = {name: v for row in rows for name, v in row.items() if v not in (None, [])}
        if values or count:
            found[item_id] = (int(count), values)
    return found


def compare(grown, whole):
    assert read_examples(grown) == read_examples(whole)
    (exact, numbers), (wanted, wanted_numbers) = read_columns(grown), read_columns(whole)
    assert exact == wanted
    for name, values in wanted_numbers.items():
        np.testing.assert_allclose(numbers[name], values, rtol=1e-6, atol=1e-6, err_msg=name)
    found = [storage.read_json(path / "statistics.json") for path in (grown, whole)]
    assert found[0].get("event_columns") == found[1].get("event_columns")
    for name in ("num_users", "num_events", "lengths"):
        assert found[0][name] == found[1][name]
    users = [
        storage.read_json(path / "ingest_report.json")["user_features"] for path in (grown, whole)
    ]
    assert {**users[0], "matched": 0} == {**users[1], "matched": 0}
    # Of a log all users are counted, of examples those with enough events.
    assert users[0]["matched"] >= users[1]["matched"] > 0
    for split, values in found[1]["splits"].items():
        wanted = {name: values[name] for name in ("examples", "events", "targets")}
        assert {name: found[0]["splits"][split][name] for name in wanted} == wanted


@pytest.fixture
def two_days(tmp_path):
    """Examples of a day, what they were made with, and the files of the next one."""
    config, days = configure(), write_files(tmp_path, 5, [KINDS] * 2)
    events, users, items = days[0][1:]
    ingest.run_ingest(open_day(events, users), str(items), tmp_path / "examples", config)
    return tmp_path / "examples", config, days[1]


KINDS = ["view", "view", "cart", "impression", "impression"]
SETTINGS = [
    ([], [KINDS] * NUM_DAYS),
    pytest.param(
        ["ingest.min_item_events=3", "ingest.min_user_events=3"],
        [KINDS] * NUM_DAYS,
        marks=pytest.mark.slow,
    ),
    pytest.param(["ingest.max_age_days=2"], [KINDS] * NUM_DAYS, marks=pytest.mark.slow),
    # A kind comes later, impressions as well.
    (["ingest.protocol=next_n", "ingest.num_targets=2"], [["view"], ["view", "buy"], KINDS, KINDS]),
]


@pytest.mark.parametrize(("settings", "kinds_of_days"), SETTINGS)
def test_days_one_after_the_other_are_all_at_once(tmp_path, settings, kinds_of_days):
    config, days = configure(*settings), write_files(tmp_path, 3, kinds_of_days)
    events, users, items = days[0][1:]
    ingest.run_ingest(open_day(events, users), str(items), tmp_path / "grown", config)
    for _, events, users, items in days[1:]:
        before = records.read_vocabulary(tmp_path / "grown").item_ids
        source = open_day(events, users)
        append.append_events(source, tmp_path / "grown", config, items_file=str(items))
        assert records.read_vocabulary(tmp_path / "grown").item_ids[: len(before)] == before
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.concat_tables([day[0] for day in days]), whole)
    source = open_day(whole, days[-1][2])
    ingest.run_ingest(source, str(days[-1][3]), tmp_path / "whole", config)
    compare(tmp_path / "grown", tmp_path / "whole")
    assert read_items(tmp_path / "grown") == read_items(tmp_path / "whole")
    plain = config.override(["ingest.keep_sequences=false"])
    ingest.run_ingest(source, str(days[-1][3]), tmp_path / "plain", plain)
    assert read_examples(tmp_path / "grown") == read_examples(tmp_path / "plain")
    gone = [f"u{n}" for n in range(0, 40, 3)]
    forget.forget_users(tmp_path / "grown", pa.array(gone))
    kept = pq.read_table(whole).filter(~pa.compute.field("user_id").isin(gone))
    pq.write_table(kept, tmp_path / "kept.parquet")
    users = pq.read_table(days[-1][2]).filter(~pa.compute.field("user_id").isin(gone))
    pq.write_table(users, tmp_path / "users.parquet")
    source = open_day(tmp_path / "kept.parquet", tmp_path / "users.parquet")
    ingest.run_ingest(source, str(days[-1][3]), tmp_path / "kept", config)
    compare(tmp_path / "grown", tmp_path / "kept")


def test_a_day_without_files_of_items_and_users_keeps_what_is_known(two_days):
    examples_dir, config, (_, events, *_) = two_days
    users, items = records.read_vocabulary(examples_dir).users, read_items(examples_dir)
    report = append.append_events(open_day(events, None), examples_dir, config)
    vocabulary, after = records.read_vocabulary(examples_dir), read_items(examples_dir)
    assert vocabulary.users.table.equals(users.table)
    assert {item: values for item, (_, values) in after.items() if values} == {
        item: values for item, (_, values) in items.items() if values
    }
    new = [item for item in after if item not in items]
    assert new
    assert all(after[item][1] == {} for item in new)
    assert report["item_features"]["columns"]["brand"]["num_missing"] >= len(new)
    in_log = report["kept"]["items"] - report["item_features"]["unclicked_items"]
    unmatched = report["unmatched_items"]["unmatched"]
    assert report["items_file"]["matched"] + unmatched == in_log


def with_another_column(path, name):
    """The items file with one more column, in which items are told apart by their ids."""
    items = pq.read_table(path)
    values = [f"{name}-{int(item[1:]) % 3}" for item in items["item_id"].to_pylist()]
    pq.write_table(items.append_column(name, pa.array(values)), path)


def test_a_feature_that_is_new_needs_no_new_day(two_days):
    """Items and users of other files, with the events that are there: as if made with them."""
    examples_dir, config, (_, events, users, items) = two_days
    append.append_events(open_day(events, users), examples_dir, config, items_file=str(items))
    with_another_column(items, "colour")
    known = pq.read_table(users)
    pq.write_table(known.slice(0, known.num_rows // 2), users)
    colour = {"name": "colour", "owner": "item", "kind": "categorical"}
    columns = [column.to_dict() for column in config.features.columns]
    wider = config.override([f"features.columns={json.dumps([*columns, colour])}"])
    with pytest.raises(InputError, match="other features or attributes of items"):
        append.append_events(open_day(events, users), examples_dir, wider)
    other = config.override([f"features.columns={json.dumps([*columns[1:], colour])}"])
    with pytest.raises(InputError, match="was made with features="):
        append.append_events(open_day(events, users), examples_dir, other, items_file=str(items))
    append.append_events(open_day(events, users), examples_dir, wider, items_file=str(items))
    days = [pq.read_table(examples_dir.parent / f"e-{day}.parquet") for day in range(2)]
    pq.write_table(pa.concat_tables(days), examples_dir.parent / "whole.parquet")
    source = open_day(examples_dir.parent / "whole.parquet", users)
    ingest.run_ingest(source, str(items), examples_dir.parent / "whole", wider)
    compare(examples_dir, examples_dir.parent / "whole")
    found = read_items(examples_dir)
    assert found == read_items(examples_dir.parent / "whole")
    assert {values["colour"][0] for _, values in found.values() if "colour" in values} == {
        "colour-0",
        "colour-1",
        "colour-2",
    }


def test_training_reads_the_values_of_all_days(two_days):
    """The numbers of names are those of the log; what the step sees is as by vocabularies."""
    examples_dir, config, (_, events, users, items) = two_days
    append.append_events(open_day(events, users), examples_dir, config, items_file=str(items))
    days = [pq.read_table(examples_dir.parent / f"e-{day}.parquet") for day in range(2)]
    pq.write_table(pa.concat_tables(days), examples_dir.parent / "whole.parquet")
    plain = config.override(["ingest.keep_sequences=false"])
    source = open_day(examples_dir.parent / "whole.parquet", users)
    ingest.run_ingest(source, str(items), examples_dir.parent / "whole", plain)
    found = []
    for folder, settings in ((examples_dir, config), (examples_dir.parent / "whole", plain)):
        data, rows = read_training_data(folder, settings), []
        for batch in data.dataset.take(data.steps_per_epoch):
            slots, numbers = (
                batch.columns[name].numpy() for name in ("event_slots", "event_numbers")
            )
            rows += [
                str((slots[row, own].tolist(), numbers[row, own].round(4).tolist()))
                for row, own in enumerate(batch.item_ids.numpy() > 0)
            ]
        found.append(sorted(rows))
        held = held_out.read_held_out(folder, "test")
        order = np.argsort(held.user_ids.astype(str))
        found.append(held.take(order).histories.click_values.tolist())
    assert found[0] == found[2]
    assert found[1] == found[3]


def test_nothing_is_left_of_who_is_forgotten(two_days):
    """Neither her values nor names that only her events had; names of others stay."""
    examples_dir, config, (table, _, users, items) = two_days
    row = {"user_id": "secret-user", "item_id": "i1", "kind": "view", "weight": 1.0, "price": 2.0}
    row |= {"device": "secret-device", "campaign": "c1"}
    more = [{**row, "timestamp": FIRST_S + 2 * DAY_S + n} for n in range(8)]
    day = examples_dir.parent / "more.parquet"
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist(more, table.schema)]), day)
    known = pq.read_table(users)
    person = {"user_id": "secret-user", "country": "secret-country", "age": 33}
    pq.write_table(pa.concat_tables([known, pa.Table.from_pylist([person], known.schema)]), users)
    append.append_events(open_day(day, users), examples_dir, config, items_file=str(items))

    def is_there(text):
        files = (path for path in examples_dir.rglob("*") if path.is_file())
        return [path.name for path in files if text in path.read_bytes()]

    assert is_there(b"secret-user")
    assert is_there(b"secret-device")
    assert is_there(b"secret-country")
    assert "secret-device" in {v for c in records.read_log_columns(examples_dir) for v in c.values}
    forget.forget_users(examples_dir, pa.array(["secret-user"]))
    assert not is_there(b"secret-user")
    assert not is_there(b"secret-device")
    assert not is_there(b"secret-country")
    assert is_there(b"c1")


def test_numbers_of_kinds_are_bounded(two_days):
    examples_dir, config, (table, *_) = two_days
    kinds = pa.array([f"k{n % 120}" for n in range(len(table))])
    table = table.set_column(table.column_names.index("kind"), "kind", kinds)
    pq.write_table(table, examples_dir.parent / "odd.parquet")
    before = storage.sha256_of_tree(examples_dir)
    with pytest.raises(InputError, match=r"different values.*Check --event_type_column"):
        append.append_events(
            open_day(examples_dir.parent / "odd.parquet", None), examples_dir, config
        )
    assert storage.sha256_of_tree(examples_dir) == before


def test_a_file_that_is_gone_is_one_line(two_days):
    """It would else look like a log that never had the values."""
    examples_dir, config, (_, events, *_) = two_days
    kept = ("kinds-10001.npy", "weights-10000.npy", "values-10001.npy", "known_users-00000.arrow")
    kept += ("names_of_device-00000.arrow", "value_counts_of_paid-00000.arrow")
    kept += ("value_counts_of_device-00000.npy", "name_uses_of_campaign-00000.npy")
    values = ("user_features.parquet", "item_features.parquet", "item_attributes.parquet")
    for name in (*(f"sequences/{name}" for name in kept), *values):
        content = (examples_dir / name).read_bytes()
        (examples_dir / name).unlink()
        with pytest.raises(InputError, match=f"{name}:? .*is missing or damaged"):
            append.append_events(open_day(events, None), examples_dir, config)
        (examples_dir / name).write_bytes(content)


def test_other_features_are_refused(two_days):
    examples_dir, _, (_, events, *_) = two_days
    other = configure(columns=COLUMNS[:3])
    with pytest.raises(InputError, match=r"Give --set='features\.columns=\[\{\"name\": \"device\""):
        append.append_events(open_day(events, None), examples_dir, other)
    source = open_day(events, None, EventColumns(event_type="kind"))
    with pytest.raises(InputError, match="Give --weight_column=weight, or make all"):
        append.append_events(source, examples_dir, configure())
