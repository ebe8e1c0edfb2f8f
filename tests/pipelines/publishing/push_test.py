"""Publishing: gates, versions, and what a reader can see at any moment."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.artifacts import records
from pipelines.evaluation import blessing
from pipelines.publishing import push
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.release import folders, release, retention, storage
from serving.release import manifest as manifests

TOWER_FILES = ("saved_model.pb", "variables/variables.index", "assets.extra/warmup")


def make_run(run_dir: Path, fingerprint="f00d", content="1", model="model 1", blessed=True) -> Path:
    """A run folder with everything push looks at, and no models in it."""
    for tower in ("user_tower", "item_tower"):
        for name in TOWER_FILES:
            path = run_dir / "export" / tower / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{tower} {name} {content}")
    index = run_dir / "index"
    (index / "scann").mkdir(parents=True)
    (index / "item_vectors.npy").write_text(f"vectors {content}")
    (index / "scann" / "codes.npy").write_text(f"codes {content}")
    evaluation = run_dir / "evaluation"
    evaluation.mkdir()
    (evaluation / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
    manifests.seal(run_dir / "export", {"fingerprint": fingerprint, "dim": 4})
    manifests.seal(index, {"fingerprint": fingerprint, "kind": "scann"})
    for job, folder in (("export", "export"), ("index", "index"), ("evaluate", "evaluation")):
        record = records.build_record(job, {}, {"model": model})
        records.write_record(run_dir / folder, record)
    return run_dir


@pytest.fixture
def run_dir(tmp_path):
    return make_run(tmp_path / "run")


def files_below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def visible_versions(serving_dir: Path) -> list[list[int]]:
    return [release.list_versions(serving_dir / part) for part in release.PARTS]


class TestModelCard:
    def test_it_is_one_of_the_checked_files(self, run_dir):
        published = release.read_release(run_dir / "serving", push.run_push(run_dir))
        release.verify(published)
        card = published.user_tower_dir / "model_card.md"
        assert card.read_text().startswith("# Model card")
        card.write_text("# Another card")
        with pytest.raises(InputError, match=r"model_card\.md is damaged"):
            release.verify(published)

    def test_a_release_without_one_is_not_published_again_for_it(self, run_dir):
        version = push.run_push(run_dir)
        folder = run_dir / "serving" / "user_tower" / str(version)
        manifest = manifests.read(folder)
        for name in ("model_card.md", "model_card.json"):
            (folder / name).unlink()
            del manifest["files"][name]
        values = {"fingerprint": manifest["fingerprint"], "dim": manifest["dim"]}
        manifests.write(folder, values, manifest["files"])
        assert push.published_version(run_dir) == version


class TestPublish:
    def test_every_part_is_there(self, run_dir):
        before = int(time.time())
        version = push.run_push(run_dir)
        assert before <= version <= time.time()
        serving = run_dir / "serving"
        user_tower = files_below(serving / "user_tower" / str(version))
        assert {name: user_tower[name] for name in TOWER_FILES} == {
            name: f"user_tower {name} 1" for name in TOWER_FILES
        }
        assert user_tower.keys() == {*TOWER_FILES, "model_card.json", "model_card.md"}
        assert files_below(serving / "item_tower" / str(version)) == {
            name: f"item_tower {name} 1" for name in TOWER_FILES
        }
        assert files_below(serving / "index" / str(version)) == {
            "item_vectors.npy": "vectors 1",
            "scann/codes.npy": "codes 1",
        }

    def test_what_is_published_verifies(self, run_dir):
        version = push.run_push(run_dir)
        latest = release.latest_release(run_dir / "serving")
        release.verify(latest)
        assert (latest.version, latest.fingerprint) == (version, "f00d")
        assert manifests.read(latest.index_dir) == manifests.read(run_dir / "index")
        assert manifests.read(latest.user_tower_dir)["dim"] == 4

    def test_nothing_else_is_left(self, run_dir, tmp_path):
        push.run_push(run_dir, tmp_path / "elsewhere" / "deep")
        names = sorted(path.name for path in (tmp_path / "elsewhere" / "deep").iterdir())
        assert names == [".push.lock", "index", "item_tower", "user_tower"]
        assert not (run_dir / "serving").exists()

    def test_files_the_manifest_does_not_name_stay_behind(self, run_dir):
        (run_dir / "index" / "notes.txt").touch()
        version = push.run_push(run_dir)
        assert not (run_dir / "serving" / "index" / str(version) / "notes.txt").exists()

    def test_versions_ascend_within_one_second(self, run_dir, monkeypatch):
        monkeypatch.setattr("time.time", lambda: 1000.9)
        assert [push.run_push(run_dir) for _ in range(3)] == [1000, 1001, 1002]

    def test_version_is_above_every_part_s(self, run_dir):
        newest = int(time.time()) + 10**6
        (run_dir / "serving" / "item_tower" / str(newest)).mkdir(parents=True)
        assert push.run_push(run_dir) == newest + 1


class TestGates:
    def refuse(self, run_dir, message):
        with pytest.raises(InputError, match=message):
            push.run_push(run_dir)
        with pytest.raises(InputError, match=message):
            push.published_version(run_dir)
        assert not (run_dir / "serving").exists()

    def test_not_blessed(self, tmp_path):
        self.refuse(make_run(tmp_path / "run", blessed=False), "is not blessed")

    def test_no_blessing_at_all(self, run_dir):
        (run_dir / "evaluation" / "BLESSED").unlink()
        self.refuse(run_dir, "is not blessed")

    def test_both_blessings(self, run_dir):
        (run_dir / "evaluation" / "NOT_BLESSED").touch()
        self.refuse(run_dir, "is not blessed")

    def test_what_failed_is_said_with_the_switch(self, tmp_path):
        run_dir = make_run(tmp_path / "run", blessed=False)
        report = {"test": {"ndcg@10": 0.0462}, "baselines": {"bigram": {"ndcg@10": 0.0467}}}
        report["blessing"] = blessing.judge(report, ["test.ndcg@10 > baselines.bigram.ndcg@10"])
        storage.write_json(run_dir / "evaluation" / "report.json", report)
        self.refuse(
            run_dir,
            r"^The model is not blessed: test\.ndcg@10 > baselines\.bigram\.ndcg@10 is not true "
            r"\(0\.0462 against 0\.0467\)\. To publish it all the same, give .* the switch "
            r"'--set=evaluation\.thresholds=\[\]'\.$",
        )

    @pytest.mark.parametrize("folder", ["evaluation", "export", "index"])
    def test_missing_folder(self, run_dir, folder):
        shutil.rmtree(run_dir / folder)
        self.refuse(run_dir, rf"{folder} holds no finished artifact. Run `recall")

    def test_index_of_another_export(self, run_dir, tmp_path):
        other = make_run(tmp_path / "other", fingerprint="beef")
        shutil.rmtree(run_dir / "index")
        shutil.copytree(other / "index", run_dir / "index")
        self.refuse(run_dir, r"index \(fingerprint beef\) was not built from")

    def test_blessing_of_another_model(self, run_dir, tmp_path):
        other = make_run(tmp_path / "other", model="model 2")
        shutil.rmtree(run_dir / "evaluation")
        shutil.copytree(other / "evaluation", run_dir / "evaluation")
        self.refuse(run_dir, "judged another model")

    def test_export_without_a_tower(self, run_dir):
        (run_dir / "export" / "manifest.json").unlink()
        (run_dir / "export" / "item_tower" / "saved_model.pb").unlink()
        manifests.seal(run_dir / "export", {"fingerprint": "f00d"})
        self.refuse(run_dir, r"does not name item_tower/saved_model\.pb")


@pytest.mark.parametrize(
    "name", ["index/scann/codes.npy", "export/user_tower/saved_model.pb", "index/item_vectors.npy"]
)
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_source_publishes_nothing(run_dir, name, damage):
    path = run_dir / name
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[1:])
    with pytest.raises(InputError, match=path.name):
        push.run_push(run_dir)
    assert visible_versions(run_dir / "serving") == [[], [], []]
    assert list((run_dir / "serving").glob("*/.*")) == []


def test_no_number_is_larger_than_the_largest(run_dir, tmp_path):
    (tmp_path / "serving" / "index" / "9223372036854775807").mkdir(parents=True)
    (tmp_path / "serving" / "index" / "99999999999999999999").mkdir()  # No version.
    with pytest.raises(InputError, match="version 9223372036854775807, and no number is larger"):
        push.run_push(run_dir, tmp_path / "serving")
    assert not (tmp_path / "serving" / "user_tower" / "9223372036854775808").exists()


def test_serving_folder_that_cannot_be_made(run_dir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot write to"):
        push.run_push(run_dir, tmp_path / "file" / "serving")


class TestKeep:
    def test_older_versions_go_after_the_new_one_is_there(self, run_dir):
        versions = [push.run_push(run_dir, keep=3) for _ in range(5)]
        assert visible_versions(run_dir / "serving") == [versions[-3:]] * 3
        assert list((run_dir / "serving").glob("*/.*")) == []

    def test_all_stay_by_default(self, run_dir):
        versions = [push.run_push(run_dir) for _ in range(7)]
        assert visible_versions(run_dir / "serving") == [versions] * 3

    def test_one_version_alone(self, run_dir):
        first, second = push.run_push(run_dir, keep=1), push.run_push(run_dir, keep=1)
        assert second > first
        assert visible_versions(run_dir / "serving") == [[second]] * 3
        release.verify(release.latest_release(run_dir / "serving"))

    def test_a_version_that_is_loaded_stays(self, run_dir, caplog):
        caplog.set_level("INFO")
        first = push.run_push(run_dir)
        with retention.held(release.latest_release(run_dir / "serving")):
            second = push.run_push(run_dir, keep=1)
            assert visible_versions(run_dir / "serving") == [[first, second]] * 3
        assert f"stay, they are loaded or cannot be locked: {first}" in caplog.text
        third = push.run_push(run_dir, keep=1)
        assert visible_versions(run_dir / "serving") == [[third]] * 3
        assert f"Removed old versions in {run_dir / 'serving'}: {first}, {second}" in caplog.text

    def test_a_refused_release_removes_nothing(self, run_dir):
        versions = [push.run_push(run_dir) for _ in range(3)]
        (run_dir / "index" / "item_vectors.npy").write_text("damaged")
        with pytest.raises(InputError, match="damaged"):
            push.run_push(run_dir, keep=1)
        assert visible_versions(run_dir / "serving") == [versions] * 3

    def test_what_cannot_be_removed_is_said_and_the_new_version_stays(
        self, run_dir, monkeypatch, caplog
    ):
        first = push.run_push(run_dir)

        def refuse(folder):
            raise PermissionError(1, "Operation not permitted", str(folder))

        monkeypatch.setattr(folders, "hide", refuse)
        second = push.run_push(run_dir, keep=1)
        assert visible_versions(run_dir / "serving") == [[first, second]] * 3
        assert "cannot be removed" in caplog.text


def write_items(run_dir: Path, items: dict[str, tuple[str, ...]]) -> Path:
    """Puts a table of items with categories into the index of a run."""
    index = run_dir / "index"
    (index / "manifest.json").unlink()
    table = ItemVocabulary(items, categories=list(items.values())).to_table()
    pq.write_table(table, index / "items.parquet")
    manifests.seal(index, {"fingerprint": "f00d", "kind": "scann"})
    return run_dir


ITEMS = {f"i{n}": ("even",) if n % 2 == 0 else ("odd",) for n in range(10)}


class TestLosses:
    @pytest.fixture
    def published(self, tmp_path):
        serving = tmp_path / "serving"
        push.run_push(write_items(make_run(tmp_path / "old"), ITEMS), serving)
        return serving

    def test_a_release_whose_categories_vanish_is_refused_in_one_line(self, published, tmp_path):
        new = write_items(make_run(tmp_path / "new"), dict.fromkeys(ITEMS, ()))
        (version,) = release.complete_versions(published)
        with pytest.raises(InputError) as caught:
            push.run_push(new, published, keep=1)
        assert str(caught.value) == (
            f"Compared with version {version} in {published} the release loses: 2 of the 2 "
            "categories; items with a category (100 % -> 0 %). Nothing was published. Check the "
            "log and the items file of the run, or pass --allow_loss to publish it all the same."
        )
        assert visible_versions(published) == [[version]] * 3

    def test_the_switch_publishes_it(self, published, tmp_path, caplog):
        new = write_items(make_run(tmp_path / "new"), dict.fromkeys(ITEMS, ()))
        version = push.run_push(new, published, allow_loss=True)
        assert release.latest_release(published).version == version
        assert "the release loses: 2 of the 2 categories" in caplog.text

    def test_a_smaller_loss_is_said_and_published(self, published, tmp_path, caplog):
        fewer = dict(list(ITEMS.items())[:8])
        version = push.run_push(write_items(make_run(tmp_path / "new"), fewer), published)
        assert release.latest_release(published).version == version
        assert "the release loses: 2 of the 10 items." in caplog.text

    def test_the_same_items_again(self, published, tmp_path, caplog):
        push.run_push(write_items(make_run(tmp_path / "new"), ITEMS), published)
        assert caplog.text == ""

    def test_a_damaged_release_before_does_not_stop_the_next(self, published, tmp_path, caplog):
        (old,) = published.glob("index/*/items.parquet")
        old.write_bytes(b"PAR1")
        version = push.run_push(write_items(make_run(tmp_path / "new"), ITEMS), published)
        assert release.latest_release(published).version == version
        assert "is not compared with the one before: Cannot read" in caplog.text


class TestPublishedVersion:
    def test_nothing_published(self, run_dir):
        assert push.published_version(run_dir) is None

    def test_the_same_run(self, run_dir):
        version = push.run_push(run_dir)
        assert push.published_version(run_dir) == version

    def test_another_index(self, run_dir):
        push.run_push(run_dir)
        (run_dir / "index" / "manifest.json").unlink()
        (run_dir / "index" / "item_vectors.npy").write_text("new")
        manifests.seal(run_dir / "index", {"fingerprint": "f00d"})
        assert push.published_version(run_dir) is None

    def test_an_older_version_is_not_the_newest(self, run_dir, tmp_path):
        other = make_run(tmp_path / "other", fingerprint="beef", content="2")
        push.run_push(run_dir)
        push.run_push(other, run_dir / "serving")
        assert push.published_version(run_dir) is None


def test_order_of_publication(run_dir, monkeypatch):
    appeared = []
    original = folders._swap_in

    def swap_in(staging, destination):
        appeared.append(destination.parent.name)
        original(staging, destination)

    monkeypatch.setattr(folders, "_swap_in", swap_in)
    push.run_push(run_dir)
    assert appeared == ["index", "item_tower", "user_tower"]


PUSH_FIVE = """
import sys
from pipelines.publishing import push
print([push.run_push(sys.argv[1], sys.argv[2]) for _ in range(5)])
"""


def test_pushers_at_the_same_time_get_unique_versions(run_dir, tmp_path):
    serving = tmp_path / "serving"
    command = [sys.executable, "-c", PUSH_FIVE, str(run_dir), str(serving)]
    pushers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    versions = sorted(v for p in pushers for v in json.loads(p.communicate(timeout=60)[0]))
    assert len(set(versions)) == 15
    assert visible_versions(serving) == [versions] * 3


# Pushes again and again in a child that is killed before its n-th change to the
# disk, n = 1, 2, ...; after each it prints the exit status and waits for a line.
KILLED_PUSHES = """
import itertools, os, shutil, signal, sys
from pipelines.publishing import push

