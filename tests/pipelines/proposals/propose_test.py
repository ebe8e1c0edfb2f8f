"""`recall features` on files: the settings that --config takes, and what is said beside them."""

import json

import pytest

from pipelines import cli
from recall.config import RecallConfig


def write(tmp_path):
    items = ["item_id,category,title,price,unit,region"]
    users = ["user_id,region,age"]
    events = ["user_id,item_id,timestamp,event_type"]
    for n in range(60):
        price = f"{n * n / 7:.2f}"
        colour = "red|new" if n % 2 else "blue"
        items.append(f"i{n},{colour},a very red hat {n},{price},EUR,{n % 3}")
        users.append(f"u{n},{'north' if n % 2 else 'south'},{20 + n / 2}")
        events.append(f"u{n},i{n},{n},{'view' if n % 3 else 'cart'}")
    for name, lines in (("items", items), ("users", users), ("events", events)):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return [f"--{name}={tmp_path}/{name}.csv" for name in ("items", "users", "events")]


def test_it_proposes_settings(tmp_path, capsys, caplog):
    words = write(tmp_path)
    assert cli.main(["features", *words]) == 0

    settings = json.loads(capsys.readouterr().out)
    assert settings["features"]["columns"] == [
        {"name": "categories", "owner": "item", "kind": "categorical", "max_values": 2},
        {
            "name": "title_words",
            "owner": "item",
            "kind": "text",
            "hash_buckets": 1000,
            "column": "title",
        },
        {"name": "price", "owner": "item", "kind": "numeric"},
        {"name": "region", "owner": "item", "kind": "categorical"},
        {"name": "user_region", "owner": "user", "kind": "categorical", "column": "region"},
        {"name": "age", "owner": "user", "kind": "numeric"},
        {"name": "event_type", "owner": "event", "kind": "categorical"},
    ]
    config = RecallConfig.from_dict(settings)
    assert [c.source for c in config.features.of("user")] == ["region", "age"]


USED = ["user_id", "item_id", "timestamp", "split"]


def test_columns_of_a_log_are_features_of_clicks(tmp_path):
    from pipelines.proposals import propose

    header = "user_id,item_id,timestamp,event_type,price,note,tags,history_of,same"
    rows = [
        f"u{n % 9},i{n},{1_700_000_000 + n},{'view' if n % 3 else 'cart'},{n * 1.5},"
        f"a note that is number {n},a|b,{n % 4},1"
        for n in range(60)
    ]
    (tmp_path / "log.csv").write_text("\n".join([header, *rows]) + "\n")
    tables = propose.tables_of(None, None, str(tmp_path / "log.csv"), USED)
    found = [propose.propose(table) for table in tables]
    assert propose.to_settings(found)["features"]["columns"] == [
        {"name": "event_type", "owner": "event", "kind": "categorical"},
        {"name": "price", "owner": "event", "kind": "numeric"},
        {
            "name": "f_history_of",
            "owner": "event",
            "kind": "categorical",
            "column": "history_of",
        },
        {"name": "when", "owner": "event", "kind": "timestamp"},
    ]
    lines = propose.to_lines(found, RecallConfig())
    assert lines[1:] == [
        "  event_type           categorical  2 values; 0.0% missing; 3 x 32 numbers to learn; "
        "a look-up for each click of a step",
        "  price                numeric      60 values; 0.0% missing",
        "  note                 left out: it is a text, and a click takes one name or number "
        "(0.0% missing)",
        "  tags                 left out: it has several values in a row, and a click takes one "
        "name or number (0.0% missing)",
        "  f_history_of         categorical  4 values; 0.0% missing; 5 x 32 numbers to learn; "
        "a look-up for each click of a step",
        "  same                 left out: it has one value only (0.0% missing)",
        "  when                 timestamp    0.0% missing; 64 x 32 numbers to learn; "
        "a look-up for each click of a step",
        propose._OF_EVENTS,
    ]


