"""Which names of folders are versions: TensorFlow Serving's reading, nothing beyond int64."""

import errno
import logging
import os

import pytest

from recall.errors import InputError
from serving.release import version_folders
from serving.release.version_folders import VersionFolders, find_versions

LARGEST = "9223372036854775807"


def _make(parent, *names):
    for name in names:
        (parent / name).mkdir(parents=True)
    return parent


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("3", 3),
        ("0", 0),
        ("00000123", 123),
        ("000", 0),
        (LARGEST, 2**63 - 1),
        ("000" + LARGEST, 2**63 - 1),
        ("1700000000", 1_700_000_000),
    ],
)
def test_numbers_are_versions(tmp_path, name, version):
    found = find_versions(_make(tmp_path, name))
    assert found.folders == {version: tmp_path / name}
    assert not found.ignored


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("9223372036854775808", "is more than the largest version"),  # 2^63
        ("99999999999999999999", "is more than the largest version"),  # 20 digits
        ("18446744073709551617", "is more than the largest version"),  # 1 modulo 2^64
        ("1" * 255, "is more than the largest version"),  # the longest name of a folder
        ("-1", "is not a number"),
        ("+5", "is not a number"),
        ("1_0", "is not a number"),
        (" 7", "is not a number"),
        ("\u0663", "is not a number"),  # ARABIC-INDIC DIGIT THREE, an int for Python
        ("1\u0663", "is not a number"),
    ],
)
def test_what_only_looks_like_a_number_is_said(tmp_path, name, why):
    found = find_versions(_make(tmp_path, "3", name))
    assert list(found.folders) == [3]
    assert list(found.ignored) == [name]
    assert why in found.ignored[name]


def test_other_names_are_nobodys_business(tmp_path):
    names = ("3.tmp", ".3.0a1b2c3d.partial", "v5", "latest", "\u00b2", "1.0", "0x10", "1e3", "_")
    found = find_versions(_make(tmp_path, *names))
    assert not found.folders
    assert not found.ignored


def test_two_folders_with_one_number(tmp_path):
    found = find_versions(_make(tmp_path, "0005", "005", "5", "07", "007"))
    assert found.folders == {5: tmp_path / "5", 7: tmp_path / "07"}
    assert found.ignored == {
        "0005": "is version 5 again, after 5",
        "005": "is version 5 again, after 5",
        "007": "is version 7 again, after 07",
    }


def test_files_and_links(tmp_path):
    parent = _make(tmp_path / "models", "1").parent / "models"
    (parent / "2").write_text("a file")
    (parent / "README").write_text("a file")
    (parent / "3").symlink_to(_make(tmp_path, "elsewhere") / "elsewhere")
    (parent / "4").symlink_to(tmp_path / "nowhere")
    (parent / "5").symlink_to(parent / "5")
    found = find_versions(parent)
    assert sorted(found.folders) == [1, 3]
    assert found.ignored == {
        "2": "is no folder",
        "4": "is no folder",
        "5": "cannot be read (Too many levels of symbolic links)",
    }


def test_one_entry_that_cannot_be_looked_at_hides_no_other(tmp_path, monkeypatch):
    _make(tmp_path, "1", "2")

    class Entry:
        def __init__(self, entry):
            self.name, self._entry = entry.name, entry

        def is_dir(self):
            if self.name == "2":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return self._entry.is_dir()

    class Listing:
        def __init__(self, path):
            self._entries = [Entry(entry) for entry in real(path)]

        def __enter__(self):
            return iter(self._entries)

        def __exit__(self, *exception):
            return None

    real = os.scandir
    monkeypatch.setattr(version_folders.os, "scandir", Listing)
    found = find_versions(tmp_path)
    assert sorted(found.folders) == [1]
    assert found.ignored == {"2": "cannot be read (Permission denied)"}


def test_a_folder_that_cannot_be_read_is_an_error_of_one_line(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match=r"Cannot read the folder .*loop: Too many levels"):
        find_versions(loop)
    assert not find_versions(tmp_path / "missing").folders
    (tmp_path / "file").touch()
    assert not find_versions(tmp_path / "file").folders


def test_each_is_said_once_and_again_when_it_comes_back(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    folders = VersionFolders(_make(tmp_path, "3", "99999999999999999999"))
    assert list(folders.find()) == list(folders.find()) == [3]
    assert caplog.messages == [
        f"{tmp_path}: ignored '99999999999999999999' is more than the largest version, {LARGEST}."
    ]
    (tmp_path / "-1").mkdir()
    folders.find()
    assert caplog.messages[1:] == [
        f"{tmp_path}: ignored '-1' is not a number of the digits 0 to 9."
    ]
    (tmp_path / "-1").rmdir()
    folders.find()
    (tmp_path / "-1").mkdir()
    folders.find()
    assert len(caplog.messages) == 3


def test_many_odd_names_make_one_short_line(tmp_path, caplog):
    VersionFolders(_make(tmp_path, *(f"-{n}" for n in range(12)), "1" * 255)).find()
    (message,) = caplog.messages
    assert message.endswith("; and 8 more.")
    assert len(message) < 1000
