"""Declared features: round trips, defaults of kinds, and one line for every mistake."""

import json

import pytest

from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn

COLUMNS = [
    {"name": "genres", "owner": "item", "kind": "categorical", "max_values": 4},
    {"name": "year", "owner": "item", "kind": "numeric", "buckets": 8, "column": "released"},
    {"name": "image", "owner": "item", "kind": "vector", "dim": 3},
    {"name": "words", "owner": "item", "kind": "text", "hash_buckets": 50},
    {"name": "age", "owner": "user", "kind": "numeric"},
    {"name": "country", "owner": "user", "kind": "categorical"},
]


def declare(*columns):
    return RecallConfig.from_dict({"features": {"columns": list(columns)}}).features


def test_a_declaration_survives_json_and_names_only_what_its_kind_has():
    config = RecallConfig.from_dict({"features": {"columns": COLUMNS, "id_dropout": 0.3}})

    assert RecallConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["features"]["columns"][2] == COLUMNS[2]
    assert config.features.columns[0].source == "genres"
    assert config.features.columns[1].source == "released"
    assert [c.name for c in config.features.of("item")] == ["genres", "year", "image", "words"]
    assert [c.name for c in config.features.of("user")] == ["age", "country"]


def test_an_assignment_takes_the_whole_declaration():
    config = RecallConfig().override([f"features.columns={json.dumps(COLUMNS)}"])

    assert config.features == declare(*COLUMNS)
    assert config.override(["features.id_dropout=0"]).features.columns == config.features.columns


def test_features_of_the_log():
    config = declare(
        {"name": "device", "owner": "request", "kind": "categorical"},
        {"name": "kind", "owner": "event", "kind": "categorical", "column": "event_type"},
        {"name": "when", "owner": "event", "kind": "timestamp", "parts": ["gap", "hour"]},
        {"name": "asked", "owner": "request", "kind": "timestamp"},
        COLUMNS[0],
    )

    assert [c.name for c in config.of_log] == ["device", "kind", "when", "asked"]
    assert config.need_times
    assert not declare(*COLUMNS).need_times
    names = ["device", "history_kind", "history_when", "asked", "genres"]
    assert [c.input_name for c in config.columns] == names
    assert config.columns[2].parts == ("gap", "hour")
    assert config.columns[3].parts == ("gap", "hour", "weekday")
    assert config.columns[1].source == "event_type"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "text"}, "kind` must be one of categorical, numeric, timestamp, received 'text'"),
        ({"owner": "item", "kind": "timestamp"}, "kind` must be one of categorical, numeric, vec"),
        ({"kind": "timestamp", "parts": ["month"]}, "parts` must be some of gap, hour, weekday"),
        ({"kind": "timestamp", "parts": []}, "parts` must be some of gap"),
        ({"kind": "timestamp", "column": "time"}, "column` must be left out: the times are those"),
        ({"parts": ["gap"]}, "parts` must be left out: it is no parameter of kind categorical"),
        ({"name": "history_device"}, "another name, it is taken"),
        ({"name": "request_timestamp"}, "another name, it is taken"),
    ],
)
def test_mistakes_in_features_of_the_log(changes, text):
    with pytest.raises(InputError, match=text):
        declare({"name": "device", "owner": "event", "kind": "categorical", **changes})


def test_futures_in_their_order_do_not_go_with_features_of_events():
    columns = json.dumps([{"name": "device", "owner": "event", "kind": "categorical"}])
    with pytest.raises(
        InputError, match=r"`loss\.reverse_future` must be true with features of ev"
    ):
        RecallConfig().override([f"features.columns={columns}", "loss.reverse_future=false"])


def test_parameters_that_are_left_out_are_those_of_the_kind():
    column = FeatureColumn("genres", "item", "categorical")

    assert (column.max_values, column.min_count, column.buckets) == (1, 2, None)
    assert not column.has_several_values
    assert FeatureColumn("price", "item", "numeric").buckets == 0


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"name": "1st"}, "`features.columns.name` must be letters"),
        ({"name": "item_ids"}, "another name"),
        ({"name": None}, r"`features.columns\[0\].name` must be of type str"),
        ({"owner": "shop"}, "owner` must be one of item, user, event, request, received"),
        (
            {"owner": "event", "max_values": 4},
            "max_values` must be 1 or left out: a feature of owner event has one",
        ),
        ({"kind": "image"}, "kind` must be one of categorical, numeric"),
        ({"buckets": 4}, "buckets` must be left out: it is no parameter of kind categorical"),
        ({"max_values": 0}, "max_values` must be 1 or more"),
        ({"max_values": "many"}, r"`features.columns\[0\].max_values` must be of type int"),
        ({"column": ""}, "column` must be a name"),
        ({"maxvalues": 3}, r"Unknown config key `features.columns\[0\].maxvalues`"),
        ({"kind": "vector"}, "dim` must be given, received None"),
        ({"kind": "numeric", "buckets": 1}, "buckets` must be 2 or more"),
        ({"kind": "numeric", "scale": "cubic"}, "scale` must be one of linear, log"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(changes, wanted):
    column = {"name": "genres", "owner": "item", "kind": "categorical", **changes}

    with pytest.raises(InputError, match=wanted) as error:
        declare(column)
    assert "\n" not in str(error.value)


def test_a_column_without_a_kind_is_refused():
    with pytest.raises(InputError, match=r"`features.columns\[0\].kind` is missing"):
        declare({"name": "genres", "owner": "item"})


def test_a_name_that_is_declared_twice_is_refused():
    other = {"name": "genres", "owner": "user", "kind": "categorical"}
    with pytest.raises(InputError, match="has the name 'genres' twice"):
        declare(COLUMNS[0], other)


@pytest.mark.parametrize(
    "setting",
    [
        "id_dropout=1",
        "id_shrinkage=-1",
        "id_shrinkage=1e999",
        "embedding_dim=0",
        "hidden_dim=0",
        "max_unknown_share=2",
        "columns=3",
    ],
)
def test_settings_of_the_section_are_checked(setting):
    name = setting.partition("=")[0]
    with pytest.raises(InputError, match=f"`features.{name}` must be"):
        RecallConfig().override([f"features.{setting}"])
