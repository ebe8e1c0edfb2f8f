"""Copies of a store's versions: whole, checked, fetched again where they are damaged."""

import hashlib
import json
import logging
import subprocess
import sys
import threading

import pytest

from recall.errors import InputError
from serving.release import manifest as manifests
from serving.release import release, store_fetch, store_versions
from serving.stores import copies
from serving.stores.failures import StoreAwayError
from tests.serving import store_release


@pytest.fixture
def serving(bucket, release_dir):
    """A store with version 7."""
    store_release.publish(release_dir, 3, f"{bucket}/serving", as_version=7)
    return f"{bucket}/serving"


@pytest.fixture
def cache(tmp_path, serving):
    store_fetch.open_cache(serving, tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def downloads(monkeypatch):
    """URLs that were downloaded, and no pauses between tries."""
    found, download = [], copies.download

    def recorded(url, path):
        found.append(url)
        return download(url, path)

    monkeypatch.setattr(copies, "download", recorded)
    monkeypatch.setattr("serving.stores.attempts.PAUSE_S", 0.0)
    return found


def test_a_copy_is_the_release(serving, cache, release_dir):
    store_fetch.fetch(serving, 7, cache)
    for part in release.PARTS:
        copy, source = cache / part / "7", release_dir / part / "3"
        names = sorted(manifests.read(source)["files"])
        assert sorted(manifests.read(copy)["files"]) == names
        assert all((copy / n).read_bytes() == (source / n).read_bytes() for n in names)
    release.verify(release.read_release(cache, 7))


def test_nothing_is_downloaded_twice(serving, cache, downloads):
    store_fetch.fetch(serving, 7, cache)
    assert len(downloads) > 10
    downloads.clear()
    store_fetch.fetch(serving, 7, cache)
    assert downloads == []


def test_two_servers_that_share_a_folder_download_once(serving, cache, downloads):
    threads = [
        threading.Thread(target=store_fetch.fetch, args=(serving, 7, cache)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == len(set(downloads))
    release.verify(release.read_release(cache, 7))


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_copy_is_made_again(serving, cache, downloads, damage, caplog):
    store_fetch.fetch(serving, 7, cache)
    path = cache / "index" / "7" / "item_vectors.npy"
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(content[:100] if damage == "truncated" else content[:-1] + b"?")
    downloads.clear()
    store_fetch.fetch(serving, 7, cache)
    assert path.read_bytes() == content
    assert all("/index/7/" in url for url in downloads)
    assert f"The copy {path.parent} is fetched again: " in caplog.text


def test_a_download_that_is_cut_off_is_tried_again(serving, cache, monkeypatch, caplog):
    monkeypatch.setattr("serving.stores.attempts.PAUSE_S", 0.0)
    download, tries = copies.download, []

    def cut_off(url, path):
        digest = download(url, path)
        if not url.endswith("item_vectors.npy"):
            return digest
        tries.append(url)
        if len(tries) == 1:
            raise StoreAwayError("Cannot read it: the store does not answer.")
        if len(tries) == 2:
            path.write_bytes(path.read_bytes()[:100])
            return "another"
        return digest

    monkeypatch.setattr(copies, "download", cut_off)
    store_fetch.fetch(serving, 7, cache)
    release.verify(release.read_release(cache, 7))
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "Cannot read it: the store does not answer. Trying again (2 of 3).",
        f"{tries[0]} is damaged: its SHA-256 is not the one that was published (100 bytes came). "
        "Publish the release again. Trying again (3 of 3).",
    ]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("user_tower/7/saved_model.pb", "truncated"),
        ("user_tower/7/saved_model.pb", "missing"),
        ("index/7/manifest.json", "changed"),
    ],
)
def test_a_damaged_object_is_no_copy(s3, serving, cache, downloads, name, damage):
    content = s3.get(f"{serving}/{name}")
    if damage == "missing":
        s3.delete(f"{serving}/{name}")
    else:
        s3.put(f"{serving}/{name}", content[:50] if damage == "truncated" else content[:-1] + b"?")
    expected = "does not exist" if damage == "missing" else "is damaged: its SHA-256 is not the"
    with pytest.raises(InputError, match=rf"{name} {expected}"):
        store_fetch.fetch(serving, 7, cache)
    assert 7 not in release.complete_versions(cache)
    assert not (cache / name.partition("/")[0]).exists()
    assert downloads.count(f"{serving}/{name}") == (1 if damage == "missing" else 3)
    s3.put(f"{serving}/{name}", content)
    store_fetch.fetch(serving, 7, cache)
    release.verify(release.read_release(cache, 7))


