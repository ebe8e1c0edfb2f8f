import json

import pytest

from recall.errors import InputError
from serving.release import storage


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_json_round_trip(tmp_path):
    storage.write_json(tmp_path / "a.json", {"ž": [1, 2.5, None]})
    assert storage.read_json(tmp_path / "a.json") == {"ž": [1, 2.5, None]}
    assert names(tmp_path) == ["a.json"]


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    storage.write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        storage.write_json(tmp_path / "a.json", object())
    assert json.loads((tmp_path / "a.json").read_text()) == 1
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_damaged_json(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json is not valid JSON"):
        storage.read_json(tmp_path / "a.json")


def test_missing_json(tmp_path):
    with pytest.raises(InputError, match=r"Cannot read .*a\.json: No such file"):
        storage.read_json(tmp_path / "a.json")


def test_checksums_of_a_tree(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"abc")
    (tmp_path / "a").write_bytes(b"")
    # As published by NIST.
    assert storage.sha256_of_tree(tmp_path) == {
        "a": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "b/c": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_checksum_of_more_than_one_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_CHUNK_BYTES", 2)
    (tmp_path / "a").write_bytes(b"abc")
    assert storage.sha256_of_file(tmp_path / "a").startswith("ba7816bf")
