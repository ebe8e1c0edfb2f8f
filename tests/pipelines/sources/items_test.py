"""Items files: categories, titles, and what is refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.commands.shared import flags, table_flags
from pipelines.commands.table import COMMANDS
from pipelines.sources.items import ITEM_SCHEMA, ItemColumns, ItemsFile, read_items
from recall.errors import InputError


def write(path, text):
    path.write_text(text)
    return str(path)


def test_csv(tmp_path):
    text = (
        "title,item_id,category,year\n"
        "Alien,a, Horror |Sci-Fi|Horror,1979\n"
        '"Up, again",b,Family,2009\n'
        ",c,,1990\n"
        '"Two\nlines",d,| |,1991\n'
    )
    table = read_items(write(tmp_path / "items.csv", text))
    assert table.schema == ITEM_SCHEMA
    assert table.to_pylist() == [
        {"item_id": "a", "categories": ["Horror", "Sci-Fi"], "title": "Alien"},
        {"item_id": "b", "categories": ["Family"], "title": "Up, again"},
        {"item_id": "c", "categories": [], "title": ""},
        {"item_id": "d", "categories": [], "title": "Two\nlines"},
    ]


def test_parquet_with_numbers_lists_and_nulls(tmp_path):
    lists = pa.array([["x", "y", "x"], None, []], pa.list_(pa.string()))
    pq.write_table(pa.table({"item_id": [3, 1, 2], "category": lists}), tmp_path / "i.parquet")
    assert read_items(str(tmp_path / "i.parquet")).to_pylist() == [
        {"item_id": "3", "categories": ["x", "y"], "title": ""},
        {"item_id": "1", "categories": [], "title": ""},
        {"item_id": "2", "categories": [], "title": ""},
    ]
    table = pa.table({"item_id": ["a", "b"], "category": [7, None], "title": ["A", None]})
    pq.write_table(table, tmp_path / "i.parquet")
    assert read_items(str(tmp_path / "i.parquet")).to_pylist() == [
        {"item_id": "a", "categories": ["7"], "title": "A"},
        {"item_id": "b", "categories": [], "title": ""},
    ]


def test_column_names(tmp_path):
    path = write(tmp_path / "items.csv", "id,genre,name\na,x|y,A\n")
    assert read_items(path, ItemColumns("id", "genre", "name")).to_pylist() == [
        {"item_id": "a", "categories": ["x", "y"], "title": "A"}
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("item_id,title\na,A\n", ("'category'", "'item_id', 'title'", "--items_category_column")),
        ("item_id,category\na,x\nb,y\na,z\n", ("Data row 3", "'a'", "data row 1")),
        ("item_id,category\na,x\n,y\n", ("Data row 2", "'item_id'", "empty")),
        ("item_id,category\na,x\nb\n", ("Data row 2", "1 field instead of 2")),
        ("item_id,category\n", ("has no items",)),
        ("", ("is empty",)),
    ],
)
def test_refusals(tmp_path, text, parts):
    path = write(tmp_path / "items.csv", text)
    with pytest.raises(InputError) as info:
        read_items(path)
    for part in (path, *parts):
        assert part in str(info.value)


def test_several_category_columns(tmp_path):
    text = "item_id,main,sub,sold\na,x,y|x,1\nb,,z,0\n"
    path = write(tmp_path / "items.csv", text)
    columns = ItemColumns(category="main,sub")
    assert read_items(path, columns)["categories"].to_pylist() == [["x", "y"], ["z"]]
    text = "item_id,red,blue\na,1,0\nb,1,1\nc,0,0\n"
    path = write(tmp_path / "items.csv", text)
    columns = ItemColumns(category="red,blue")
    assert read_items(path, columns)["categories"].to_pylist() == [["red"], ["red", "blue"], []]
    path = write(tmp_path / "items.csv", text + "d,0,2\n")
    assert read_items(path, columns)["categories"].to_pylist()[3] == ["0", "2"]


def test_the_separator_of_categories(tmp_path):
    path = write(tmp_path / "items.csv", 'item_id,category\na,"x, y|z"\n')
    assert read_items(path, ItemColumns(separator=","))["categories"].to_pylist() == [["x", "y|z"]]


def test_flags_are_the_same_for_every_command(tmp_path):
    path = write(tmp_path / "shop.txt", "1;A;red/blue\n2;B;\n")
    expected = [
        {"item_id": "1", "categories": ["red", "blue"], "title": "A"},
        {"item_id": "2", "categories": [], "title": "B"},
    ]
    for command in ("run", "ingest", "items"):
        values = flags.define(COMMANDS[command].COMMAND)
        values(
            [
                "recall",
                "--items_columns=sku,name,colour",
                "--items_id_column=sku",
                "--items_category_column=colour",
                "--items_title_column=name",
                "--items_category_separator=/",
            ]
        )
        file = table_flags.read_items_file(values, path)
        assert file.read().to_pylist() == expected
        assert file.fingerprint() != ItemsFile(path).fingerprint()
        values["items_category_separator"].value = ""
        with pytest.raises(InputError, match="--items_category_separator"):
            table_flags.read_items_file(values, path)


def test_a_column_that_is_called_categories(tmp_path):
    """It is read without a flag, as `recall features` proposes it; `category` goes first."""
    path = write(tmp_path / "many.csv", "item_id,categories\na,x|y\n")
    assert read_items(path)["categories"].to_pylist() == [["x", "y"]]
    path = write(tmp_path / "both.csv", "item_id,categories,category\na,x|y,z\n")
    assert read_items(path)["categories"].to_pylist() == [["z"]]
    with pytest.raises(InputError, match="lacks the column 'colour'"):
        read_items(path, ItemColumns(category="colour"))


def test_a_missing_file_or_title_column(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_items(str(tmp_path / "items.csv"))
    path = write(tmp_path / "items.csv", "item_id,category\na,x\n")
    with pytest.raises(InputError, match="'name'"):
        read_items(path, ItemColumns(title="name"))