changes = 0

def counted(function):
    def call(*arguments, **keywords):
        global changes
        changes += 1
        if changes == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)
    return call

for module, name in ((os, "rename"), (os, "fsync"), (os, "mkdir"), (shutil, "copyfile")):
    setattr(module, name, counted(getattr(module, name)))
for kill_at in itertools.count(1):
    child = os.fork()
    if child == 0:
        push.run_push(sys.argv[1], sys.argv[2], keep=2)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.stdin.readline()
"""


def check_readers(serving: Path) -> None:
    """Whatever a reader can find is whole."""
    assert release.latest_release(serving).fingerprint in ("f00d", "beef")
    for part in release.PARTS:
        for version in release.list_versions(serving / part):
            folder = serving / part / str(version)
            manifests.verify(folder, manifests.read(folder))


@pytest.mark.slow
def test_killed_at_every_point_shows_old_or_new(run_dir, tmp_path):
    newer = make_run(tmp_path / "newer", fingerprint="beef", content="2")
    serving = tmp_path / "serving"
    for _ in range(4):
        push.run_push(run_dir, serving)
    command = [sys.executable, "-c", KILLED_PUSHES, str(newer), str(serving)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    exit_codes, fingerprints = [], []
    with subprocess.Popen(command, **pipes) as pusher:
        while len(exit_codes) < 200:
            exit_codes.append(int(pusher.stdout.readline()))
            check_readers(serving)
            fingerprints.append(release.latest_release(serving).fingerprint)
            if exit_codes[-1] == 0:
                break  # Without a line it waits, and begins no further push.
            print(file=pusher.stdin, flush=True)
        pusher.kill()
    assert len(exit_codes) > 30
    assert exit_codes == [-signal.SIGKILL] * (len(exit_codes) - 1) + [0]
    # Old until the last rename, new from then on.
    assert fingerprints == sorted(fingerprints, reverse=True)
    assert set(fingerprints) == {"f00d", "beef"}
    assert list(serving.glob("*/.*")) == []
    assert [len(versions) for versions in visible_versions(serving)] == [2, 2, 2]
