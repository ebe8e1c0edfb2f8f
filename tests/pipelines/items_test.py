"""Items files: categories, titles, and what is refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.items import ITEM_SCHEMA, ItemColumns, read_items
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


def test_a_missing_file_or_title_column(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_items(str(tmp_path / "items.csv"))
    path = write(tmp_path / "items.csv", "item_id,category\na,x\n")
    with pytest.raises(InputError, match="'name'"):
        read_items(path, ItemColumns(title="name"))
