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
    ]
    config = RecallConfig.from_dict(settings)
    assert [c.source for c in config.features.of("user")] == ["region", "age"]


def test_columns_of_a_log_are_shown_and_not_declared(tmp_path):
    from pipelines.proposals import propose

    words = write(tmp_path)
    used = ["user_id", "item_id", "timestamp", "split"]
    tables = propose.tables_of(None, None, words[2].partition("=")[2], used)
    found = [propose.propose(table) for table in tables]
    assert propose.to_settings(found) == {"features": {"columns": []}}
    lines = propose.to_lines(found, RecallConfig())
    assert lines[1].startswith("  event_type           categorical  2 values")
    assert "--event_type_column" in lines[2]


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
