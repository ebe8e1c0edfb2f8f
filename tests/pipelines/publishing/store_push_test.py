"""Publishing to a real S3 server: what readers see, gates, publishers that meet or are killed."""

import hashlib
import json
import logging
import signal
import subprocess
import sys
import threading
import time

import pyarrow.parquet as pq
import pytest

from pipelines.publishing import push
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.release import manifest as manifests
from serving.release import release, store_fetch, store_publish, store_versions
from serving.stores import copies
from tests.pipelines.publishing.push_test import TOWER_FILES, make_run

CARD = {"user_tower/{}/model_card.json", "user_tower/{}/model_card.md"}
PARTS = {
    *(f"{tower}/{{}}/{name}" for tower in ("user_tower", "item_tower") for name in TOWER_FILES),
    "index/{}/item_vectors.npy",
    "index/{}/scann/codes.npy",
    *(f"{part}/{{}}/manifest.json" for part in release.PARTS),
}


@pytest.fixture
def run_dir(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def serving(bucket):
    return f"{bucket}/shop/serving"


def test_every_part_and_the_pointer(s3, run_dir, serving):
    before = int(time.time())
    version = push.run_push(run_dir, serving)
    assert before <= version <= time.time()
    names = {name.format(version) for name in PARTS | CARD} | {f"versions/{version}.json"}
    assert set(s3.keys(serving)) == names
    assert s3.get(f"{serving}/index/{version}/scann/codes.npy") == b"codes 1"
    sums = {
        part: hashlib.sha256(s3.get(f"{serving}/{part}/{version}/manifest.json")).hexdigest()
        for part in release.PARTS
    }
    pointer = json.loads(s3.get(f"{serving}/versions/{version}.json"))
    assert pointer == {"format": 1, "version": version, "manifests": sums}
    assert not (run_dir / "serving").exists()


def test_what_is_fetched_is_a_release_of_a_folder(run_dir, serving, tmp_path):
    version = push.run_push(run_dir, serving)
    store_fetch.fetch(serving, version, tmp_path / "cache")
    fetched = release.latest_release(tmp_path / "cache")
    release.verify(fetched)
    assert (fetched.version, fetched.fingerprint) == (version, "f00d")
    assert manifests.read(fetched.index_dir) == manifests.read(run_dir / "index")
    card = (fetched.user_tower_dir / "model_card.md").read_text(encoding="utf-8")
    assert card.startswith("# Model card")


def test_a_push_of_the_same_is_known(run_dir, serving, tmp_path):
    assert push.published_version(run_dir, serving) is None
    version = push.run_push(run_dir, serving)
    assert push.published_version(run_dir, serving) == version
    other = make_run(tmp_path / "other", content="2")
    assert push.published_version(other, serving) is None


def test_versions_ascend_within_one_second(run_dir, serving, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1000.9)
    assert [push.run_push(run_dir, serving) for _ in range(3)] == [1000, 1001, 1002]
    assert store_versions.list_versions(serving) == [1000, 1001, 1002]


def test_a_number_that_only_a_part_has_is_taken(s3, run_dir, serving):
    newest = int(time.time()) + 10**6
    s3.put(f"{serving}/item_tower/{newest}/saved_model.pb", b"by somebody else")
    assert push.run_push(run_dir, serving) == newest + 1


def test_old_versions_go(s3, run_dir, serving, caplog):
    caplog.set_level(logging.INFO)
    versions = [push.run_push(run_dir, serving, keep=2) for _ in range(3)]
    assert store_versions.list_versions(serving) == versions[1:]
    names = {name.format(v) for name in PARTS | CARD for v in versions[1:]}
    assert set(s3.keys(serving)) == names | {f"versions/{v}.json" for v in versions[1:]}
    assert f"Removed old versions in {serving}: {versions[0]}" in caplog.messages


def test_what_is_not_blessed_is_not_published(s3, bucket, serving, tmp_path):
    with pytest.raises(InputError, match="The model is not blessed"):
        push.run_push(make_run(tmp_path / "run", blessed=False), serving)
    assert s3.keys(bucket) == []


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_file_leaves_nothing(s3, bucket, serving, run_dir, damage):
    path = run_dir / "index" / "item_vectors.npy"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text("vect" if damage == "truncated" else "vectors 2")
    with pytest.raises(
        InputError,
        match=rf"item_vectors\.npy is {damage if damage == 'missing' else 'damaged'}.*Remove",
    ):
        push.run_push(run_dir, serving)
    assert s3.keys(bucket) == []


def test_losses_are_refused(s3, serving, tmp_path):
    def run_with(name, num_items):
        run_dir = make_run(tmp_path / name)
        items = ItemVocabulary([f"i{i}" for i in range(num_items)], range(num_items, 0, -1))
        pq.write_table(items.to_table(), run_dir / "index" / "items.parquet")
        (run_dir / "index" / "manifest.json").unlink()
        manifests.seal(run_dir / "index", {"fingerprint": "f00d", "kind": "scann"})
        return run_dir

    first = push.run_push(run_with("many", 100), serving)
    few = run_with("few", 30)
    with pytest.raises(InputError) as caught:
        push.run_push(few, serving)
    assert str(caught.value) == (
        f"Compared with version {first} in {serving} the release loses: 70 of the 100 items. "
        "Nothing was published. Check the log and the items file of the run, or pass --allow_loss "
        "to publish it all the same."
    )
    assert store_versions.list_versions(serving) == [first]
    assert push.run_push(few, serving, allow_loss=True) > first


def test_a_bucket_that_is_not_there(s3, run_dir):
    with pytest.raises(InputError, match="there is no bucket 'none-here'"):
        push.run_push(run_dir, "s3://none-here/serving")


class TestPublishersAtOnce:
    def test_each_has_a_number_of_its_own(self, s3, serving, tmp_path, monkeypatch):
        """Eight at the same second, each with other files: every version is of one of them."""
        monkeypatch.setattr("time.time", lambda: 5000.0)
        runs = [make_run(tmp_path / str(i), content=str(i)) for i in range(8)]
        versions: dict[int, int] = {}

        def publish(number: int) -> None:
            versions[number] = push.run_push(runs[number], serving)

        threads = [threading.Thread(target=publish, args=[i]) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(versions.values())) == 8
        assert store_versions.list_versions(serving) == sorted(versions.values())
        for number, version in versions.items():
            assert s3.get(f"{serving}/index/{version}/item_vectors.npy") == b"vectors %d" % number
            assert s3.get(f"{serving}/user_tower/{version}/saved_model.pb").endswith(
                b"saved_model.pb %d" % number
            )

    def test_who_sees_another_claim_goes_on(self, s3, serving, run_dir, monkeypatch):
        monkeypatch.setattr("time.time", lambda: 7000.0)
        write = store_publish.files.write_bytes

        def write_beside_another(url: str, content: bytes) -> None:
            write(url, content)
            if "/7000." in url:
                write(f"{serving}/versions/7000.0123abcd.claim", b"another")

        monkeypatch.setattr(store_publish.files, "write_bytes", write_beside_another)
        assert 7001 <= push.run_push(run_dir, serving) <= 7008
        assert s3.get(f"{serving}/versions/7000.0123abcd.claim") == b"another"

    def test_one_that_was_taken_for_dead_publishes_nothing(self, s3, serving, run_dir, monkeypatch):
        upload = copies.upload

        def upload_and_lose(path, url):
            digest = upload(path, url)
            if url.endswith("codes.npy"):
                s3.delete(url)
            return digest

        monkeypatch.setattr(copies, "upload", upload_and_lose)
        with pytest.raises(InputError, match=r"codes\.npy was removed by somebody else before"):
            push.run_push(run_dir, serving)
        assert s3.keys(serving) == []


PUBLISHER = """
import sys
from pipelines.publishing import push
from serving.stores import copies, files
from tests.halting import Halt

halt = Halt(int(sys.argv[3]))
halt.before(copies, "upload")
halt.before(files, "write_bytes")
push.run_push(sys.argv[1], sys.argv[2])
print("done", halt.calls, flush=True)
"""


def _start(run_dir, serving, limit):
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(run_dir), serving, str(limit)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _count_writes(run_dir, serving) -> int:
    process = _start(run_dir, serving, 10**6)
    return int(process.communicate()[0].removeprefix("done "))


class TestKilledPublishers:
    @pytest.mark.slow
    def test_at_every_write(self, s3, bucket, run_dir):
        """Before each write: no reader sees a version, and the next push is whole."""
        writes = _count_writes(run_dir, f"{bucket}/count")
        assert writes == 1 + 8 + 2 + 3 + 1  # Claim, files, cards, manifests, pointer.
        for limit in range(1, writes + 1):
            serving = f"{bucket}/{limit}"
            self.kill_at(run_dir, serving, limit)
            assert store_versions.list_versions(serving) == []
            self.check_next(s3, run_dir, serving)

    def test_before_the_pointer(self, s3, bucket, run_dir):
        serving = f"{bucket}/serving"
        self.kill_at(run_dir, serving, 15)
        left = s3.keys(serving)
        assert len([name for name in left if name.endswith(".claim")]) == 1
        assert len(left) == 1 + 8 + 2 + 3
        self.check_next(s3, run_dir, serving)

    def kill_at(self, run_dir, serving, limit):
        process = _start(run_dir, serving, limit)
        assert process.stdout.readline() == "reached\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def check_next(self, s3, run_dir, serving):
        """The next push takes another number, and hours later the rest is gone."""
        left = set(s3.keys(serving))
        version = push.run_push(run_dir, serving)
        assert store_versions.list_versions(serving) == [version]
        assert left < set(s3.keys(serving))  # Too young: its publisher may be at work.
        with store_publish.claimed_version(serving, time.time) as claim:
            store_publish.remove_leftovers(claim, age_s=-3600)
        names = {name.format(version) for name in PARTS | CARD} | {f"versions/{version}.json"}
        assert set(s3.keys(serving)) == names

    def test_one_that_is_interrupted_takes_its_files_back(self, s3, bucket, run_dir, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(store_publish, "_check_complete", interrupted)
        with pytest.raises(KeyboardInterrupt):
            push.run_push(run_dir, f"{bucket}/serving")
        assert s3.keys(bucket) == []

    def test_old_leftovers_go_with_the_next_push(self, s3, bucket, run_dir, monkeypatch, caplog):
        caplog.set_level(logging.INFO)
        serving = f"{bucket}/serving"
        s3.put(f"{serving}/index/17/item_vectors.npy", b"half")
        s3.put(f"{serving}/versions/17.0123abcd.claim", b"")
        s3.put(f"{serving}/notes/17/mine.txt", b"of somebody else")
        monkeypatch.setattr(store_publish.remove_leftovers, "__defaults__", (-3600.0,))
        version = push.run_push(run_dir, serving)
        assert f"Removed what killed publishers left in {serving}: 17" in caplog.messages
        assert [n for n in s3.keys(serving) if f"/{version}" not in n] == ["notes/17/mine.txt"]
