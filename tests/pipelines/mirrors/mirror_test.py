"""A folder of a real S3 server and its copy: both directions, damage, killed and other writers."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from pipelines.mirrors.mirror import Mirror
from recall.errors import InputError
from serving.stores import copies
from serving.stores.failures import MissingError

RUN = {
    "examples/artifact.json": b'{"job": "ingest"}',
    "examples/Split-train/part-0.gz": b"train" * 1000,
    "model/artifact.json": b'{"job": "train"}',
    "model/checkpoints/ckpt-1.index": b"index",
    "report.html": b"<html>",
}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("serving.stores.attempts.PAUSE_S", 0.0)


@pytest.fixture
def copied(monkeypatch):
    """What went over the network: `<` or `>` and the end of the URL."""
    found, download, upload = [], copies.download, copies.upload

    def recorded_download(url, path):
        found.append(f"<{url.partition('/run/')[2]}")
        return download(url, path)

    def recorded_upload(path, url):
        found.append(f">{url.partition('/run/')[2]}")
        return upload(path, url)

    monkeypatch.setattr(copies, "download", recorded_download)
    monkeypatch.setattr(copies, "upload", recorded_upload)
    return found


@pytest.fixture
def machine(tmp_path):
    """A cache of a machine by name."""
    return lambda name: tmp_path / name


def write(folder: Path, files=RUN) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def put(url: str, cache: Path, files=RUN) -> Mirror:
    """A job on a machine that writes these files."""
    mirror = Mirror(url, cache)
    mirror.fetch(to_write=True)
    write(mirror.folder, files)
    mirror.put()
    return mirror


def fetched(url: str, cache: Path) -> dict[str, bytes]:
    mirror = Mirror(url, cache)
    mirror.fetch(to_write=False)
    return contents(mirror.folder)


def test_there_and_on_another_machine(s3, bucket, machine):
    put(f"{bucket}/run", machine("a"))
    lists = {"recall_files.json", "examples/recall_files.json", "model/recall_files.json"}
    assert set(s3.keys(f"{bucket}/run")) == {*RUN, *lists}
    assert fetched(f"{bucket}/run", machine("b")) == RUN
    assert fetched(f"{bucket}/run/examples", machine("b")) == {
        "artifact.json": RUN["examples/artifact.json"],
        "Split-train/part-0.gz": RUN["examples/Split-train/part-0.gz"],
    }
    listed = json.loads(s3.get(f"{bucket}/run/model/recall_files.json"))
    assert listed["whole"] is True
    assert listed["files"]["checkpoints/ckpt-1.index"] == {
        "bytes": 5,
        # printf index | sha256sum
        "sha256": "1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6",
    }


def test_only_what_differs_is_copied(bucket, machine, copied):
    url = f"{bucket}/run"
    mirror = put(url, machine("a"))
    assert sorted(copied) == sorted(f">{name}" for name in RUN)
    fetched(url, machine("b"))
    copied.clear()
    assert mirror.put() == 0
    fetched(url, machine("a"))
    fetched(url, machine("b"))
    assert copied == []
    mirror.fetch(to_write=True)
    (mirror.folder / "model" / "checkpoints" / "ckpt-1.index").unlink()
    write(mirror.folder, {"model/checkpoints/ckpt-2.index": b"later"})
    assert mirror.put() == 2
    assert copied == [">model/checkpoints/ckpt-2.index"]
    copied.clear()
    assert "model/checkpoints/ckpt-2.index" in fetched(url, machine("b"))
    assert "model/checkpoints/ckpt-1.index" not in fetched(url, machine("b"))
    assert copied == ["<model/checkpoints/ckpt-2.index"]


def test_a_part_that_is_removed_here_goes_there(s3, bucket, machine):
    mirror = put(f"{bucket}/run", machine("a"))
    for name in ("artifact.json", "checkpoints/ckpt-1.index"):
        (mirror.folder / "model" / name).unlink()
    mirror.put()
    assert not [name for name in s3.keys(f"{bucket}/run") if name.startswith("model")]
    assert fetched(f"{bucket}/run", machine("b")) == {
        name: content for name, content in RUN.items() if not name.startswith("model")
    }


def test_what_is_left_alone(s3, bucket, machine):
    s3.put(f"{bucket}/run/serving/versions/1.json", b"{}")
    mirror = Mirror(f"{bucket}/run", machine("a"), without=("serving",))
    mirror.fetch(to_write=True)
    write(mirror.folder, {**RUN, "serving/mine": b"", ".lock": b"", "model/.x.partial": b""})
    mirror.put()
    names = [name for name in s3.keys(f"{bucket}/run") if "recall_files" not in name]
    assert names == sorted([*RUN, "serving/versions/1.json"])


def test_a_folder_that_was_copied_by_hand(s3, bucket, machine):
    for name, content in RUN.items():
        s3.put(f"{bucket}/run/{name}", content)
    assert fetched(f"{bucket}/run", machine("a")) == RUN


def test_nothing_there(s3, bucket, machine):
    with pytest.raises(MissingError, match=rf"{bucket}/run does not exist\. Check the bucket"):
        fetched(f"{bucket}/run", machine("a"))
    mirror = Mirror(f"{bucket}/run", machine("a"))
    mirror.fetch(to_write=True)
    assert list(mirror.folder.iterdir()) == []
    with pytest.raises(InputError, match="there is no bucket 'none-here'"):
        Mirror("s3://none-here/run", machine("a")).fetch(to_write=True)


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_object(s3, bucket, machine, damage):
    put(f"{bucket}/run", machine("a"))
    url = f"{bucket}/run/examples/Split-train/part-0.gz"
    content = RUN["examples/Split-train/part-0.gz"]
    if damage == "missing":
        s3.delete(url)
    else:
        s3.put(url, content[:99] if damage == "truncated" else content[:-1] + b"?")
    expected = {
        "truncated": "has 99 bytes, but recall_files.json says 5000 bytes: the folder is damaged.",
        "changed": "is damaged: its SHA-256 is not the one in recall_files.json.",
        "missing": "is missing, but recall_files.json says 5000 bytes: the folder is damaged.",
    }[damage]
    with pytest.raises(InputError) as caught:
        fetched(f"{bucket}/run", machine("b"))
    assert str(caught.value).startswith(f"{url} {expected}")
    assert not (Mirror(f"{bucket}/run", machine("b")).folder / "examples" / "Split-train").is_file()
    s3.put(url, content)
    assert fetched(f"{bucket}/run", machine("b")) == RUN


def test_a_copy_that_was_changed_by_hand_is_made_again(bucket, machine):
    put(f"{bucket}/run", machine("a"))
    fetched(f"{bucket}/run", machine("b"))
    folder = Mirror(f"{bucket}/run", machine("b")).folder
    (folder / "report.html").write_bytes(b"<HTML>")
    (folder / "model" / "more").write_bytes(b"")
    assert fetched(f"{bucket}/run", machine("b")) == RUN


@pytest.mark.parametrize("state", [b"", b"[]", b'{"writing": {}, "files": {"report.html": [1]}}'])
def test_a_damaged_state_costs_copies_only(bucket, machine, state):
    put(f"{bucket}/run", machine("a"))
    fetched(f"{bucket}/run", machine("b"))
    path = Mirror(f"{bucket}/run", machine("b")).folder.parent / "state.json"
    path.write_bytes(state)
    assert fetched(f"{bucket}/run", machine("b")) == RUN


class TestOtherWriters:
    def test_who_comes_second_replaces_nothing(self, bucket, machine):
        first, second = (Mirror(f"{bucket}/run", machine(name)) for name in "ab")
        for mirror, text in ((first, b"1"), (second, b"2")):
            mirror.fetch(to_write=True)
            write(mirror.folder, {**RUN, "model/checkpoints/ckpt-1.index": text})
        first.put()
        with pytest.raises(InputError) as caught:
            second.put()
        assert str(caught.value) == (
            f"{bucket}/run was written by somebody else in the meantime. Nothing of it was "
            "replaced; give the same command again to go on from there."
        )
        expected = {**RUN, "model/checkpoints/ckpt-1.index": b"1"}
        assert fetched(f"{bucket}/run", machine("c")) == expected
        assert put(f"{bucket}/run", machine("b"), {"report.html": b"2"}).put() == 0

    def test_nor_in_a_part_after_one_that_nobody_else_wrote(self, bucket, machine):
        first, second = (Mirror(f"{bucket}/run", machine(name)) for name in "ab")
        put(f"{bucket}/run", machine("c"))
        for mirror in (first, second):
            mirror.fetch(to_write=True)
        write(first.folder, {"model/checkpoints/ckpt-1.index": b"1"})
        write(second.folder, {"examples/more": b"2", "model/checkpoints/ckpt-1.index": b"2"})
        first.put()
        with pytest.raises(InputError, match="run/model was written by somebody else"):
            second.put()
        found = fetched(f"{bucket}/run", machine("d"))
        assert found["model/checkpoints/ckpt-1.index"] == b"1"

    def test_hidden_files_of_others_stay(self, s3, bucket, machine):
        s3.put(f"{bucket}/run/.keep", b"")
        s3.put(f"{bucket}/run/model/.git/config", b"")
        put(f"{bucket}/run", machine("a"))
        names = s3.keys(f"{bucket}/run")
        assert ".keep" in names
        assert "model/.git/config" in names

    def test_one_job_of_a_machine_writes_at_a_time(self, bucket, machine):
        one, other = (Mirror(f"{bucket}/run", machine("a")) for _ in range(2))
        with (
            one.locked(to_write=True),
            pytest.raises(InputError, match="Another job of this machine uses s3://"),
        ):
            other.locked(to_write=True).__enter__()
        with one.locked(to_write=False), other.locked(to_write=False):
            pass


WRITER = """
import sys
from pathlib import Path
from pipelines.mirrors.mirror import Mirror
from serving.stores import copies, files
from tests.halting import Halt
from tests.pipelines.mirrors.mirror_test import write

