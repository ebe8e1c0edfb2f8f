"""What a command names in stores: copies, results, and the names that people read."""

import contextlib
import gc
import logging
import sys
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.mirrors.borrowed import Borrowed
from pipelines.mirrors.mirror import Mirror
from recall.errors import InputError
from tests.s3_faults import Fault

LOG = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{(user + step) % 7},{1000 + step}\n" for user in range(20) for step in range(6)
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_files_and_folders(s3, bucket):
    s3.put(f"{bucket}/config.json", b"{}")
    s3.put(f"{bucket}/model/artifact.json", b"{}")
    with Borrowed() as places:
        file, folder = places.read(f"{bucket}/config.json"), places.read(f"{bucket}/model")
        output = places.write(f"{bucket}/report.html")
        for path, text in ((file, "{}"), (f"{folder}/artifact.json", "{}")):
            with open(path, encoding="utf-8") as stream:
                assert stream.read() == text
        with open(output, "w", encoding="utf-8") as stream:
            stream.write("<html>")
        updated = places.update(f"{bucket}/new")
        with open(f"{updated}/a b.txt", "w", encoding="utf-8") as stream:
            stream.write("a")
    assert s3.get(f"{bucket}/report.html") == b"<html>"
    assert s3.get(f"{bucket}/new/a b.txt") == b"a"
    assert "recall_files.json" not in " ".join(s3.keys(f"{bucket}/model"))  # It was only read.


@pytest.mark.parametrize("first", ["read", "update"])
def test_a_folder_is_not_read_while_it_is_written(bucket, s3, first):
    s3.put(f"{bucket}/run/artifact.json", b"{}")
    second = {"read": "update", "update": "read"}[first]
    with Borrowed() as places:
        getattr(places, first)(f"{bucket}/run")
        with pytest.raises(InputError, match="run is given twice"):
            getattr(places, second)(f"{bucket}/run")
    with Borrowed() as places:
        assert places.read(f"{bucket}/run") == places.read(f"{bucket}/run")


def test_a_result_that_is_one_file(s3, bucket):
    url = f"{bucket}/recs.parquet"
    for content, expected in ((b"1", b"1"), (None, b"1"), (b"2", b"2")):
        with Borrowed() as places:
            path = Path(places.result(url))
            assert path.exists() == (content != b"1")
            if content is not None:
                path.write_bytes(content)
        assert s3.get(url) == expected
    with Borrowed() as places:
        Path(places.result(f"{bucket}/folder"), "a").write_bytes(b"a")
    assert s3.get(f"{bucket}/folder/a") == b"a"


def test_the_records_of_runs_alone(s3, bucket):
    for name in ("a/evaluation/report.json", "b/model/log.jsonl", "a/model/weights"):
        s3.put(f"{bucket}/runs/{name}", b"{}")
    with Borrowed() as places:
        folder = Path(places.records(f"{bucket}/runs"))
        copied = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert copied == ["a/evaluation/report.json", "b/model/log.jsonl"]


def test_nothing_published(s3, bucket):
    with pytest.raises(InputError, match=rf"{bucket}/serving holds no release\. Run `recall push"):
        Borrowed().release(f"{bucket}/serving")


@pytest.mark.parametrize(
    ("error", "is_there"),
    [(InputError("bad"), True), (KeyError("x"), False), (KeyboardInterrupt(), False)],
)
def test_what_an_error_leaves(s3, bucket, error, is_there):
    with contextlib.suppress(InputError, KeyError, KeyboardInterrupt), Borrowed() as places:
        folder = places.update(f"{bucket}/run")
        with open(f"{folder}/a", "w", encoding="utf-8") as stream:
            stream.write("a")
        raise error
    assert ("a" in s3.keys(f"{bucket}/run")) == is_there


@pytest.mark.parametrize("place", ["folder", "recs.parquet"])
def test_who_may_not_write_hears_of_it_before_the_job(s3, bucket, door, place):
    with Borrowed() as places:
        places.result(f"{bucket}/runs/{place}")
    assert s3.keys(bucket) == []
    door.faults = [Fault(("PUT",), status=403, code="AccessDenied")]
    with Borrowed() as places, pytest.raises(InputError) as caught:
        places.result(f"{bucket}/more/{place}")
    assert str(caught.value).startswith(f"Cannot write {bucket}/more/")
    assert "access denied. The credentials must be valid and may write there" in str(caught.value)


