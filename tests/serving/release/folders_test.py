import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from recall.errors import InputError
from serving.release import folders


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_directory_appears_whole(tmp_path):
    with folders.atomic_directory(tmp_path / "out") as staging:
        (staging / "inner").mkdir()
        (staging / "inner" / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "inner" / "a").read_text() == "1"
    assert names(tmp_path) == ["out"]


def test_parents_are_created(tmp_path):
    with folders.atomic_directory(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_directory(tmp_path, error):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()

    def write():
        with folders.atomic_directory(tmp_path / "out") as staging:
            (staging / "new").touch()
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["old"]


def test_replaces_the_old_directory(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with folders.atomic_directory(tmp_path / "out") as staging:
        (staging / "new").touch()
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


def test_does_not_replace_when_told_so(tmp_path):
    (tmp_path / "out").mkdir()
    with (
        pytest.raises(InputError, match="already exists"),
        folders.atomic_directory(tmp_path / "out", replace=False),
    ):
        pytest.fail("the block must not run")


def test_failed_rename_restores_the_old_directory(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    real_rename = Path.rename

    def rename(source, target):
        if source.name.endswith(".partial"):
            raise OSError(28, "No space left on device")
        return real_rename(source, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="No space"), folders.atomic_directory(tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["old"]


def test_parent_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="Cannot create"),
        folders.atomic_directory(tmp_path / "file" / "out"),
    ):
        pass


def test_failure_takes_new_parents_away(tmp_path):
    (tmp_path / "a").mkdir()

    def write(destination):
        with folders.atomic_directory(destination):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write(tmp_path / "a" / "b" / "c" / "d")
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == []


# ---- what a killed writer leaves -----------------------------------------------


@pytest.mark.parametrize("name", ["out", "a[b]*?", "v1.2"])
def test_leftovers_of_the_same_folder_are_cleared(tmp_path, name):
    leftover = tmp_path / f".{name}.0123abcd.partial"
    (leftover / "inner").mkdir(parents=True)
    others = [".other.0123abcd.partial", f".{name}.partial", ".hidden"]
    for other in others:
        (tmp_path / other).mkdir()
    with folders.atomic_directory(tmp_path / name):
        assert not leftover.exists()
    assert names(tmp_path) == sorted([*others, name])


def test_a_folder_that_was_moved_aside_comes_back(tmp_path):
    (tmp_path / ".out.0123abcd.old").mkdir()
    (tmp_path / ".out.0123abcd.old" / "content").touch()
    (tmp_path / ".in.0123abcd.old").mkdir()
    (tmp_path / "in").mkdir()
    folders.clear_leftovers(tmp_path)
    assert names(tmp_path) == ["in", "out"]
    assert names(tmp_path / "out") == ["content"]


def test_what_a_running_writer_has_begun_stays(tmp_path):
    with folders.atomic_directory(tmp_path / "out") as running:
        folders.clear_leftovers(tmp_path)
        assert running.exists()
    assert names(tmp_path) == ["out"]


def test_leftovers_of_a_killed_process_are_cleared(tmp_path):
    program = """
import os, signal, sys
from serving.release import folders
with folders.atomic_directory(sys.argv[1]) as staging:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program, tmp_path / "out"], check=False)
    assert len(names(tmp_path)) == 1
    folders.clear_leftovers(tmp_path, "out")
    assert names(tmp_path) == []


def test_no_leftovers_in_a_folder_that_is_missing(tmp_path):
    folders.clear_leftovers(tmp_path / "none")
    assert names(tmp_path) == []


# ---- one process at a time -------------------------------------------------------


def test_a_locked_folder_is_busy(tmp_path):
    with (
        folders.locked_folder(tmp_path / "out", ".lock"),
        pytest.raises(InputError, match="somebody is there"),
        folders.locked_folder(tmp_path / "out", ".lock", busy="somebody is there"),
    ):
        pytest.fail("the block must not run")
    with folders.locked_folder(tmp_path / "out", ".lock", busy="somebody is there"):
        pass
    assert names(tmp_path / "out") == [".lock"]


def lock_and_fail(folder, *files):
    with folders.locked_folder(folder, ".lock"):
        for file in files:
            (folder / file).touch()
        raise RuntimeError


def test_a_failure_leaves_no_lock_in_an_empty_folder(tmp_path):
    with pytest.raises(RuntimeError):
        lock_and_fail(tmp_path / "a" / "out")
    assert names(tmp_path) == []
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError):
        lock_and_fail(tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_failure_leaves_what_was_made(tmp_path):
    with pytest.raises(RuntimeError):
        lock_and_fail(tmp_path / "out", "examples")
    assert names(tmp_path / "out") == [".lock", "examples"]


def test_a_lock_whose_file_was_removed_is_taken_again(tmp_path, monkeypatch):
    """Who waited for it must not believe that the removed file protects him."""
    path, real_flock = tmp_path / ".lock", fcntl.flock
    removals = iter([True, False])

    def flock(file, operation):
        real_flock(file, operation)
        if next(removals):
            path.unlink()

    monkeypatch.setattr("fcntl.flock", flock)
    with (
        folders.locked_folder(tmp_path, ".lock"),
        open(path) as file,
        pytest.raises(BlockingIOError),
    ):
        real_flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert list(removals) == []


def test_a_lock_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"Cannot write to .*file.*: Not a directory"),
        folders.locked_folder(tmp_path / "file" / "out", ".lock"),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("name", ["sub/..", "sub/../"])
def test_a_folder_named_by_the_way_back(tmp_path, name):
    (tmp_path / "out" / "sub").mkdir(parents=True)
    with folders.atomic_directory(tmp_path / "out" / name) as staging:
        (staging / "new").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", [".", "sub/..", "{}"])
def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch, name):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(InputError, match="is the current folder, which cannot be replaced"),
        folders.atomic_directory(name.format(tmp_path)),
    ):
        raise AssertionError
    assert [path.name for path in tmp_path.iterdir()] == ["sub"]
