import re
import subprocess
import sys
import time

import numpy as np
import pytest

from pipelines.artifacts import provenance, records
from recall.errors import InputError
from tests.rooms import ROOT

MIB = 1 << 20


@provenance.measured
def make(folder, record, seconds=0.0):
    """A job that is busy for a while, by the clock and on its own thread, and leaves its record.

    Not by `time.process_time`: with other threads at work it runs ahead of the clock.
    """
    held = np.ones(MIB, np.uint8)
    clocks = (time.monotonic, time.thread_time)
    ends = [clock() + seconds for clock in clocks]
    while any(clock() < end for clock, end in zip(clocks, ends, strict=True)):
        held.sum()
    records.write_record(folder, record)


def test_facts_of_a_job_stand_beside_its_record(tmp_path):
    record = records.build_record("ingest", {"a": 1}, {"events": "abc"})
    before = time.monotonic()
    make(tmp_path, record, seconds=0.25)
    made = records.read_made(tmp_path)
    # It is written in milliseconds.
    assert 0.25 <= made["duration_s"] <= time.monotonic() - before + 0.0005
    assert made["cpu_s"] >= 0.2
    assert made["started"] <= made["finished"]
    assert made["started"].endswith("+00:00")
    assert made["python"] == sys.version.split()[0]


def test_another_day_and_another_machine_make_no_job_run_again(tmp_path):
    record = records.build_record("ingest", {"a": 1}, {"events": "abc"})
    make(tmp_path, record)
    first = records.read_made(tmp_path)
    sums = {records.checksum_of_record(tmp_path, "ingest")}
    make(tmp_path, record, seconds=0.05)
    assert records.read_made(tmp_path) != first
    assert records.is_current(tmp_path, record)
    assert records.read_record(tmp_path) == record
    sums.add(records.checksum_of_record(tmp_path, "ingest"))
    assert len(sums) == 1


def test_outside_of_a_job_there_are_no_facts(tmp_path):
    records.write_record(tmp_path, records.build_record("ingest", {}, {}))
    assert records.read_made(tmp_path) == {}
    assert records.read_made(tmp_path / "missing") == {}


def test_what_is_no_record_is_refused(tmp_path):
    (tmp_path / "artifact.json").write_text("[]")
    with pytest.raises(InputError, match=r"artifact\.json holds no record"):
        records.read_record(tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_that_of_the_job_not_of_an_earlier_one(tmp_path):
    """In a process of its own: what the tests before took is not given back."""
    code = f"""
import time
import numpy as np
from pipelines.artifacts import provenance, records

@provenance.measured
def make(megabytes):
    held = np.ones(megabytes << 20, np.uint8)
    time.sleep(0.5)
    records.write_record({str(tmp_path)!r}, records.build_record("ingest", {{}}, {{}}))

for megabytes in (300, 10):
    make(megabytes)
    print(records.read_made({str(tmp_path)!r})["peak_memory_bytes"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    large, small = map(int, done.stdout.split())
    assert 250 * MIB < large - small < 350 * MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_processes_that_a_job_starts_count(tmp_path):
    record = records.build_record("ingest", {}, {})
    make(tmp_path, record)
    alone = records.read_made(tmp_path)["peak_memory_bytes"]

    @provenance.measured
    def start_another():
        code = f"import time; held = bytearray({200 * MIB}); time.sleep(1)"
        subprocess.run([sys.executable, "-c", code], check=True)
        records.write_record(tmp_path, record)

    start_another()
    assert records.read_made(tmp_path)["peak_memory_bytes"] > alone + 180 * MIB


def test_commit_is_the_one_of_this_checkout():
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    asked = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    if not asked:
        pytest.skip("not a checkout")
    assert re.fullmatch(rf"{asked}(-dirty)?", provenance.find_commit())


def test_a_repository_around_an_installation_is_not_asked(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    assert provenance.find_commit.__wrapped__() is None
