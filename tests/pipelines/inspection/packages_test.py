"""Checks of the packages: what is missing, what collides, what TensorFlow says when it fails."""

import importlib.metadata
import json
import os
import sys

import pytest

from pipelines import cli
from pipelines.inspection import doctor, packages
from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW


def test_versions_here_are_as_needed():
    found = packages.check_versions()
    assert found.state == OK
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


def write_python(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("kill -ILL $$", "signal 4 ended it"),
        ("echo first >&2; echo 'ImportError: no module' >&2; exit 1", "ImportError: no module"),
        ("exit 3", "no reason given"),
    ],
)
def test_a_tensorflow_that_cannot_be_imported(tmp_path, program, said):
    (found,) = packages.try_tensorflow(write_python(tmp_path / "python", program))
    assert (found.name, found.state) == ("tensorflow", BROKEN)
    assert said in found.text


def say(**changes):
    values = {
        "import_s": 3.0,
        "version": "2.20.0",
        "keras": "2.20.1",
        "is_cuda_build": True,
        "cuda": "12.5",
        "gpus": [],
        **changes,
    }
    return f"echo 'FOUND{json.dumps(values)}'"


def test_scann_that_crashes_after_tensorflow_came_up(tmp_path):
    python = write_python(tmp_path / "python", f"{say()}; kill -SEGV $$")
    found = {finding.name: finding for finding in packages.try_tensorflow(python)}
    assert found["tensorflow"].state == OK
    assert found["scann"].state == BROKEN
    assert "signal 11" in found["scann"].text


def test_keras_3_a_slow_import_and_a_bad_index(tmp_path):
    python = write_python(tmp_path / "python", say(keras="3.15.1", scann_recall=0.2))
    found = {finding.name: finding for finding in packages.try_tensorflow(python)}
    assert found["tensorflow"].state == BROKEN
    assert found["scann"].state == BROKEN
    python = write_python(tmp_path / "python", say(import_s=60.0, scann_recall=1.0))
    found = {finding.name: finding for finding in packages.try_tensorflow(python)}
    assert (found["tensorflow"].state, found["scann"].state) == (SLOW, OK)


def test_gpus(tmp_path, monkeypatch):
    def gpu(**changes):
        python = write_python(tmp_path / "python", say(scann_recall=1.0, **changes))
        return {finding.name: finding for finding in packages.try_tensorflow(python)}["gpu"]

    assert gpu(gpus=["NVIDIA H100"]).text == "NVIDIA H100."
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(packages, "_DEVICES", tmp_path / "dev")
    assert gpu().state == OK
    (tmp_path / "dev" / "nvidia0").touch()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert "nvidia0 in this machine are not used" in gpu().text
    assert "CUDA 12.5" in gpu().text
    assert "built without CUDA" in gpu(is_cuda_build=False).text


def test_a_check_that_fails_is_a_finding(tmp_path, monkeypatch):
    def broken():
        raise RuntimeError("a defect")

    monkeypatch.setattr(packages, "try_tensorflow", lambda: [])
    monkeypatch.setattr(packages, "check_conflicts", broken)
    found = [finding for finding in doctor.examine(tmp_path) if finding.state == BROKEN]
    assert [(finding.name, finding.text) for finding in found] == [
        ("conflicts", "cannot be looked at: RuntimeError('a defect')")
    ]


def test_the_command_on_this_machine(tmp_path, capsys):
    assert cli.main(["doctor", f"--folder={tmp_path}", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {finding["name"]: finding for finding in document["findings"]}
    assert document["ok"] is True
    assert found["scann"]["facts"]["recall@10"] > 0.95
    assert found["tensorflow"]["facts"]["keras"].startswith("2.")
    assert found["disk"]["facts"]["folder"] == str(tmp_path)
    assert all(finding["remedy"] or finding["state"] == "ok" for finding in document["findings"])


def test_broken_things_are_an_exit_code(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "executable", write_python(tmp_path / "python", "exit 1"))
    assert cli.main(["doctor", f"--folder={tmp_path}"]) == 1
    assert "Broken: tensorflow" in capsys.readouterr().out
