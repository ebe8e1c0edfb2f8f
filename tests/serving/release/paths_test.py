"""Paths of people: what they mean, what is refused, and what TensorFlow makes of them."""

from pathlib import Path

import pytest
import tensorflow as tf

from recall.errors import InputError
from serving.release import paths
from serving.server import RecallServer


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("runs/mine", "runs/mine"),
        ("runs/mine/", "runs/mine"),
        ("/", "/"),
        ("../x", "../x"),
        ("run [1] 100%20 ä", "run [1] 100%20 ä"),
        ("~", "/h/ann"),
        ("~/x", "/h/ann/x"),
        ("x/~/y~", "x/~/y~"),
        ("file:///data/a b", "/data/a b"),
        ("file:///data/a%20b%25", "/data/a b%"),
        ("file://localhost/data", "/data"),
        ("file:/data", "/data"),
        ("FILE:///data/[1]?", "/data/[1]?"),
        ("12:30/x", "12:30/x"),
    ],
)
def test_what_a_path_means(monkeypatch, given, meant):
    monkeypatch.setenv("HOME", "/h/ann")
    assert paths.to_local(given, "--output") == meant


@pytest.mark.parametrize(
    "given",
    ["gs://b/x", "s3://b", "S3A://b/x", "hdfs://host:9/x", "hdfs:/x", "https://h/x", "dbfs:/x"],
)
def test_other_places_are_refused(given):
    with pytest.raises(InputError) as caught:
        paths.to_local(given, "--output")
    assert str(caught.value) == (
        f"--output={given} is not on this machine, as it has to be here. Copy it by other means, "
        "and name a local path."
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("S3A://b//x/", "s3://b/x"),
        ("hdfs://h:9/x", "hdfs://h:9/x"),
        ("file:///x", "/x"),
        ("x/", "x"),
    ],
)
def test_places_of_stores_too(given, meant):
    assert paths.settle(given, "--output") == meant


@pytest.mark.parametrize("given", ["abfs://b/x", "https://h/x", "hdfs:/x", "s3:/b/x"])
def test_places_that_nothing_reads(given):
    with pytest.raises(InputError) as caught:
        paths.settle(given, "--output")
    assert str(caught.value) == (
        f"--output={given} is at a place that is neither read nor written: s3://, gs://, hdfs:// "
        "and local paths are. Copy the data by other means."
    )


@pytest.mark.parametrize("given", ["file://[host]/x", "file://host/x"])
def test_a_file_of_another_machine(given):
    with pytest.raises(InputError, match=r"is a file of the machine '.*host.*'; only local"):
        paths.to_local(given, "--events")


def test_the_home_of_nobody():
    with pytest.raises(InputError, match=r"--output=~nobody-here/x begins with `~`.* \./~nobody"):
        paths.to_local("~nobody-here/x", "--output")


@pytest.fixture
def files(tmp_path):
    """`1/a.csv`, `[1]/b.csv`, `[1]/c d.csv` and `[1]/deep/e.csv`."""
    for name in ("1/a.csv", "[1]/b.csv", "[1]/c d.csv", "[1]/deep/e.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("[1]/*.csv", ["[1]/b.csv", "[1]/c d.csv"]),  # The folder as it is written, not `1`.
        ("[0-9]/*.csv", ["1/a.csv"]),
        ("[1]/**/*.csv", ["[1]/b.csv", "[1]/c d.csv", "[1]/deep/e.csv"]),
        ("1/../[1]/?.csv", ["1/../[1]/b.csv"]),
        ("[1]/b.csv", ["[1]/b.csv"]),
        ("[1]/x*", []),
    ],
)
def test_files_of_a_pattern(files, monkeypatch, pattern, found):
    monkeypatch.chdir(files)
    assert paths.find_files(pattern) == [Path(name) for name in found]
    absolute = [files / name for name in found]
    assert paths.find_files(str(files / pattern)) == absolute


@pytest.mark.parametrize("name", ["run [1]", "run*", "run?", "run\\1", "[", "a [b]*/../c[d]"])
def test_checkpoints_in_a_folder_with_a_pattern_as_its_name(tmp_path, name):
    (tmp_path / "a [b]*").mkdir()
    (tmp_path / "run2").mkdir()
    bystander = tmp_path / "run2" / "ckpt-1.index"
    bystander.touch()
    folder, value = tmp_path / name, tf.Variable(1.0)
    folder.mkdir()
    for number in (2.0, 3.0):  # The second removes the first.
        with paths.without_pattern(folder) as plain:
            manager = tf.train.CheckpointManager(
                tf.train.Checkpoint(value=value), str(plain), max_to_keep=1
            )
            value.assign(number)
            manager.save(checkpoint_number=int(number) - 1)
    value.assign(0.0)
    with paths.without_pattern(folder) as plain:
        manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(value=value), str(plain), max_to_keep=1
        )
        manager.restore_or_initialize()
    assert value.numpy() == 3.0
    assert {p.name.partition(".")[0] for p in folder.iterdir()} == {"checkpoint", "ckpt-2"}
    assert bystander.exists()  # `run*/ckpt-1.*` would have removed it.
    assert not plain.exists()


def test_an_ordinary_folder_keeps_its_name(tmp_path):
    with paths.without_pattern(tmp_path / "a b") as plain:
        assert plain == tmp_path / "a b"


def test_no_place_for_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"No such file.*Rename the folder, or set TMPDIR"):
        paths.without_pattern(tmp_path / "a*").__enter__()
    (tmp_path / "t[mp]").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t[mp]"))
    with pytest.raises(InputError, match=r"for temporary files too\. Rename one of them"):
        paths.without_pattern(tmp_path / "a*").__enter__()
    assert list((tmp_path / "t[mp]").iterdir()) == []


def test_a_release_in_a_folder_with_a_pattern_as_its_name(release_dir, catalogue, tmp_path):
    from serving.api import client
    from serving.api.recall_request import RecallRequest

    link = tmp_path / "release [3]*"
    link.symlink_to(release_dir)
    with RecallServer(link, grpc_port=0, http_port=0) as server:
        answer = client.query(server.grpc_address, RecallRequest(("i3",), k=5))
    expected = catalogue.expected(["i3"], 5, removed=["i3"])
    assert [(item.item_id, item.interest) for item in answer.items] == expected
