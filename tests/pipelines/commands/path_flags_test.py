"""Flags that name files and folders: all go through `serving.release.paths`."""

import pytest
from absl import logging

from pipelines import cli
from pipelines.commands.table import COMMANDS

TLS = ("certificate", "key", "server_ca")

PATH_FLAGS = [
    (command, flag)
    for command in COMMANDS
    for flag, spec in COMMANDS[command].COMMAND.flags.items()
    if spec.value in ("FILE", "DIR", "LOG") and spec.kind != "repeated"
]
"""Of flags that may be given several times the commands settle each path themselves."""


@pytest.fixture(autouse=True)
def no_debugging():
    """A command that is refused has not set this yet, and earlier tests may have."""
    logging.set_verbosity(logging.INFO)


def words_of(command, **values):
    """A command line with all required flags, and others."""
    required = dict.fromkeys(COMMANDS[command].COMMAND.required, "here") | values
    return [command, *(f"--{flag}={value}" for flag, value in required.items())]


STORE_FLAGS = [flag for flag in PATH_FLAGS if COMMANDS[flag[0]].COMMAND.flags[flag[1]].store]
"""Those whose values may be in object stores."""

LOCAL_FLAGS = [flag for flag in PATH_FLAGS if flag not in STORE_FLAGS]


def test_which_paths_must_be_on_this_machine():
    """Secrets, which are watched; data of other libraries; what is served on a laptop."""
    assert {flag for _, flag in LOCAL_FLAGS} == {
        "admin_token_file",
        "data_dir",
        "release_cache",
        *(f"{prefix}tls_{name}" for prefix in ("", "tf_serving_", "shards_") for name in TLS),
        "tls_client_ca",
        "tls_server_ca",
        *(flag for command, flag in LOCAL_FLAGS if command in ("doctor", "tfx")),
    }


@pytest.mark.parametrize(("command", "flag"), LOCAL_FLAGS)
def test_what_is_not_on_this_machine_is_refused(command, flag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words_of(command, **{flag: "gs://bucket/x"})) == 1
    assert capsys.readouterr().err == (
        f"recall {command}: error: --{flag}=gs://bucket/x is not on this machine, as it has to be "
        "here. Copy it by other means, and name a local path.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("command", "flag"), STORE_FLAGS)
def test_urls_of_stores(command, flag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    values, _ = cli.parse(command, words_of(command, **{flag: "S3A://bucket//x/"})[1:])
    assert values[flag].value == "s3://bucket/x"
    assert cli.main(words_of(command, **{flag: "abfs://bucket/x"})) == 1
    assert capsys.readouterr().err == (
        f"recall {command}: error: --{flag}=abfs://bucket/x is at a place that is neither read nor "
        "written: s3://, gs://, hdfs:// and local paths are. Copy the data by other means.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("command", "flag"), PATH_FLAGS)
def test_the_home_folder_and_file_urls_at_every_flag(command, flag, monkeypatch):
    monkeypatch.setenv("HOME", "/h/ann")
    for given, meant in (("~/a [b]/", "/h/ann/a [b]"), ("file:///a%20b", "/a b")):
        values, _ = cli.parse(command, words_of(command, **{flag: given})[1:])
        assert values[flag].value == meant


def test_runs_that_are_compared_are_paths(monkeypatch, capsys):
    monkeypatch.setenv("HOME", "/h/ann")
    assert cli.main(["compare", "~/a [b]/", "file:///a%20b"]) == 1
    assert "/h/ann/a [b]" in capsys.readouterr().err
    assert cli.main(["compare", "gs://bucket/x", "here"]) == 1
    assert "--runs=gs://bucket/x is not on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("log", ["tfds:a/b:train", "synthetic:users=5,items=3"])
def test_sources_are_no_paths(log):
    values, _ = cli.parse("ingest", words_of("ingest", events=log)[1:])
    assert values.events == log


def test_addresses_are_no_paths():
    values, _ = cli.parse("query", ["--server=http://127.0.0.1:8501"])
    assert values.server == "http://127.0.0.1:8501"


def test_a_folder_of_datasets_without_one(tmp_path, capsys):
    words = ["ingest", "--events=log.csv", "--data_dir=here", f"--output={tmp_path / 'out'}"]
    assert cli.main(words) == 2
    assert "--data_dir is for tfds:NAME, not for --events=log.csv." in capsys.readouterr().err
