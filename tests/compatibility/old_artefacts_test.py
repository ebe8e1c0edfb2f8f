"""What a release, a run folder and live items of an older version are worth now.

README.md says what the archive holds and how it was made. Answers were recorded by the
code that made it; the items must be the same, scores may differ in the last digits.
"""

import contextlib
import http.client
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from pipelines import cli
from serving.live.items import LiveItems
from serving.release import release
from serving.server import RecallServer
from tests.compatibility.record import DELETIONS, UPSERTS

ARCHIVES = sorted(Path(__file__).parent.glob("*.tar.xz"))

MAX_KIB = 300
"""What the archives may weigh in the repository, all together."""


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def old(request, tmp_path):
    """The unpacked archive, in a folder of its own."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def _check_answers(serving_dir, recorded):
    with RecallServer(serving_dir, grpc_port=0, http_port=0) as server:
        for entry in recorded:
            _check_answer(_recall(server, entry["request"]), entry["answer"])


def _recall(server, document):
    """The answer's document, as any client of HTTP gets it."""
    connection = http.client.HTTPConnection(server.http_address, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/recall", json.dumps(document))
        answer = connection.getresponse()
        assert answer.status == 200
        return json.loads(answer.read())


def _check_answer(found, expected):
    def named(answer):
        return [(item["item_id"], item["interest"]) for item in answer["items"]]

    def scores(answer):
        return [item["score"] for item in answer["items"]]

    facts = ("is_fallback", "num_known", "num_unknown", "degraded", "coverage")
    assert named(found) == named(expected)
    assert scores(found) == pytest.approx(scores(expected), abs=1e-5)
    assert [found[name] for name in facts] == [expected[name] for name in facts]


def test_the_archives_are_small():
    assert ARCHIVES
    assert sum(path.stat().st_size for path in ARCHIVES) <= MAX_KIB * 1024


def test_the_release_is_served_as_before(old):
    """With the changes of items: the recorded answers have the new item and lack the deleted."""
    recorded = json.loads((old / "answers.json").read_text())
    answered = {i["item_id"] for entry in recorded for i in entry["answer"]["items"]}
    assert "new" in answered
    assert not answered & set(DELETIONS["ids"])
    _check_answers(old / "run" / "serving", recorded)


def test_live_items_are_read_as_before(old):
    items = LiveItems(old / "run" / "serving")
    try:
        status = items.status()
    finally:
        items.close()
    assert status["num_upserted"] == len(UPSERTS["items"])
    assert status["num_deleted"] == len(DELETIONS["ids"])


def test_the_run_is_published_and_served_as_before(old, monkeypatch, capsys):
    monkeypatch.chdir(old)
    before = release.latest_release("run/serving").version
    assert cli.main(["push", "--run=run"]) == 0
    assert release.latest_release("run/serving").version > before
    shutil.rmtree(old / "run" / "serving" / "user_tower" / str(before))
    _check_answers(old / "run" / "serving", json.loads((old / "answers.json").read_text()))
    assert "Traceback" not in capsys.readouterr().err


def test_the_model_is_evaluated_as_before_or_refused_in_one_line(old, monkeypatch, capsys):
    """The archive's knows categories by weights that models do not have any more."""
    monkeypatch.chdir(old)
    words = ["evaluate", "--examples=run/examples", "--model=run/model", "--output=again"]
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert "run/model was trained by an earlier version of recall, whose model.use_" in said
    assert "run `recall ingest` and `recall train` again" in said
    assert "Traceback" not in said
    assert not (old / "again").exists()


@pytest.mark.slow
def test_the_run_goes_on_with_its_own_settings(old, monkeypatch, capsys):
    """What the new version makes differently is made again; the live items stay."""
    from tests.compatibility.record import SETTINGS

    monkeypatch.chdir(old)
    inputs = ["--events=events.csv", "--items=items.csv", "--output=run"]
    before = release.latest_release("run/serving").version
    assert cli.main(["run", *inputs, *(f"--set={setting}" for setting in SETTINGS)]) == 0
    assert release.latest_release("run/serving").version > before
    with RecallServer(old / "run" / "serving", grpc_port=0, http_port=0) as server:
        request = {"history": ["i3"], "k": 30, "exact": True}
        answer = _recall(server, request)
    found = {item["item_id"] for item in answer["items"]}
    # Of 30 items one was deleted, one is the history, and one came.
    assert len(found) == 29
    assert "new" in found
    assert "i6" not in found
    capsys.readouterr()
