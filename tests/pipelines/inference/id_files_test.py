"""Files that name users or items."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inference.id_files import IdFile
from recall.errors import InputError


def test_distinct_ids_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "users.csv"
    path.write_text("age,user_id\n3,b\n4,a\n5,b\n")
    assert IdFile(str(path), "user_id").read().to_pylist() == ["b", "a"]


def test_whole_numbers_are_their_digits(tmp_path):
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": [7, 12]}), path)
    assert IdFile(str(path), "item_id").read().to_pylist() == ["7", "12"]


def test_the_fingerprint_follows_the_content(tmp_path):
    path = tmp_path / "users.csv"
    found = set()
    for text in ("user_id\na\n", "user_id\nb\n"):
        path.write_text(text)
        found.add(IdFile(str(path), "user_id").fingerprint())
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\na\n", "lacks the column 'user_id'"),
        ("user_id\n", "names nobody: it has no rows"),
        ("user_id,x\na,1\n,2\n", "Data row 2 of .*: column 'user_id' is empty"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, message):
    path = tmp_path / "users.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        IdFile(str(path), "user_id").read()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        IdFile(str(tmp_path / "none.csv"), "user_id").read()
