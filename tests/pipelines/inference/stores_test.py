"""Batches from a store into a store that goes wrong: the commands, beside a real S3 server."""

import io
import itertools

import pyarrow.parquet as pq
import pytest

from pipelines import cli
from pipelines.inference import parts
from pipelines.mirrors import file_lists
from serving.stores import filesystems
from tests.s3_faults import Fault
from tests.serving import store_release

RELEASE, LOG, RESULT = "serving/", "logs/a.csv", "out"
FILE, FOLDER = "out.parquet", "out"


@pytest.fixture(name="place")
def _place(s3, bucket, door, world, monkeypatch, tmp_path):
    """The bucket, with the release and the log of `world`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store_release.publish(world.serving_dir, 3, f"{bucket}/serving", as_version=3)
    s3.put(f"{bucket}/{LOG}", world.log.read_bytes())
    return bucket


def call(place: str, command: str, name: str, *more: str) -> int:
    words = [f"--release={place}/serving", f"--events={place}/logs", f"--output={place}/{name}"]
    return cli.main([command, *words, *more])


def read(s3, place: str, name: str) -> list:
    """The rows of a result, as somebody who knows the list of its files reads it."""
    if name == FOLDER:
        assert file_lists.read(f"{place}/{name}/{file_lists.NAME}").is_whole
        name = f"{name}/data/part-00000-of-00001.parquet"
    return pq.read_table(io.BytesIO(s3.get(f"{place}/{name}"))).to_pylist()


def one_line(capsys) -> str:
    """The error, the only line that is no progress."""
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if "error: " in line]
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.err
    return lines[0]


FAST_MOMENTS = (("busy", "prefix="), ("cut", RELEASE), ("cut", LOG), ("busy", RESULT))


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        pytest.param(*moment, marks=() if moment in FAST_MOMENTS else pytest.mark.slow)
        for moment in itertools.product(
            ["busy", "cut", "reset", "slow"], ["prefix=", RELEASE, LOG, RESULT]
        )
    ],
)
def test_a_moment_costs_nothing_but_time(s3, place, door, monkeypatch, fault, part):
    monkeypatch.setattr(filesystems, "_RETRIES", 1)
    filesystems._s3.cache_clear()
    wrong = {
        "busy": {"status": 503, "code": "SlowDown", "times": 1},
        "reset": {"times": 1},
        "cut": {"methods": ("GET",), "cut": 7, "times": 1},
        "slow": {"delay_s": 0.5, "times": 1},
    }[fault]
    door.faults = [Fault(part=part, **wrong)]
    name = FOLDER if part == RESULT else FILE
    assert call(place, "recommend", name, "--k=3") == 0
    assert door.faults[0].seen > 1 or fault == "slow" or (fault, part) == ("cut", RESULT)
    rows = read(s3, place, name)
    door.faults = []
    assert call(place, "recommend", f"again-{FILE}", "--k=3") == 0
    assert rows == pq.read_table(io.BytesIO(s3.get(f"{place}/again-{FILE}"))).to_pylist()
    assert len(rows) == 34


@pytest.mark.parametrize("command", ["recommend", "embed"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(part="prefix=", status=503, code="SlowDown"), "the store does not answer"),
        (Fault(part="prefix=", status=403, code="AccessDenied"), "access denied."),
        (Fault(part="prefix=", status=404, code="NoSuchBucket"), "there is no bucket"),
        (Fault(part="versions/3.json"), "the store does not answer"),
        (Fault(("GET",), part="index/3", cut=7), "the store does not answer"),
        (Fault(part="user_tower/3", status=403, code="AccessDenied"), "access denied."),
        (Fault(part="user_tower/3", status=404, code="NoSuchKey"), "does not exist"),
        (Fault(("GET",), part=LOG, cut=7), "the store does not answer"),
        (Fault(part=LOG, status=403, code="AccessDenied"), "access denied."),
    ],
)
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(
    s3, place, door, capsys, command, fault, reason
):
    door.faults = [fault]
    assert call(place, command, FILE) == 1
    assert reason in one_line(capsys)
    assert fault.seen
    door.faults = []
    assert [key for key in s3.keys(place) if "out" in key] == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 503, "code": "SlowDown"}, "the store does not answer"),
        *(
            # What is left there is the same, and so is the way on.
            pytest.param(fault, reason, marks=pytest.mark.slow)
            for fault, reason in (
                ({"status": 403, "code": "AccessDenied"}, "access denied."),
                ({}, "the store does not answer"),
                ({"status": 404, "code": "NoSuchBucket"}, "there is no bucket"),
            )
        ),
    ],
)
@pytest.mark.parametrize(
    ("name", "part", "after"),
    [
        (FILE, ".partial", 0),  # The new file beside the old one,
        (FILE, FILE, 1),  # and its name.
        (FOLDER, file_lists.NAME, 0),  # The list that says that files are coming,
        (FOLDER, "data/", 0),  # one of them,
        (FOLDER, file_lists.NAME, 1),  # and the list of them.
    ],
)
def test_a_result_that_cannot_be_written(
    s3, place, door, capsys, monkeypatch, name, part, after, fault, reason
):
    """The old one stays, or is not taken for a whole; nothing is answered a second time."""
    assert call(place, "recommend", name, "--k=2") == 0
    assert f"{place}/{name}: 34 users" in capsys.readouterr().out
    before = read(s3, place, name)
    door.faults = [Fault(("PUT",), part=part, after=after, **fault)]
    assert call(place, "recommend", name, "--k=3") == 1
    assert reason in one_line(capsys)
    assert door.faults[0].seen > after
    door.faults = []
    if name == FILE or file_lists.read(f"{place}/{name}/{file_lists.NAME}").is_whole:
        assert read(s3, place, name) == before
    assert not [key for key in s3.keys(place) if "partial" in key]

    monkeypatch.setattr(parts, "answer_parts", None)  # They are answered.
    assert call(place, "recommend", name, "--k=3") == 0
    assert max(len(row["recommendations"]) for row in read(s3, place, name)) == 3
    assert not [key for key in s3.keys(place) if "partial" in key]


@pytest.mark.parametrize("name", [FILE, FOLDER])
def test_who_may_not_write_hears_of_it_before_anything_is_answered(
    place, door, capsys, monkeypatch, name
):
    monkeypatch.setattr(parts, "answer_parts", None)
    door.faults = [Fault(("PUT",), status=403, code="AccessDenied")]
    assert call(place, "recommend", name) == 1
    assert "access denied. The credentials must be valid and may write there" in one_line(capsys)


@pytest.mark.parametrize("name", [FILE, FOLDER])
def test_a_result_that_was_not_sent_gives_way_to_a_newer_one(
    s3, place, door, monkeypatch, tmp_path, name
):
    door.faults = [Fault(("PUT",), part=".partial" if name == FILE else file_lists.NAME)]
    assert call(place, "recommend", name, "--k=2") == 1
    door.faults = []
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
        assert call(place, "recommend", name, "--k=4") == 0
    newer = read(s3, place, name)
    monkeypatch.setattr(parts, "answer_parts", None)  # They are up to date.
    assert call(place, "recommend", name, "--k=4") == 0
    assert read(s3, place, name) == newer
    assert max(len(row["recommendations"]) for row in newer) == 4
