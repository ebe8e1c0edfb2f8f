import json

import pytest

from recall.errors import InputError
from serving.release import manifest as manifests


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "inner" / "b.bin").write_bytes(b"")
    manifests.seal(tmp_path, {"fingerprint": "f00d"})
    return tmp_path


def rewrite(folder, **changes):
    """Writes the manifest with other values and a checksum that fits them."""
    manifest = manifests.read(folder)
    values = {**manifest, **changes}
    files = values.pop("files")
    for key in ("format", "checksum"):
        values.pop(key)
    manifests.write(folder, values, files)


def test_names_every_file(sealed):
    manifest = manifests.read(sealed)
    # SHA-256 of "abc" and of nothing, as published by NIST.
    assert manifest["files"] == {
        "a.bin": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "inner/b.bin": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    assert (manifest["format"], manifest["fingerprint"]) == (1, "f00d")
    manifests.verify(sealed, manifest)


@pytest.mark.parametrize("content", [b"abd", b"ab", b"", b"abcd"])
def test_changed_file(sealed, content):
    (sealed / "a.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.bin is damaged"):
        manifests.verify(sealed, manifests.read(sealed))


def test_missing_file(sealed):
    (sealed / "inner" / "b.bin").unlink()
    with pytest.raises(InputError, match=r"Cannot read .*b\.bin: No such file"):
        manifests.verify(sealed, manifests.read(sealed))


def test_every_flipped_byte_of_the_manifest_is_noticed(sealed):
    path = sealed / "manifest.json"
    original = path.read_bytes()
    for position in range(len(original)):
        damaged = bytearray(original)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(InputError, match=r"manifest\.json"):
            manifests.read(sealed)


def test_truncated_manifest(sealed):
    path = sealed / "manifest.json"
    original = path.read_bytes()
    for length in (0, len(original) // 2, len(original) - 2):
        path.write_bytes(original[:length])
        with pytest.raises(InputError, match=r"manifest\.json"):
            manifests.read(sealed)


def test_other_format(sealed):
    path = sealed / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(InputError, match="has format 2; this version reads format 1"):
        manifests.read(sealed)


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": []}', "null"])
def test_not_a_manifest(sealed, content):
    (sealed / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="is not a manifest"):
        manifests.read(sealed)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "inner/../../secret"])
def test_names_stay_inside(sealed, name):
    rewrite(sealed, files={name: "0"})
    with pytest.raises(InputError, match="outside"):
        manifests.verify(sealed, manifests.read(sealed))


def test_required_file(sealed):
    manifest = manifests.read(sealed)
    assert manifests.require_file(sealed, manifest, "a.bin") == sealed / "a.bin"
    with pytest.raises(InputError, match=r"does not name c\.bin"):
        manifests.require_file(sealed, manifest, "c.bin")
