"""Publishing: killed, without space, twice at once; readers see old or new."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.publishing import push
from recall.errors import InputError
from serving.release import manifest, release, retention
from tests.pipelines.publishing.push_test import make_run
from tests.reliability import publisher
from tests.reliability.tally import scaled
from tests.serving.server_process import ROOT

pytestmark = pytest.mark.reliability


@pytest.fixture
def published(tmp_path) -> tuple[Path, Path]:
    """A run, and a folder in which another one is published already, twice."""
    serving = tmp_path / "serving"
    for name in ("older", "old"):
        push.run_push(make_run(tmp_path / name, content=name), serving)
    return make_run(tmp_path / "new", content="new"), serving


def _publish_at_every_point(run_dir: Path, serving: Path, how: str) -> list[dict]:
    command = [sys.executable, "-m", "tests.reliability.publisher", run_dir, serving, how]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def _is_old_or_new(facts: dict, old: int) -> bool:
    """Whether a reader finds a whole release, and the next publisher makes a newer one."""
    after, later = facts["after"], facts["next"]
    return (
        after["version"] is not None
        and after["version"] >= old
        and later["version"] == later["pushed"] > after["version"]
        and not facts["leftovers"]
        and all(len(versions) >= publisher.KEEP for versions in later["parts"])
    )


def test_killed_at_every_point(published, tally):
    run_dir, serving = published
    old = release.latest_release(serving).version
    points = _publish_at_every_point(run_dir, serving, "kill")
    killed = [facts for facts in points if facts["text"] == publisher.KILLED]
    assert len(killed) == len(points) - 1 > 30
    seen_new = sum(facts["after"]["version"] != old for facts in killed)
    tally.start(1, "publisher killed at every write, rename and flush", len(points))
    for facts in points:
        tally.count(_is_old_or_new(facts, old), facts)
    tally.note(f"old {len(killed) - seen_new}, new {seen_new}")
    assert points[-1]["after"]["version"] > old
    assert [len(versions) for versions in points[-1]["next"]["parts"]] == [publisher.KEEP] * 3
    oldest = killed[0]["after"]["parts"][0][0]
    removals = [f for f in killed if any(oldest not in part for part in f["after"]["parts"])]
    assert len(removals) > 5, "some were killed while they removed the oldest version"


def test_no_space_at_every_point(published, tally):
    run_dir, serving = published
    old = release.latest_release(serving).version
    points = _publish_at_every_point(run_dir, serving, "full")
    assert sum(bool(facts["text"]) for facts in points) > 20
    tally.start(16, "disk full at every point of a publication", len(points) + 10)
    for facts in points:
        said = not facts["text"] or "No space left on device" in facts["text"]
        one_line = facts["text"].startswith("InputError") or not facts["text"]
        tally.count(_is_old_or_new(facts, old) and said and one_line, facts)
    _fill_a_real_limit(run_dir, serving, tally)


def _fill_a_real_limit(run_dir: Path, serving: Path, tally) -> None:
    """Ten sizes that the system itself allows a file to have, all too small."""
    big = run_dir / "index" / "item_vectors.npy"
    big.write_bytes(os.urandom(1 << 20))
    (run_dir / "index" / "manifest.json").unlink()
    manifest.seal(run_dir / "index", {"fingerprint": "f00d", "kind": "scann"})
    before = publisher.describe(serving)
    for step in range(10):
        program = (
            "import resource, signal, sys; from pipelines.publishing import push\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({step * 100_000}, -1))\n"
            "push.run_push(*sys.argv[1:])"
        )
        command = [sys.executable, "-c", program, run_dir, serving]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        refused = result.returncode == 1 and "InputError" in result.stderr.splitlines()[-1]
        tally.count(refused and publisher.describe(serving) == before, result.stderr[-300:])


def test_many_publishers_at_once(tmp_path, tally):
    publishers, rounds = 4, scaled(10)
    serving = tmp_path / "serving"
    runs = [make_run(tmp_path / f"run{n}", content=str(n)) for n in range(publishers)]
    program = (
        "import sys; from pipelines.publishing import push\n"
        f"for _ in range({rounds}): print(push.run_push(*sys.argv[1:]))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, run, serving],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for run in runs
    ]
    pushed = [process.communicate()[0].split() for process in processes]
    tally.start(18, "publishers at once: versions unique and whole", publishers * rounds)
    versions = [int(version) for mine in pushed for version in mine]
    for number, mine in enumerate(pushed):
        for version in mine:
            text = (serving / "index" / version / "item_vectors.npy").read_text()
            whole = text == f"vectors {number}" and versions.count(int(version)) == 1
            tally.count(whole, version)
    for version in map(int, sorted(pushed[0])):
        release.verify(release.read_release(serving, version))
    tally.note(f"{publishers} processes")


def test_a_reader_beside_a_publisher(published, tally):
    """Looks as fast as it can while releases come: never half of one."""
    run_dir, serving = published
    rounds = scaled(20)
    program = (
        "import sys; from pipelines.publishing import push\n"
        f"for _ in range({rounds}): push.run_push(*sys.argv[1:], keep=5)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, run_dir, serving], cwd=ROOT)
    looks, broken = 0, []
    while writer.poll() is None:
        looks += 1
        try:
            release.verify(release.latest_release(serving))
        except InputError as error:
            broken.append(str(error))
    assert writer.returncode == 0
    tally.start(1, "looks of a reader while releases are published", looks)
    tally.held = looks - len(broken)
    for text in broken[:5]:
        tally.note(text)
    shutil.rmtree(serving)


def test_a_version_in_use_stays_whole_beside_publishers_that_keep_one(published, tally):
    """Loads as fast as it can, as servers do, while every publication removes what it may."""
    run_dir, serving = published
    rounds = scaled(40)
    program = (
        "import sys; from pipelines.publishing import push\n"
        f"for _ in range({rounds}): push.run_push(*sys.argv[1:], keep=1)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, run_dir, serving], cwd=ROOT)
    loads, broken, too_late = 0, [], 0
    while writer.poll() is None:
        newest = release.latest_release(serving)
        try:
            with retention.held(newest):
                loads += 1
                for _ in range(3):
                    try:
                        release.verify(newest)
                    except InputError as error:
                        broken.append(str(error))
                        break
        except InputError:  # Removed before it was held: a server looks again.
            too_late += 1
    assert writer.returncode == 0
    tally.start(1, "versions in use stay whole beside publishers that keep one", loads)
    tally.held = loads - len(broken)
    for text in broken[:5]:
        tally.note(text)
    tally.note(f"{too_late} were removed before they were held")
    push.run_push(run_dir, serving, keep=1)
    assert len(release.complete_versions(serving)) == 1
    shutil.rmtree(serving)
