"""Checks of the machine, on files as other machines have them, and on this one."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.inspection import machine
from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW

ROOT = Path(__file__).parents[3]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("flags", "state", "said"),
    [
        ("fpu sse4_2 avx", BROKEN, "lacks AVX2"),
        ("fpu avx avx2", BROKEN, "lacks AVX2 or FMA"),
        ("fpu avx avx2 fma", OK, "no AVX-512"),
        ("fpu avx avx2 fma avx512f", OK, "AVX2 and AVX-512"),
    ],
)
def test_processor(tmp_path, flags, state, said):
    path = write(
        tmp_path / "cpuinfo", f"model name\t: Some CPU\nflags\t\t: {flags}\n\nflags\t: x\n"
    )
    found = machine.check_processor(path)
    assert (found.state, found.facts["model"]) == (state, "Some CPU")
    assert said in found.text
    assert bool(found.remedy) == (state == BROKEN)


def test_processor_of_another_system(tmp_path):
    assert machine.check_processor(tmp_path / "none").state == NOTE


def test_a_container_with_fewer_cores_than_it_sees(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.1, 0.1))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    write(tmp_path / "cpu.max", "150000 100000\n")
    found = machine.check_cores(tmp_path)
    assert (found.state, found.facts["quota"]) == (SLOW, 1.5)
    assert "OMP_NUM_THREADS=1" in found.remedy
    write(tmp_path / "cpu.max", "max 100000\n")
    assert machine.check_cores(tmp_path).state == OK


def test_busy_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 1.0, 1.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert machine.check_cores(tmp_path).state == SLOW


def test_memory(tmp_path):
    # 16 GiB, 10 GiB free.
    path = write(tmp_path / "meminfo", "MemTotal: 16777216 kB\nMemAvailable: 10485760 kB\n")
    found = machine.check_memory(path, tmp_path)
    assert (found.state, found.text) == (OK, "10.0 of 16.0 GiB free.")
    write(tmp_path / "memory.max", str(3 << 30))
    write(tmp_path / "memory.current", str(1 << 30))
    found = machine.check_memory(path, tmp_path)
    assert found.state == SLOW
    assert found.text.startswith("2.0 of 3.0 GiB free")
    write(tmp_path / "memory.max", "max\n")
    assert machine.check_memory(path, tmp_path).state == OK


def test_disk(tmp_path, monkeypatch):
    found = machine.check_disk(tmp_path / "not" / "yet")
    assert found.facts["folder"] == str(tmp_path)
    assert found.facts["bytes_per_second"] > 0
    assert found.facts["has_locks"] is True
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(machine, "_write_speed", lambda _: 3e6)
    monkeypatch.setattr(machine, "_ENOUGH_DISK_BYTES", 0)
    found = machine.check_disk(tmp_path)
    assert found.state == SLOW
    assert "writes 3 MB/s: that is slow." in found.text
    monkeypatch.setattr(machine, "_ENOUGH_DISK_BYTES", 1 << 60)
    assert "that is little" in machine.check_disk(tmp_path).text
    monkeypatch.setattr(machine, "_has_locks", lambda _: False)
    assert machine.check_disk(tmp_path).state == NOTE


def test_a_folder_nobody_can_write_to():
    found = machine.check_disk(Path("/proc"))
    assert found.state == BROKEN
    assert found.text.startswith("Cannot write to /proc: ")


def test_a_full_disk(tmp_path, monkeypatch):
    def full(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(machine, "_write_speed", full)
    found = machine.check_disk(tmp_path)
    assert (found.state, found.remedy[:10]) == (BROKEN, "Make room ")


@pytest.mark.parametrize(("limit", "state"), [(256, SLOW), (4096, OK)])
def test_open_files(limit, state):
    program = (
        "from pipelines.inspection import machine; import json; "
        "found = machine.check_open_files(); print(json.dumps([found.state, found.facts['soft']]))"
    )
    run = subprocess.run(
        ["bash", "-c", f'ulimit -Sn {limit}; exec "$0" -c "$1"', sys.executable, program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout) == [state, limit]
