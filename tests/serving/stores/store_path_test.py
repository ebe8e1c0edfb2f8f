"""Files of a store as readers of tables use paths."""

import io
import pickle
from pathlib import Path, PurePosixPath

import pytest

from serving.stores import files, store_path
from serving.stores.failures import MissingError
from serving.stores.store_path import StorePath

URL = "s3://bucket/log/day=1/a.b.csv.gz"


def test_names():
    path = StorePath(URL)
    assert (path.name, path.suffix, path.suffixes) == (
        "a.b.csv.gz",
        ".gz",
        [".b", ".csv", ".gz"],
    )
    assert path.relative_to(StorePath("s3://bucket/log")) == PurePosixPath("day=1/a.b.csv.gz")
    assert not path.is_relative_to(StorePath("s3://bucket/lo"))
    assert not path.is_relative_to(Path("/log"))
    with pytest.raises(ValueError, match="is not in s3://other"):
        path.relative_to(StorePath("s3://other"))
    assert sorted([StorePath("s3://b/b"), StorePath("s3://b/a")])[0].name == "a"
    assert pickle.loads(pickle.dumps(path)) == path
    assert not path.exists()


def test_what_a_listing_said(s3, bucket):
    s3.put(f"{bucket}/a", b"12345")
    path = StorePath(f"{bucket}/a", files.look_at(f"{bucket}/a"))
    assert path.exists()
    assert path.is_file()
    assert path.stat().st_size == 5


@pytest.fixture
def content():
    return bytes(range(256)) * 4096  # 1 MiB.


@pytest.fixture
def opened(s3, bucket, content, tmp_path):
    """The same bytes in a store and here."""
    s3.put(f"{bucket}/a", content)
    (tmp_path / "a").write_bytes(content)
    with (
        store_path.open_binary(StorePath(f"{bucket}/a")) as there,
        store_path.open_binary(tmp_path / "a") as here,
    ):
        yield there, here


def test_reads_are_those_of_a_local_file(opened):
    for file in opened:
        assert isinstance(file, io.BufferedReader)
    there, here = opened
    for act in (
        lambda file: file.peek(4)[:4],
        lambda file: file.read(10),
        lambda file: file.readline(),
        lambda file: file.seek(1_000_000),
        lambda file: file.read(300_000),
        lambda file: file.tell(),
        lambda file: file.read(),
        lambda file: file.seek(-5, io.SEEK_END),
        lambda file: file.read(100),
        lambda file: file.seek(2_000_000),
        lambda file: file.read(1),
        lambda file: file.seek(0),
        lambda file: file.read(),
    ):
        assert act(there) == act(here)


def test_a_header_costs_one_small_read(opened, monkeypatch):
    there, _ = opened
    there.peek(1)
    assert there.raw.tell() == 1 << 16
    there.read(1 << 17)
    assert there.raw.tell() == (1 << 16) + (1 << 17)  # Twice as much the second time.


def test_a_file_that_has_gone(bucket):
    with pytest.raises(MissingError, match=r"/none does not exist\."):
        store_path.open_binary(StorePath(f"{bucket}/none"))
