"""The door to files, beside a real S3 server and a local folder."""

import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recall.errors import InputError
from serving.stores import copies, files
from serving.stores.failures import MissingError, StoreAwayError

NAMES = ("a.csv", "b c+%20ä.csv", "day=1/a.csv", "day=1/x/[1].csv", "day=2/a.tsv")


@pytest.fixture(params=["s3", "local"])
def folder(request, tmp_path):
    """A folder with `NAMES`, each holding its own name, in a store or here."""
    if request.param == "local":
        for name in NAMES:
            path = tmp_path / "logs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8")
        return str(tmp_path / "logs")
    bucket = request.getfixturevalue("bucket")
    s3 = request.getfixturevalue("s3")
    for name in NAMES:
        s3.put(f"{bucket}/logs/{name}", name.encode())
    s3.put(f"{bucket}/logs/empty/", b"")  # What a console makes of "new folder".
    s3.put(f"{bucket}/logs2/other.csv", b"other")
    return f"{bucket}/logs"


def test_listing(folder):
    found = files.list_files(folder)
    assert [file.place for file in found] == [f"{folder}/{name}" for name in sorted(NAMES)]
    assert [file.size for file in found] == [len(name.encode()) for name in sorted(NAMES)]
    assert all(file.changed_ns > 1_600_000_000 * 10**9 for file in found)
    assert set(files.list_names(folder)) - {"empty"} == {
        "a.csv",
        "b c+%20ä.csv",
        "day=1",
        "day=2",
    }
    assert files.list_files(f"{folder}/none") == files.list_names(f"{folder}/none") == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["a.csv", "b c+%20ä.csv"]),
        ("day=*/a.*", ["day=1/a.csv", "day=2/a.tsv"]),
        ("day=[!1]/a.?sv", ["day=2/a.tsv"]),
        ("**/*.csv", ["a.csv", "b c+%20ä.csv", "day=1/a.csv", "day=1/x/[1].csv"]),
        ("day=1/**", ["day=1/a.csv", "day=1/x/[1].csv"]),
        ("b c+%20?.csv", ["b c+%20ä.csv"]),
        ("x*", []),
    ],
)
def test_files_of_a_pattern(folder, pattern, found):
    places = [file.place for file in files.find_files(f"{folder}/{pattern}")]
    assert places == [f"{folder}/{name}" for name in found]


def test_one_file(folder):
    found = files.look_at(f"{folder}/b c+%20ä.csv")
    assert (found.place, found.size) == (f"{folder}/b c+%20ä.csv", 13)
    assert files.look_at(f"{folder}/day=1") is None
    assert files.look_at(f"{folder}/none") is None
    assert files.is_folder(f"{folder}/day=1")
    assert not files.is_folder(f"{folder}/a.csv")
    assert not files.is_folder(f"{folder}/none")


def test_ranges_of_bytes(folder):
    with files.open_input_file(f"{folder}/day=1/x/[1].csv") as file:
        assert file.size() == 15
        assert file.read_at(3, 6) == b"x/["
        file.seek(8)
        assert file.read(3) == b"[1]"
        assert file.read() == b".csv"
    with files.open_input_stream(f"{folder}/a.csv") as file:
        assert file.read() == b"a.csv"


def test_row_groups_of_parquet(bucket, tmp_path):
    table = pa.table({"user_id": list(range(1000))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=300)
    copies.upload(tmp_path / "a.parquet", f"{bucket}/a.parquet")
    with files.open_input_file(f"{bucket}/a.parquet") as file:
        parquet = pq.ParquetFile(file)
        assert parquet.num_row_groups == 4
        assert parquet.read_row_group(3)["user_id"].to_pylist() == list(range(900, 1000))


def test_what_says_that_a_file_has_changed(s3, bucket):
    s3.put(f"{bucket}/a", b"one")
    first = files.identity(files.look_at(f"{bucket}/a"))
    s3.put(f"{bucket}/a", b"one")
    assert files.identity(files.look_at(f"{bucket}/a")) == first
    s3.put(f"{bucket}/a", b"two")
    assert files.identity(files.look_at(f"{bucket}/a")) != first


def test_writing_and_removing(s3, bucket):
    files.write_bytes(f"{bucket}/x/a b.json", b"{}")
    assert s3.get(f"{bucket}/x/a b.json") == files.read_bytes(f"{bucket}/x/a b.json") == b"{}"
    s3.put(f"{bucket}/x/large", b"large")
    files.remove_files([f"{bucket}/x/large", f"{bucket}/x/none"])
    assert s3.keys(bucket) == ["x/a b.json"]
    files.remove_folder(f"{bucket}/x")
    files.remove_folder(f"{bucket}/none")
    assert s3.keys(bucket) == []
    assert files.list_names(bucket) == []


def test_a_bucket_that_is_not_there(s3, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    endpoint = f"AWS_ENDPOINT_URL={s3.url}"
    for action, doing in (
        (lambda: files.list_files("s3://no-such-bucket"), "list s3://no-such-bucket"),
        (lambda: files.write_bytes("s3://no-such-bucket/a", b""), "write s3://no-such-bucket/a"),
        (lambda: copies.upload(tmp_path / "a", "s3://no-such-bucket/a"), "write s3://no-such-bu"),
    ):
        with pytest.raises(MissingError) as caught:
            action()
        assert str(caught.value).startswith(f"Cannot {doing}")
        assert str(caught.value).endswith(
            f": there is no bucket 'no-such-bucket'. Check the name and {endpoint}, or make the "
            "bucket first."
        )


def test_a_file_that_is_not_there(folder, tmp_path):
    for action in (
        files.open_input_file,
        files.open_input_stream,
        files.read_bytes,
        lambda place: copies.download(place, tmp_path / "x"),
    ):
        with pytest.raises(MissingError, match=r"none does not exist\. Check the "):
            action(f"{folder}/none")


def test_a_store_that_is_away(s3, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setattr("serving.stores.filesystems._RETRIES", 0)
    with pytest.raises(StoreAwayError) as caught:
        files.read_bytes("s3://bucket/a")
    text = str(caught.value)
    assert text.startswith("Cannot read s3://bucket/a: the store does not answer (")
    assert text.endswith(f"). Check the network and AWS_ENDPOINT_URL={endpoint}, and try again.")
    assert "\n" not in text


def test_an_endpoint_that_is_no_url(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000")
    with pytest.raises(InputError, match=r"^AWS_ENDPOINT_URL=127\.0\.0\.1:9000 must begin with"):
        files.read_bytes("s3://bucket/a")


def test_credentials_that_are_not_there_or_wrong(s3, bucket, monkeypatch, tmp_path):
    monkeypatch.setattr("serving.stores.filesystems._RETRIES", 0)  # Each looks for some.
    s3.put(f"{bucket}/a", b"a")
    with s3.asking_for_signatures():
        with pytest.raises(InputError) as wrong:
            files.read_bytes(f"{bucket}/a")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url + "/")  # Other settings: a new client.
        with pytest.raises(InputError) as missing:
            files.read_bytes(f"{bucket}/a")
    assert str(wrong.value) == (
        f"Cannot read {bucket}/a: access denied. The credentials must be valid and may read there "
        "(s3:GetObject). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give "
        "the machine a role."
    )
    assert str(missing.value) == (
        f"Cannot read {bucket}/a: access denied, and the environment has no credentials. Set "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role."
    )
