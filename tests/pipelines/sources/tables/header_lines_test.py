"""Headers of files whose columns the user names all the same."""

import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.events import EventColumns
from pipelines.sources.items import ItemColumns, read_items
from pipelines.sources.tables.header_lines import is_header
from pipelines.sources.tables.text_format import TextOptions


@pytest.mark.parametrize(
    ("fields", "later", "expected"),
    [
        (["userId", "movieId", "rated"], [], True),
        (["USER", "ITEM", "WHEN"], [], True),
        (["who", "what", "when"], [["u1", "a", "17"], ["u2", "b", "18.5"]], True),
        (["who", "what", "when"], [["u1", "a", "17"], ["u2", "b", "late"]], False),
        (["who", "what", "when"], [], False),
        (["userId", "movieId", "3"], [], False),
        (["AX", "B00A", "2023-11-14"], [["AY", "0001234567", "2023-11-15"]], False),
        (["u1", "a", "17"], [["u2", "b", "18"]], False),
    ],
)
def test_is_header(fields, later, expected):
    assert is_header(fields, ["user", "item", "when"], later) == expected


@pytest.mark.parametrize(
    "header", ["movieId,title,genres", "movieId:token,title:token,genres:token"]
)
def test_the_header_of_an_items_file_is_no_item(tmp_path, caplog, header):
    path = tmp_path / "movies.csv"
    path.write_text(header + "\n1,Heat,Crime|Thriller\n2,Alien,Horror\n")
    options = TextOptions(("item_id", "title", "category"), prefix="items_")
    assert read_items(str(path), ItemColumns(), options).to_pydict() == {
        "item_id": ["1", "2"],
        "categories": [["Crime", "Thriller"], ["Horror"]],
        "title": ["Heat", "Alien"],
    }
    (record,) = caplog.records
    assert "movies.csv has a header after all" in record.getMessage()
    assert "--items_columns" in record.getMessage()
    path.write_text("Heat,Heat,Crime\nAlien,Alien,Horror\n")
    assert read_items(str(path), ItemColumns(), options)["item_id"].to_pylist() == ["Heat", "Alien"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_header_of_a_log_is_no_event(tmp_path, caplog, encoding):
    (tmp_path / "log.csv").write_bytes("visitor,thing\n7,12\n8,13\n".encode(encoding))
    source = open_events(
        str(tmp_path / "log.csv"),
        EventColumns(timestamp="none"),
        text=TextOptions(("user_id", "item_id")),
    )
    (batch,) = source.read_batches()
    assert batch["user_id"].to_pylist() == ["7", "8"]
    assert batch["row"].to_pylist() == [0, 1]
    assert "'visitor', 'thing'" in caplog.text
