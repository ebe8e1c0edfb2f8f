"""When files of a version count as changed."""

import os
import shutil

import pytest

from serving.models.sources import SavedModelSource
from serving.monitoring.metrics import Metrics
from serving.servables.release_source import ReleaseSource

WEIGHTS = "variables/variables.index"


@pytest.fixture(params=["release", "saved_model"])
def version(request, tmp_path, release_dir):
    """Version 3 of a source: a function that stamps it, and the folder of its user tower."""
    serving_dir = tmp_path / "serving"
    shutil.copytree(release_dir, serving_dir)
    if request.param == "release":
        source = ReleaseSource(serving_dir, ("user_tower",), load_release=None)
    else:
        source = SavedModelSource("tower", serving_dir / "user_tower", Metrics())
    return lambda: source.stamp(3), serving_dir / "user_tower" / "3"


def _write_the_same_again(path):
    path.write_bytes(path.read_bytes())


def _replace_by_a_copy_of_equal_age(path):
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def _truncate(path):
    os.truncate(path, 1)


def _add_a_neighbour(path):
    path.with_name("neighbour").touch()


def _remove(path):
    path.unlink()


def _allow_to_read(path):
    path.chmod(0o644 if path.stat().st_mode & 0o077 == 0 else 0o600)


@pytest.mark.parametrize(
    "change",
    [
        _write_the_same_again,
        _replace_by_a_copy_of_equal_age,
        _truncate,
        _add_a_neighbour,
        _remove,
        _allow_to_read,
    ],
)
@pytest.mark.parametrize("name", ["saved_model.pb", WEIGHTS])
def test_a_change_of_one_file_is_seen(version, change, name):
    stamp, folder = version
    before = stamp()
    assert stamp() == before
    change(folder / name)
    assert stamp() != before
    assert len({before, stamp()}) == 2  # It can be hashed, too.


def test_reading_is_no_change(version):
    stamp, folder = version
    before = stamp()
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()
    assert stamp() == before


def test_a_version_that_is_gone_has_a_stamp_of_its_own(version):
    stamp, folder = version
    before = stamp()
    shutil.rmtree(folder)
    assert stamp() == stamp() != before