def test_what_was_only_shown_is_told(tmp_path):
    from pipelines.proposals import propose

    rows = [f"u{n % 9},i{n},{n},{'view' if n % 3 else 'impression'}" for n in range(60)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user_id,item_id,timestamp,kind", *rows]) + "\n")
    found = [propose.propose(t) for t in propose.tables_of(None, None, str(path), USED)]
    lines = propose.to_lines(found, RecallConfig())
    assert lines[1] == (
        "  kind                 categorical  2 values; 0.0% missing; ('impression' counts as a "
        "click but with --event_type_column=kind of `recall run`); 3 x 32 numbers to learn; a "
        "look-up for each click of a step"
    )


def test_times_that_only_give_an_order_are_no_feature(tmp_path):
    from pipelines.proposals import propose

    words = write(tmp_path)
    tables = propose.tables_of(None, None, words[2].partition("=")[2], USED)
    settings = propose.to_settings([propose.propose(table) for table in tables])
    assert [c["name"] for c in settings["features"]["columns"]] == ["event_type"]


def test_lines_say_what_was_seen(tmp_path, capsys):
    from pipelines.proposals import propose

    words = write(tmp_path)
    tables = propose.tables_of(
        None, words[1].partition("=")[2], None, ["user_id", "item_id", "timestamp", "split"]
    )
    found = [propose.propose(table) for table in tables]
    assert propose.to_lines(found, RecallConfig()) == [
        f"user: {tmp_path}/users.csv, 60 rows",
        "  region               categorical  2 values; 0.0% missing; 3 x 32 numbers to learn",
        "  age                  numeric      60 values; 0.0% missing",
    ]


@pytest.mark.parametrize("header", ["category", "categories", "category,categories"])
def test_what_is_proposed_of_categories_can_be_read(tmp_path, header):
    from pipelines.proposals import propose
    from pipelines.sources.items import ItemsFile, features_of

    cells = {n: ",".join([f"c{n % 3}", f"d{n % 4}"][: header.count(",") + 1]) for n in range(40)}
    rows = [f"i{n},{cell}" for n, cell in cells.items()]
    (tmp_path / "items.csv").write_text("\n".join([f"item_id,{header}", *rows]) + "\n")
    file = ItemsFile(str(tmp_path / "items.csv"))
    found = [propose.propose(table) for table in propose.tables_of(file, None, None, USED)]
    settings = propose.to_settings(found)["features"]["columns"]
    assert settings == [{"name": "categories", "owner": "item", "kind": "categorical"}]
    features = RecallConfig.from_dict({"features": {"columns": settings}}).features.of("item")
    values = features_of(file.read(features), features)["categories"].to_pylist()
    assert values == [[f"c{n % 3}"] for n in range(40)]
    lines = "\n".join(propose.to_lines(found, RecallConfig()))
    assert ("'categories' is of the column that a flag names" in lines) == ("," in header)


def test_times_of_items_are_attributes(tmp_path):
    """Texts that no model reads, and what says when an item may be in an answer."""
    from pipelines.proposals import propose
    from pipelines.sources.items import ItemsFile

    header = "item_id,price,sold_until,available_from,year,licence,empty_until"
    rows = [
        f"i{n},{n * 1.5},2026-01-{n % 28 + 1:02d},{1_700_000_000 + 60 * n},{1990 + n % 30},"
        f"{'a' if n % 2 else 'b'},"
        for n in range(60)
    ]
    (tmp_path / "items.csv").write_text("\n".join([header, *rows]) + "\n")
    tables = propose.tables_of(ItemsFile(str(tmp_path / "items.csv")), None, None, USED)
    found = [propose.propose(table) for table in tables]
    settings = propose.to_settings(found)
    assert settings["features"]["attributes"] == [
        {"name": "sold_until", "kind": "time"},
        {"name": "available_from", "kind": "time"},
    ]
    names = [column["name"] for column in settings["features"]["columns"]]
    assert names == ["price", "year", "licence"]
    lines = propose.to_lines(found, RecallConfig())
    assert (
        "  sold_until           time         28 values; 0.0% missing; for requests to filter on, "
        "no feature"
    ) in lines
    assert lines[-1] == propose._OF_ITEMS


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], "No file is named. Pass --items, --users or --events."),
        (["--events=synthetic:users=9,items=9"], "has no columns beside the usual ones"),
        (["--users=nowhere.csv"], "nowhere.csv does not exist"),
    ],
)
def test_mistakes_are_one_line(words, wanted, capsys):
    assert cli.main(["features", *words]) == 1
    error = capsys.readouterr().err
    assert wanted in error
    assert error.count("\n") == 1
