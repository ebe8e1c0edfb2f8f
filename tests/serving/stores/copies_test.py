"""Copies into a store and out of it, and what is left of those that fail."""

import hashlib
import io

import pytest

from recall.errors import InputError
from serving.stores import copies, files


def test_there_and_back(s3, bucket, tmp_path):
    content = bytes(range(256)) * (12 << 12)  # 12 MiB: more than one part of an upload.
    (tmp_path / "large").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    assert copies.upload(tmp_path / "large", f"{bucket}/x/large") == digest
    assert s3.get(f"{bucket}/x/large") == content
    assert copies.download(f"{bucket}/x/large", tmp_path / "again") == digest
    assert (tmp_path / "again").read_bytes() == content


@pytest.mark.parametrize("name", ["a.gz", "a.bz2", "a.zst", "a.lz4"])
def test_the_bytes_stay_as_they_are(s3, bucket, tmp_path, name):
    (tmp_path / name).write_bytes(b"not compressed " * 99)
    copies.upload(tmp_path / name, f"{bucket}/{name}")
    files.write_bytes(f"{bucket}/too-{name}", b"nor this " * 99)
    assert s3.get(f"{bucket}/{name}") == b"not compressed " * 99
    assert s3.get(f"{bucket}/too-{name}") == files.read_bytes(f"{bucket}/too-{name}")
    assert s3.get(f"{bucket}/too-{name}") == b"nor this " * 99
    copies.download(f"{bucket}/{name}", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"not compressed " * 99


def test_a_file_that_cannot_be_read_to_its_end_is_not_in_the_store(s3, bucket, tmp_path):
    s3.put(f"{bucket}/a", b"old")
    (tmp_path / "a").write_bytes(b"new")

    class Failing(io.BytesIO):
        name = "a"

        def read(self, size: int = -1) -> bytes:
            if content := super().read(1):
                return content
            raise OSError(5, "Input/output error")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.open", lambda *_: Failing(b"new"))
        with pytest.raises(InputError, match=r"^Cannot read a: Input/output error\.$"):
            copies.upload(tmp_path / "a", f"{bucket}/b")
    assert s3.keys(bucket) == ["a"]


def test_a_disk_that_is_full(s3, bucket):
    s3.put(f"{bucket}/a", b"a")
    with pytest.raises(InputError, match=r"^Cannot write /dev/full: No space left on device\.$"):
        copies.download(f"{bucket}/a", "/dev/full")


class Interrupted(io.BytesIO):
    """A file that a person does not wait for, after the first chunk of several."""

    name = "a"

    def read(self, size: int = -1) -> bytes:
        if self.tell():
            raise KeyboardInterrupt
        return super().read(size)


def test_a_file_is_there_until_the_new_one_is(s3, bucket, tmp_path, monkeypatch):
    s3.put(f"{bucket}/x/a", b"old")
    content = b"new" * (4 << 20)  # More than one part of an upload.
    (tmp_path / "a").write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", lambda *_: Interrupted(content))
        with pytest.raises(KeyboardInterrupt):
            copies.replace(tmp_path / "a", f"{bucket}/x/a")
    assert s3.get(f"{bucket}/x/a") == b"old"
    assert s3.keys(bucket) == ["x/a"]
    copies.replace(tmp_path / "a", f"{bucket}/x/a")
    assert s3.get(f"{bucket}/x/a") == content
    assert s3.keys(bucket) == ["x/a"]
    copies.replace(tmp_path / "a", f"{bucket}/top")
    assert s3.keys(bucket) == ["top", "x/a"]


def test_a_file_that_the_store_does_not_rename_leaves_nothing(s3, bucket, tmp_path, monkeypatch):
    s3.put(f"{bucket}/a", b"old")
    (tmp_path / "a").write_bytes(b"new")

    def refuse(source, target):
        assert s3.get(source) == b"new"
        raise InputError(f"Cannot write {target}: refused.")

    monkeypatch.setattr(files, "move_file", refuse)
    with pytest.raises(InputError, match=r"/a: refused\.$"):
        copies.replace(tmp_path / "a", f"{bucket}/a")
    assert (s3.keys(bucket), s3.get(f"{bucket}/a")) == (["a"], b"old")


def test_a_file_that_s3_could_not_rename_goes_to_its_name(s3, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "_LARGEST_MOVE_BYTES", 2)
    monkeypatch.setattr(files, "move_file", None)
    (tmp_path / "a").write_bytes(b"new")
    copies.replace(tmp_path / "a", f"{bucket}/a")
    assert s3.get(f"{bucket}/a") == b"new"
