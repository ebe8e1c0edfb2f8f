"""Files with a list of items for each user: Parquet with lists, JSON lines."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.list_files import LISTS_SCHEMA, ListFile
from recall.errors import InputError

JSON = '{"user_id": "b", "history": ["x", "y"]}\n{"user_id": 7, "history": [12]}\n\n'


def read(path, max_rows=100, columns=("user_id", "history")):
    """User, history of each row; every table has the schema."""
    tables = list(ListFile(str(path), *columns).read(max_rows))
    assert all(table.schema == LISTS_SCHEMA for table in tables)
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


def write(path, users, histories, **settings):
    pq.write_table(pa.table({"user_id": users, "history": histories}), path, **settings)
    return path


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (pa.list_(pa.string()), ["x", "y"]),
        (pa.large_list(pa.large_string()), ["x", "y"]),
        (pa.list_(pa.dictionary(pa.int32(), pa.string())), ["x", "y"]),
        (pa.list_(pa.int64()), [12, 5]),
        (pa.list_(pa.string(), 2), ["x", "y"]),
    ],
)
def test_lists_of_every_kind(tmp_path, kind, first):
    # Arrow reads no missing lists of a fixed size from Parquet.
    without = [] if pa.types.is_fixed_size_list(kind) else [None]
    histories = pa.array([first, *without, first], kind)
    path = write(tmp_path / "a.parquet", [3, *[1 for _ in without], 3], histories)
    texts = [str(one) for one in first]
    # In the order of the file, a user as often as it is there; without a list: nothing clicked.
    assert read(path) == [("3", texts), *[("1", []) for _ in without], ("3", texts)]


def test_rows_come_some_at_a_time(tmp_path):
    histories = [[f"i{n}"] * (n % 3) for n in range(50)]
    path = write(tmp_path / "a.parquet", [f"u{n}" for n in range(50)], histories, row_group_size=7)
    tables = list(ListFile(str(path), "user_id", "history").read(10))
    assert max(table.num_rows for table in tables) < 20
    assert read(path) == [(f"u{n}", histories[n]) for n in range(50)]


def test_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(JSON + '{"history": null, "more": 1.5, "user_id": "ü"}')
    assert read(path, max_rows=2) == [("b", ["x", "y"]), ("7", ["12"]), ("ü", [])]
    packed = tmp_path / "A.NDJSON.gz"
    packed.write_bytes(gzip.compress(JSON.encode()))
    assert read(packed) == [("b", ["x", "y"]), ("7", ["12"])]


def test_long_lines_and_other_names(tmp_path):
    path = tmp_path / "a.jsonl"
    ids = [f"item-{n}" for n in range(200_000)]  # 2.4 MB: more than is read at once.
    line = f'{{"who": "u", "clicks": {ids}}}\n'.replace("'", '"')
    path.write_text(line * 2)
    assert read(path, columns=("who", "clicks")) == [("u", ids), ("u", ids)]


def test_a_folder_and_a_pattern(tmp_path):
    for name in ("2.jsonl", "1.jsonl", ".hidden.jsonl", "notes.md"):
        (tmp_path / name).write_text(f'{{"user_id": "{name}", "history": []}}\n')
    assert [user for user, _ in read(tmp_path)] == ["1.jsonl", "2.jsonl"]
    assert [user for user, _ in read(tmp_path / "[2-9].jsonl")] == ["2.jsonl"]
    write(tmp_path / "b.parquet", ["u"], [["x"]])
    assert read(tmp_path / "*.parquet") == [("u", ["x"])]
    with pytest.raises(InputError, match=r"holds JSON lines and tables\. Name one kind by a pat"):
        read(tmp_path)


def test_from_a_store(s3, bucket):
    s3.put(f"{bucket}/x/a.jsonl", JSON.encode())
    for place in (f"{bucket}/x/a.jsonl", f"{bucket}/x", f"{bucket}/*/*.jsonl"):
        assert read(place) == [("b", ["x", "y"]), ("7", ["12"])]
    first = ListFile(f"{bucket}/x", "user_id", "history").fingerprint()
    s3.put(f"{bucket}/x/a.jsonl", JSON.encode() * 2)
    assert ListFile(f"{bucket}/x", "user_id", "history").fingerprint() != first


def test_the_fingerprint_follows_content_and_columns(tmp_path):
    path = tmp_path / "a.jsonl"
    found = set()
    for text, column in ((JSON, "history"), (JSON, "other"), (JSON * 2, "history")):
        path.write_text(text)
        found.add(ListFile(str(path), "user_id", column).fingerprint())
    assert len(found) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"user_id": "a", "history": [1.5]}', "Line 1 of .*: 'history' holds 1.5; ids are texts"),
        ('{"user_id": "a", "history": [true]}', "'history' holds true; ids are texts or whole"),
        ('{"user_id": "a", "history": [["x"]]}', "'history' holds \\[\"x\"\\]; ids"),
        ('\n{"user_id": "a", "history": "x"}', "Line 2 of .*: 'history' is no list of item ids"),
        ('{"user_id": "a", "history": ["x", ""]}', "Line 1 of .*: 'history' has an empty item id"),
        ('{"user_id": "a", "history": [null]}', "Line 1 of .*: 'history' has an empty item id"),
        ('{"user_id": " ", "history": []}', "Line 1 of .*: 'user_id' is empty"),
        ('{"user_id": null, "history": []}', "Line 1 of .*: 'user_id' is empty"),
        ('{"user_id": "a"}', "Line 1 of .* is no object with the keys 'user_id' and 'history'"),
        ("[1]", "Line 1 of .* is no object with the keys"),
        ("{", "Line 1 of .* is no JSON: "),
        ("[" * 100_000, "Line 1 of .* is no JSON"),
        (b'{"user_id": "\xff", "history": []}', "Line 1 of .* is no JSON: .*decode"),
    ],
)
def test_what_is_wrong_in_json_is_one_line(tmp_path, text, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("users", "histories", "message"),
    [
        (["a"], ["x y"], r"'history' has the type string; lists of item ids are wanted"),
        (["a"], [[1.5]], r"'history' has the type double; text or whole numbers are wanted"),
        (["a", "b"], [["x"], ["y", None]], r"Data row 2 of .*: 'history' has an empty item id"),
        (["a", "b", "c"], [[], ["y"], [" "]], r"Data row 3 of .*: 'history' has an empty item"),
        (["a", None], [["x"], ["y"]], r"Data row 2 of .*: 'user_id' is empty"),
    ],
)
def test_what_is_wrong_in_parquet_is_one_line(tmp_path, users, histories, message):
    path = write(tmp_path / "a.parquet", users, histories)
    with pytest.raises(InputError, match=message):
        read(path)


def test_files_without_lists(tmp_path):
    (tmp_path / "a.csv").write_text("user_id,history\nu,x\n")
    with pytest.raises(InputError, match=r"a\.csv has no lists of item ids\. Give Parquet"):
        read(tmp_path / "a.csv")
    path = write(tmp_path / "a.parquet", ["a"], [["x"]])
    with pytest.raises(InputError, match=r"lacks the column 'clicks'; its columns are: 'user_id'"):
        read(path, columns=("user_id", "clicks"))
    with pytest.raises(InputError, match=r"none\.jsonl does not exist"):
        read(tmp_path / "none.jsonl")
