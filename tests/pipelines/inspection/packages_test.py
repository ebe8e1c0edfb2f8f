"""Checks of the packages: what is missing, and what collides."""

import importlib.metadata
import os

from pipelines.inspection import packages
from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW


def test_versions_here_are_as_needed():
    found = packages.check_versions()
    assert found.state in (OK, NOTE), found.text
    assert found.facts["numpy"] == importlib.metadata.version("numpy")


def test_versions_that_are_not(monkeypatch):
    needs = ["numpy<1", "no-such-package>=2", 'pywin32; sys_platform == "win32"', "absl-py"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    found = packages.check_versions()
    assert found.state == BROKEN
    assert "no-such-package is missing" in found.text
    assert "instead of <1" in found.text
    assert "pywin32" not in found.text
    assert found.remedy


def test_what_extras_lack_is_no_fault(monkeypatch):
    needs = [
        "absl-py",
        'no-such-package>=2; extra == "train"',
        'absl-py<1; extra == "serve"',
        'no-such-linter; extra == "dev"',
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs[:2])
    found = packages.check_versions()
    assert found.state == NOTE
    assert found.facts["lacks"] == {"train": ["no-such-package"]}
    assert "pip install 'recall[train]'" in found.remedy
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    found = packages.check_versions()
    assert found.state == BROKEN
    assert "instead of <1" in found.text
    assert "linter" not in found.text


def test_a_source_folder_that_is_not_installed(monkeypatch):
    def nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", nothing)
    assert packages.check_versions().state == NOTE


def test_two_tensorflows(tmp_path, monkeypatch):
    assert packages.check_conflicts().state == OK
    folder = tmp_path / "tensorflow_cpu-2.20.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorflow-cpu\nVersion: 2.20\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = packages.check_conflicts()
    assert found.state == BROKEN
    assert found.facts["tensorflows"] == ["tensorflow", "tensorflow-cpu"]
    assert found.remedy.startswith("pip uninstall tensorflow-cpu")


def test_a_package_with_one_of_our_names(tmp_path, monkeypatch):
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "__init__.py").touch()
    monkeypatch.setattr(packages, "_ROOT", tmp_path)
    found = packages.check_conflicts()  # Ours lie elsewhere than this root.
    assert found.state == BROKEN
    assert len(found.facts["foreign"]) == 3


def test_settings_of_the_environment(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    given = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "4",
        "TF_USE_LEGACY_KERAS": "0",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    found = {finding.name: finding.state for finding in packages.check_settings(given)}
    assert found == {"OMP_NUM_THREADS": SLOW, "keras": NOTE, "oneDNN": SLOW}
    assert packages.check_settings({"TF_USE_LEGACY_KERAS": "1"}) == []