def test_a_store_that_goes_away_while_results_are_copied(s3, bucket, door, cache):
    """No reader takes half of it for a whole; the same command goes on."""
    for is_away in (True, False):
        door.faults = []
        with (
            pytest.raises(InputError) if is_away else contextlib.nullcontext(),
            Borrowed() as places,
        ):
            folder = Path(places.update(f"{bucket}/run"))
            for name in ("a", "b", "c"):
                (folder / name).write_text(name)
            # After the list that says that files are coming, and one of them.
            door.faults = [Fault(("PUT",), after=2)] if is_away else []
        if is_away:
            door.faults = []
            with pytest.raises(InputError, match="is being written, or its writer was killed"):
                Mirror(f"{bucket}/run", cache / "other").fetch(to_write=False)
    assert s3.get(f"{bucket}/run/c") == b"c"
    with Borrowed() as places:
        assert sorted(p.name for p in Path(places.read(f"{bucket}/run")).iterdir()) == list("abc")


def test_people_read_the_names_they_gave(s3, bucket, capsys, caplog):
    s3.put(f"{bucket}/model/artifact.json", b"{}")
    caplog.set_level(logging.INFO)
    with Borrowed() as places:
        folder = places.read(f"{bucket}/model")
        with places.shown():
            print(f"Wrote {folder}/x")
            sys.stdout.write(f"in {folder}\n")
            logging.getLogger("pipelines.mine").info("Wrote %s (%d)", folder, 3)
        with pytest.raises(InputError) as caught, places.shown():
            raise InputError(f"{folder}/x is damaged.")
    assert capsys.readouterr().out == f"Wrote {bucket}/model/x\nin {bucket}/model\n"
    assert f"Wrote {bucket}/model (3)" in caplog.messages
    assert str(caught.value) == f"{bucket}/model/x is damaged."
    logging.getLogger("pipelines.mine").info("%s", folder)
    assert caplog.messages[-1] == folder


def test_what_is_printed_waits_for_the_store_or_until_it_is_flushed(s3, bucket, capsys):
    s3.put(f"{bucket}/model/artifact.json", b"{}")
    with Borrowed() as places:
        folder = places.read(f"{bucket}/model")
        with places.shown():
            print(f"TensorBoard shows {folder}", flush=True)
            assert capsys.readouterr().out == f"TensorBoard shows {bucket}/model\n"
            print(f"Wrote {folder}/x")
            assert capsys.readouterr().out == ""
    assert capsys.readouterr().out == f"Wrote {bucket}/model/x\n"


def test_what_did_not_come_to_the_store_is_not_printed(s3, bucket, capsys, monkeypatch):
    def refuse(self):
        raise InputError("The store is away.")

    monkeypatch.setattr(Borrowed, "give_back", refuse)
    with pytest.raises(InputError, match="away"), Borrowed() as places, places.shown():
        print("Wrote x")
    del places
    gc.collect()
    assert capsys.readouterr().out == ""


def test_a_command_from_store_to_store(s3, bucket, capsys):
    s3.put(f"{bucket}/log.csv", LOG.encode())
    words = ["ingest", f"--events={bucket}/log.csv", f"--output={bucket}/run/examples/"]
    assert cli.main(words) == 0, capsys.readouterr().err
    assert f"Wrote {bucket}/run/examples" in capsys.readouterr().err
    names = s3.keys(f"{bucket}/run/examples")
    assert {"artifact.json", "vocabulary.parquet", "recall_files.json"} <= set(names)
    assert cli.main(words) == 0
    err = capsys.readouterr().err
    assert f"{bucket}/run/examples is up to date." in err
    assert "cache" not in err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["train", "--examples={bucket}/none", "--output={bucket}/model"],
            "{bucket}/none does not exist. Check the bucket and the name.",
        ),
        (
            ["export", "--model={bucket}/other", "--output={bucket}/x"],
            "{bucket}/other holds no finished artifact. Run `recall train` first.",
        ),
        (
            ["train", "--examples=s3://none-here/x", "--output={bucket}/model"],
            "there is no bucket 'none-here'",
        ),
        (["export", "--model=s3:///x", "--output=y"], "--model=s3:///x names no bucket."),
        (
            ["serve", "--release={bucket}/none", "--release_cache=/dev/null/x"],
            "Cannot write to /dev/null/x: Not a directory.",
        ),
        (
            ["tfx", "--events=log.csv", "--output={bucket}/run"],
            "--output={bucket}/run is not on this machine, as it has to be here",
        ),
        (["export", "--model=abfs://x/y", "--output=x"], "--model=abfs://x/y is at a place that"),
    ],
)
def test_errors_are_one_line(s3, bucket, capsys, words, error):
    s3.put(f"{bucket}/other/a.txt", b"a")
    assert cli.main([word.format(bucket=bucket) for word in words]) in (1, 2)
    *progress, line = capsys.readouterr().err.splitlines()
    assert all(" Copied s3://" in line for line in progress)
    assert error.format(bucket=bucket) in line
    assert "cache/" not in line
