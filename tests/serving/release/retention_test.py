"""Old versions: which stay, and that no reader meets a part of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recall.errors import InputError
from serving.release import folders, release, retention
from serving.release import manifest as manifests


def publish(serving: Path, *versions: int) -> None:
    """Versions of three sealed folders each."""
    for version in versions:
        for part in release.PARTS:
            folder = serving / part / str(version)
            folder.mkdir(parents=True)
            (folder / "data").write_text(f"{part} {version}")
            manifests.seal(folder, {"fingerprint": "f00d"})


def visible(serving: Path) -> list[list[int]]:
    return [release.list_versions(serving / part) for part in release.PARTS]


def hidden(serving: Path) -> list[str]:
    return sorted(path.name for path in serving.glob("*/.*"))


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, [9]), (2, [7, 9]), (4, [3, 5, 7, 9]), (5, [3, 5, 7, 9])],
)
def test_the_newest_stay(tmp_path, keep, left):
    publish(tmp_path, 3, 5, 7, 9)
    removal = retention.remove_old_versions(tmp_path, keep)
    assert visible(tmp_path) == [left] * 3
    assert removal == (sorted({3, 5, 7, 9} - set(left)), [])
    assert hidden(tmp_path) == []
    release.verify(release.latest_release(tmp_path))


def test_zeros_in_front_of_a_version(tmp_path):
    publish(tmp_path, 3, 5, 7)
    (tmp_path / "index" / "3").rename(tmp_path / "index" / "00003")
    assert retention.remove_old_versions(tmp_path, 2).removed == [3]
    assert visible(tmp_path) == [[5, 7]] * 3
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == ["5", "7"]


def test_nothing_published(tmp_path):
    assert retention.remove_old_versions(tmp_path, 1) == ([], [])


def test_parts_of_old_versions_go_and_those_of_a_newer_one_stay(tmp_path):
    publish(tmp_path, 3, 5, 7)
    # A killed removal leaves less and less of a version, a killed publisher more and more.
    (tmp_path / "index" / "2").mkdir()
    (tmp_path / "index" / "8").mkdir()
    (tmp_path / "index" / "notes").mkdir()
    assert retention.remove_old_versions(tmp_path, 2).removed == [2, 3]
    assert visible(tmp_path) == [[5, 7, 8], [5, 7], [5, 7]]
    assert (tmp_path / "index" / "notes").is_dir()


HOLD = """
import sys
from serving.release import release, retention
with retention.held(release.read_release(sys.argv[1], 3)):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_version_another_process_has_loaded_stays_until_the_process_ends(tmp_path):
    publish(tmp_path, 2, 3, 4, 5)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as server:
        assert server.stdout.readline() == "held\n"
        assert retention.remove_old_versions(tmp_path, 1) == ([2, 4], [3])
        assert visible(tmp_path) == [[3, 5]] * 3
        release.verify(release.read_release(tmp_path, 3))
        server.kill()
    assert retention.remove_old_versions(tmp_path, 1) == ([3], [])
    assert visible(tmp_path) == [[5]] * 3


def test_several_servers_hold_one_version(tmp_path):
    publish(tmp_path, 1, 2)
    old = release.read_release(tmp_path, 1)
    with retention.held(old):
        with retention.held(old):
            pass
        assert retention.remove_old_versions(tmp_path, 1).in_use == [1]
    assert retention.remove_old_versions(tmp_path, 1).removed == [1]


def test_a_version_that_is_gone_cannot_be_held(tmp_path):
    publish(tmp_path, 1, 2)
    old = release.read_release(tmp_path, 1)
    retention.remove_old_versions(tmp_path, 1)
    with pytest.raises(InputError, match="Version 1 was removed"), retention.held(old):
        pass


def test_a_version_removed_while_its_lock_is_waited_for_cannot_be_held(tmp_path, monkeypatch):
    publish(tmp_path, 1, 2)
    old = release.read_release(tmp_path, 1)
    flock = retention.fcntl.flock

    def remove_first(descriptor, operation):
        monkeypatch.undo()
        os.rename(old.index_dir, tmp_path / "aside")
        flock(descriptor, operation)

    monkeypatch.setattr(retention.fcntl, "flock", remove_first)
    with pytest.raises(InputError, match="Version 1 was removed"), retention.held(old):
        pass


def test_no_lock_is_left_behind(tmp_path):
    publish(tmp_path, 1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with retention.held(release.read_release(tmp_path, 1)):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_user_tower_goes_first_and_the_index_last(tmp_path, monkeypatch):
    publish(tmp_path, 1, 2)
    gone = []
    hide = folders.hide

    def watched(folder):
        assert release.complete_versions(tmp_path) == ([1, 2] if not gone else [2])
        gone.append(folder.parent.name)
        return hide(folder)

    monkeypatch.setattr(folders, "hide", watched)
    retention.remove_old_versions(tmp_path, 1)
    assert gone == ["user_tower", "item_tower", "index"]


def test_the_newest_release_is_found_although_the_listed_one_is_just_removed(tmp_path, monkeypatch):
    publish(tmp_path, 1)
    read = release.read_release

    def publish_first(serving_dir, version):
        monkeypatch.undo()
        publish(tmp_path, 2)
        retention.remove_old_versions(tmp_path, 1)
        return read(serving_dir, version)

    monkeypatch.setattr(release, "read_release", publish_first)
    assert release.latest_release(tmp_path).version == 2


def test_what_a_killed_removal_left_goes_when_the_part_is_written_next(tmp_path):
    publish(tmp_path, 1, 2)
    left = folders.hide(tmp_path / "index" / "1")
    assert release.list_versions(tmp_path / "index") == [2]
    folders.clear_leftovers(tmp_path / "index")
    assert not left.exists()
    assert release.list_versions(tmp_path / "index") == [2], "it is not put back"


def test_a_version_that_is_a_link_goes_and_its_target_stays(tmp_path):
    serving, target = tmp_path / "serving", tmp_path / "elsewhere"
    publish(serving, 1, 2)
    os.rename(serving / "item_tower" / "1", target)
    (serving / "item_tower" / "1").symlink_to(target)
    assert retention.remove_old_versions(serving, 1).removed == [1]
    assert visible(serving) == [[2]] * 3
    assert hidden(serving) == []
    assert (target / "data").read_text() == "item_tower 1"
