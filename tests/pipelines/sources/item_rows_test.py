"""Features of the items file in ingest: rows of the vocabulary, cold and unclicked items."""

import json

import pytest

from pipelines.artifacts import item_attributes, records
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from recall.config import RecallConfig
from recall.errors import InputError

COLUMNS = [
    {"name": "categories", "owner": "item", "kind": "categorical", "max_values": 2},
    {"name": "price", "owner": "item", "kind": "numeric"},
    {"name": "words", "owner": "item", "kind": "text", "column": "title", "hash_buckets": 9},
]
ITEMS = (
    "item_id,category,title,price\n"
    "b,red|blue,Blue hat,2\nnew,red,Red hat,\na,red,,4\nc,green,,\nd,blue,,1\n"
)


def make(tmp_path, *settings, columns=COLUMNS, items=ITEMS):
    log, file = tmp_path / "log.csv", tmp_path / "items.csv"
    lines = [f"{user},{item},{at}" for user in "uvw" for at, item in enumerate("abacd")]
    log.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    file.write_text(items)
    config = RecallConfig().override(
        ["ingest.num_shards=1", f"features.columns={json.dumps(columns)}", *settings]
    )
    report = ingest.run_ingest(
        open_events(str(log)), str(file), tmp_path / "examples", config, overwrite=True
    )
    return report, records.read_vocabulary(tmp_path / "examples")


def test_every_item_has_its_values_also_those_that_nobody_clicked(tmp_path):
    report, vocabulary = make(tmp_path)

    # a and b twice each... a is clicked most in training (abac -> a, b, a), c is for validation.
    assert vocabulary.item_ids == ("a", "b", "c", "d", "new")
    assert vocabulary.counts.tolist() == [6, 3, 0, 0, 0]
    table = vocabulary.features.table
    assert table["price"].to_pylist() == [4.0, 2.0, None, 1.0, None]
    assert table["categories"].to_pylist() == [
        ["red"],
        ["red", "blue"],
        ["green"],
        ["blue"],
        ["red"],
    ]
    assert table["words"].to_pylist() == ["", "Blue hat", "", "", "Red hat"]
    # Of a and b alone anything is learnt: red is on two of them.
    categories, price, _ = vocabulary.features.columns
    assert categories.values == ("red",)
    assert (price.mean, price.stddev) == (3.0, 1.0)
    found = report["item_features"]
    assert found["unclicked_items"] == 1
    assert found["columns"]["categories"] == {
        "kind": "categorical",
        "num_missing": 0,
        "num_values": 6,
        "num_unknown": 3,
    }
    (warning,) = (line for line in report["lines"] if "outside of the vocabulary" in line)
    assert warning.startswith("Warning: 50.0% of the values of the item feature 'categories'")


def test_cold_items_are_targets_and_nothing_else(tmp_path):
    report, vocabulary = make(tmp_path, 'ingest.cold_items=["b"]', "ingest.min_user_events=2")

    assert dict(zip(vocabulary.item_ids, vocabulary.counts, strict=True))["b"] == 0
    assert report["dropped"]["cold_items"]["events"] == 3
    assert report["dropped"]["cold_items"]["items"] == 1
    _, vocabulary = make(tmp_path, 'ingest.cold_items=["d"]')
    assert report["kept"]["events"] == 12
    assert vocabulary.counts.tolist() == [6, 3, 0, 0, 0]


def test_a_share_of_the_items_is_chosen_by_their_ids(tmp_path):
    _, vocabulary = make(tmp_path, "ingest.cold_item_share=0.5")
    # CRC-32 by 2^32: a .91, b .44, c .02, d .60.
    assert vocabulary.item_ids[0] == "a"
    assert vocabulary.counts.tolist() == [6, 0, 0, 0, 0]
    with pytest.raises(InputError, match="names 'zebra', which is no item of the log"):
        make(tmp_path, 'ingest.cold_items=["zebra"]')


@pytest.mark.parametrize(
    ("settings", "columns", "items", "wanted"),
    [
        ([], COLUMNS, "item_id,category,title\na,,\n", "lacks the column 'price'"),
        ([], COLUMNS[1:2], "item_id,price\nz,1\n", "features features.columns declares"),
        ([], COLUMNS[1:2], "item_id,price\na,cheap\n", "Data row 1 .*'cheap'"),
    ],
)
def test_mistakes_are_one_line(tmp_path, settings, columns, items, wanted):
    with pytest.raises(InputError, match=wanted) as info:
        make(tmp_path, *settings, columns=columns, items=items)
    assert "\n" not in str(info.value)


def test_a_file_needs_no_categories_where_features_are_declared(tmp_path):
    _, vocabulary = make(tmp_path, columns=COLUMNS[1:2], items="item_id,price\na,1\nb,3\n")
    assert vocabulary.categories[:2] == ((), ())
    assert vocabulary.features.table["price"].to_pylist()[:2] == [1.0, 3.0]


def test_features_without_an_items_file_are_refused(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\nu,a,1\nv,b,2\n")
    config = RecallConfig().override([f"features.columns={json.dumps(COLUMNS)}"])
    with pytest.raises(InputError, match="there is no items file"):
        ingest.run_ingest(open_events(str(log)), None, tmp_path / "examples", config)


ATTRIBUTES = [
    {"name": "shop"},
    {"name": "available_until", "kind": "time", "column": "until"},
]


def test_attributes_are_kept_beside_the_vocabulary_and_reach_the_index(tmp_path):
    items = "item_id,price,shop,until\nb,2,north|south,2024-01-02\nnew,3,,86400\na,1,east,\n"
    settings = f"features.attributes={json.dumps(ATTRIBUTES)}"
    _, vocabulary = make(tmp_path, settings, columns=COLUMNS[1:2], items=items)
    assert vocabulary.item_ids == ("a", "b", "c", "d", "new")
    bundled = vocabulary.take([4, 1, 0])
    kept = item_attributes.of_bundle(tmp_path / "examples", vocabulary, bundled)
    assert [(a.name, a.kind) for a in kept.declared.values()] == [
        ("price", "numeric"),
        ("shop", "categorical"),
        ("available_until", "time"),
    ]
    assert [kept.values_of(row) for row in range(3)] == [
        {"price": 3.0, "available_until": 86400.0},
        {"price": 2.0, "shop": ["north", "south"], "available_until": 1704153600.0},
        {"price": 1.0, "shop": ["east"]},
    ]


def test_attributes_alone_add_no_items_and_need_a_file(tmp_path):
    settings = f"features.attributes={json.dumps(ATTRIBUTES[:1])}"
    _, vocabulary = make(tmp_path, settings, columns=(), items="item_id,shop\na,x\nnew,y\n")
    assert vocabulary.item_ids == ("a", "b", "c", "d")
    assert vocabulary.features is None
    kept = item_attributes.of_bundle(tmp_path / "examples", vocabulary, vocabulary)
    assert kept.table["shop"].to_pylist() == [["x"], None, None, None]
    with pytest.raises(InputError, match=r"attributes features\.attributes declares"):
        make(tmp_path, settings, columns=(), items="item_id,shop\nz,x\n")
    until = f"features.attributes={json.dumps(ATTRIBUTES[1:])}"
    with pytest.raises(InputError, match=r"Data row 1 .*'soon', which is no time"):
        make(tmp_path, until, columns=(), items="item_id,until\na,soon\n")
