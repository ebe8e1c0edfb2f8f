"""TensorFlow and ScaNN tried in another process, and the command as a whole."""

import json
import sys

import pytest

from pipelines import cli
from pipelines.inspection import doctor, packages, trial
from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW


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
    (found,) = trial.try_tensorflow(write_python(tmp_path / "python", program))
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
    found = {finding.name: finding for finding in trial.try_tensorflow(python)}
    assert found["tensorflow"].state == OK
    assert found["scann"].state == BROKEN
    assert "signal 11" in found["scann"].text


def test_keras_3_a_slow_import_and_a_bad_index(tmp_path):
    python = write_python(tmp_path / "python", say(keras="3.15.1", scann_recall=0.2))
    found = {finding.name: finding for finding in trial.try_tensorflow(python)}
    assert found["tensorflow"].state == BROKEN
    assert found["scann"].state == BROKEN
    python = write_python(tmp_path / "python", say(import_s=60.0, scann_recall=1.0))
    found = {finding.name: finding for finding in trial.try_tensorflow(python)}
    assert (found["tensorflow"].state, found["scann"].state) == (SLOW, OK)


def test_gpus(tmp_path, monkeypatch):
    def gpu(**changes):
        python = write_python(tmp_path / "python", say(scann_recall=1.0, **changes))
        return {finding.name: finding for finding in trial.try_tensorflow(python)}["gpu"]

    assert gpu(gpus=["NVIDIA H100"]).text == "NVIDIA H100."
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(trial, "_DEVICES", tmp_path / "dev")
    assert gpu().state == OK
    (tmp_path / "dev" / "nvidia0").touch()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert "nvidia0 in this machine are not used" in gpu().text
    assert "CUDA 12.5" in gpu().text
    assert "built without CUDA" in gpu(is_cuda_build=False).text


def test_a_check_that_fails_is_a_finding(tmp_path, monkeypatch):
    def broken():
        raise RuntimeError("a defect")

    monkeypatch.setattr(trial, "try_tensorflow", lambda: [])
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


def test_without_tensorflow(monkeypatch):
    monkeypatch.setattr(packages, "version_of", lambda name: None)
    (found,) = trial.try_tensorflow()
    assert (found.name, found.state) == ("tensorflow", NOTE)


def test_servers_have_no_keras(tmp_path):
    python = write_python(tmp_path / "python", say(keras=None, scann_recall=1.0))
    found = {finding.name: finding.state for finding in trial.try_tensorflow(python)}
    assert (found["tensorflow"], found["scann"]) == (NOTE, OK)