@pytest.mark.parametrize(
    ("pointer", "error"),
    [
        (b"{", "is damaged. Publish the release again."),
        (b"[1]", "is damaged. Publish the release again."),
        (b'{"format": 1, "manifests": {}}', "is damaged. Publish the release again."),
        (b'{"format": 2}', "has format 2; this version of the software reads format 1. Update it."),
    ],
)
def test_a_damaged_pointer(s3, serving, cache, pointer, error):
    url = f"{serving}/versions/7.json"
    s3.put(url, pointer)
    with pytest.raises(InputError) as caught:
        store_fetch.fetch(serving, 7, cache)
    assert str(caught.value) == f"{url} {error}"


def test_a_manifest_that_leads_out_of_the_folder(s3, serving, cache, tmp_path):
    url = f"{serving}/index/7/manifest.json"
    manifest = manifests.build({"fingerprint": "x"}, {"../../../out": "0" * 64})
    content = json.dumps(manifest).encode()
    s3.put(url, content)
    pointer = json.loads(s3.get(f"{serving}/versions/7.json"))
    pointer["manifests"]["index"] = hashlib.sha256(content).hexdigest()
    s3.put(f"{serving}/versions/7.json", json.dumps(pointer).encode())
    with pytest.raises(InputError, match=r"names the file '\.\./\.\./\.\./out' outside of it"):
        store_fetch.fetch(serving, 7, cache)
    assert not (tmp_path / "out").exists()


def test_old_copies_go(bucket, serving, cache, release_dir):
    for version in (8, 9):
        store_release.publish(release_dir, 3, serving, as_version=version)
    for version in (7, 8, 9):
        store_fetch.fetch(serving, version, cache)
    store_fetch.remove_copies(cache, store_versions.list_versions(serving))
    assert release.complete_versions(cache) == [8, 9]
    store_fetch.remove_copies(cache, [6, 7, 8])  # 9 was withdrawn.
    assert release.complete_versions(cache) == [8]


FETCHER = """
import sys
from pathlib import Path
from serving.release import store_fetch
from serving.stores import copies

download, calls = copies.download, []

def stopped(url, path):
    calls.append(url)
    if len(calls) == 6:
        print("reached", flush=True)
        sys.stdin.read()
    return download(url, path)

copies.download = stopped
store_fetch.fetch(sys.argv[1], 7, Path(sys.argv[2]))
"""


def test_a_killed_fetch_leaves_no_half_and_no_rest(serving, cache):
    process = subprocess.Popen(
        [sys.executable, "-c", FETCHER, serving, str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "reached\n"
    process.kill()
    process.communicate()
    assert list(cache.glob("*/.7.*.partial"))
    assert 7 not in release.complete_versions(cache)
    store_fetch.open_cache(serving, cache)  # As every start of a server does.
    assert not list(cache.glob("*/.7.*.partial"))
    store_fetch.fetch(serving, 7, cache)
    release.verify(release.read_release(cache, 7))


def test_a_folder_that_is_not_for_these_copies(serving, cache, tmp_path):
    with pytest.raises(InputError) as caught:
        store_fetch.open_cache("s3://other/serving", cache)
    assert str(caught.value) == (
        f"{cache} has copies of {serving}, not of s3://other/serving. Name another folder with "
        "--release_cache."
    )
    for name in ("volume/lost+found", "killed/.origin.json.1a2b3c4d.partial"):
        (tmp_path / name).mkdir(parents=True)
        store_fetch.open_cache(serving, (tmp_path / name).parent)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"mine holds other files \(notes\.txt\)\. Name a new"):
        store_fetch.open_cache(serving, tmp_path / "mine")


def test_each_url_has_a_folder_of_its_own(tmp_path):
    one = store_fetch.default_cache("s3://a/serving", tmp_path)
    other = store_fetch.default_cache("s3://b/serving", tmp_path)
    assert one.parent == other.parent == tmp_path / "releases"
    assert one.name.startswith("serving-")
    assert one != other