mirror = Mirror(sys.argv[1], Path(sys.argv[2]))
mirror.fetch(to_write=True)
write(mirror.folder, {"model/checkpoints/ckpt-1.index": b"later"})
halt = Halt(int(sys.argv[3]))
for module, name in ((copies, "upload"), (files, "write_bytes"), (files, "remove_files")):
    halt.before(module, name)
mirror.put()
print("done", halt.calls, flush=True)
"""


def kill_at(url, cache, limit):
    """Lets a process write the run with another checkpoint, and kills it before a write."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(cache), str(limit)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert process.stdout.readline() == "reached\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()


class TestKilledWriters:
    LATER: ClassVar = {**RUN, "model/checkpoints/ckpt-1.index": b"later"}

    @pytest.mark.parametrize(
        "limit", [3, *(pytest.param(limit, marks=pytest.mark.slow) for limit in (1, 2, 4))]
    )
    def test_no_reader_takes_half_of_it(self, bucket, machine, limit):
        """Writes of the changed part: its list, its file, removals, its list."""
        url = f"{bucket}/run"
        put(url, machine("a"))
        kill_at(url, machine("a"), limit)
        if limit == 1:
            assert fetched(url, machine("b")) == RUN
        else:
            with pytest.raises(InputError) as caught:
                fetched(url, machine("b"))
            assert str(caught.value) == (
                f"{url}/model is being written, or its writer was killed. Wait for the job that "
                "makes it, or give its command again."
            )
        assert fetched(f"{url}/examples", machine("b"))["artifact.json"] == b'{"job": "ingest"}'

    def test_the_next_job_of_the_machine_goes_on(self, bucket, machine):
        url = f"{bucket}/run"
        put(url, machine("a"))
        kill_at(url, machine("a"), 3)
        mirror = Mirror(url, machine("a"))
        mirror.fetch(to_write=True)
        assert contents(mirror.folder) == self.LATER
        mirror.put()
        assert fetched(url, machine("b")) == self.LATER

    def test_the_next_job_of_another_machine_makes_the_part_again(self, s3, bucket, machine):
        url = f"{bucket}/run"
        put(url, machine("a"))
        kill_at(url, machine("a"), 4)
        mirror = Mirror(url, machine("b"))
        mirror.fetch(to_write=True)
        others = {name: text for name, text in RUN.items() if not name.startswith("model")}
        assert contents(mirror.folder) == others
        again = {"model/artifact.json": b"{}", "model/weights": b"again"}
        write(mirror.folder, again)
        mirror.put()
        assert fetched(url, machine("c")) == {**others, **again}
        assert "model/checkpoints/ckpt-1.index" not in s3.keys(url)
