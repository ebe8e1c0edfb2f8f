"""Google Cloud Storage: the same calls beside an emulator of it on 127.0.0.1."""

import datetime
import subprocess
import sys

import pytest

from pipelines.publishing import push
from recall.errors import InputError
from serving.release import release, store_fetch, store_versions
from serving.stores import copies, files, filesystems
from serving.stores.failures import MissingError
from serving.stores.store_path import StorePath, open_binary
from tests.pipelines.publishing.push_test import make_run

EMULATOR = """
import http.server, sys
# One thread would wait for whoever has not read its answer to the end.
http.server.HTTPServer = http.server.ThreadingHTTPServer
from gcp_storage_emulator.server import create_server
server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="shop")
server.start()
print(server._api._httpd.server_address[1], flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def endpoint():
    """A process of its own: Arrow keeps Python's lock while it waits for some answers."""
    with subprocess.Popen(
        [sys.executable, "-c", EMULATOR],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


@pytest.fixture
def bucket(endpoint, monkeypatch):
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", endpoint)
    monkeypatch.setattr(filesystems, "_GCS_RETRY_TIME", datetime.timedelta(seconds=2))
    filesystems._gcs.cache_clear()
    yield "gs://shop"
    files.remove_files([file.place for file in files.list_files("gs://shop")])
    filesystems._gcs.cache_clear()


def test_files(bucket, tmp_path):
    files.write_bytes(f"{bucket}/x/a b.json", b"{}")
    (tmp_path / "large").write_bytes(b"abcdefgh" * (1 << 20))
    sent = copies.upload(tmp_path / "large", f"{bucket}/x/large")
    assert copies.download(f"{bucket}/x/large", tmp_path / "again") == sent
    assert (tmp_path / "again").read_bytes() == (tmp_path / "large").read_bytes()
    (tmp_path / "new").write_bytes(b"new")
    for path in ("large", "new"):  # The first of its name, and another one.
        copies.replace(tmp_path / path, f"{bucket}/y/one")
    assert files.read_bytes(f"{bucket}/y/one") == b"new"
    assert [file.place for file in files.list_files(f"{bucket}/y")] == [f"{bucket}/y/one"]
    files.remove_folder(f"{bucket}/y")
    found = files.list_files(f"{bucket}/x")
    assert [(file.place, file.size) for file in found] == [
        (f"{bucket}/x/a b.json", 2),
        (f"{bucket}/x/large", 8 << 20),
    ]
    assert files.identity(found[0]) != files.identity(found[1])
    assert files.list_names(f"{bucket}/x") == ["a b.json", "large"]
    assert [f.place for f in files.find_files(f"{bucket}/*/*.json")] == [f"{bucket}/x/a b.json"]
    with open_binary(StorePath(found[0].place, found[0])) as file:
        file.seek(1)
        assert file.read() == b"}"
    files.remove_files([f"{bucket}/x/a b.json", f"{bucket}/none"])
    files.remove_folder(f"{bucket}/x")
    assert files.list_files(bucket) == []


def test_what_is_not_there(bucket):
    with pytest.raises(MissingError, match=r"gs://shop/none does not exist\. Check the bucket"):
        files.read_bytes(f"{bucket}/none")
    with pytest.raises(
        InputError, match=r"there is no bucket 'none-here'\. Check the name and the"
    ):
        files.list_files("gs://none-here/x")


def test_a_release(bucket, tmp_path):
    run_dir, serving = make_run(tmp_path / "run"), f"{bucket}/serving"
    first = push.run_push(run_dir, serving)
    second = push.run_push(run_dir, serving, keep=1)
    assert store_versions.list_versions(serving) == [second]
    assert second > first
    assert push.published_version(run_dir, serving) == second
    store_fetch.fetch(serving, second, tmp_path / "cache")
    release.verify(release.read_release(tmp_path / "cache", second))
