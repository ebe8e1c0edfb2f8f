"""The machine: processors, memory, disk, limits of the system. Imports no TensorFlow."""

import errno
import fcntl
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW, Finding

_GIB = 1 << 30
_ENOUGH_MEMORY_BYTES = 4 * _GIB
"""Beside TensorFlow's own .8 GiB, room for a training of some 10^5 items."""

_ENOUGH_DISK_BYTES = 5 * _GIB
_WRITTEN_BYTES = 64 << 20
_FAST_ENOUGH = 50e6
"""Bytes a second; a disk of a laptop writes 500 MB/s, a network share that is well some 100."""

_ENOUGH_FILES = 4096
"""`recall serve` takes up to 2,048 HTTP connections, and gRPC's and the files of releases."""

_CPU_INFO, _CGROUP = Path("/proc/cpuinfo"), Path("/sys/fs/cgroup")


def check_processor(cpu_info: Path = _CPU_INFO) -> Finding:
    """Vector instructions of the processor."""
    fields = _read_fields(cpu_info)
    flags = set(fields.get("flags", "").split())
    model = fields.get("model name", "unknown processor")
    facts = {
        "model": model,
        "avx2": "avx2" in flags,
        "fma": "fma" in flags,
        "avx512": "avx512f" in flags,
    }
    if not flags:
        return Finding(
            "processor", NOTE, f"{model}; its instructions are not known here", "", facts
        )
    if not facts["avx2"] or not facts["fma"]:
        return Finding(
            "processor",
            BROKEN,
            f"{model} lacks AVX2 or FMA, for which TensorFlow and ScaNN are compiled.",
            "Take a machine with AVX2: Intel from Haswell (2013), AMD from Zen (2017). A virtual "
            "machine needs the processor of its host.",
            facts,
        )
    if not facts["avx512"]:
        text = f"{model}: AVX2, no AVX-512. The last digits differ from those with AVX-512."
        return Finding("processor", OK, text, "", facts)
    return Finding("processor", OK, f"{model}: AVX2 and AVX-512.", "", facts)


def check_cores(cgroup: Path = _CGROUP) -> Finding:
    """Cores this process may use, and whether others use them."""
    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    quota = _read_quota(cgroup / "cpu.max")
    load = os.getloadavg()[0]
    facts = {"usable": usable, "machine": all_cores, "quota": quota, "load": round(load, 2)}
    text = f"{usable} of {all_cores} usable, load {load:.1f}"
    if quota is not None and quota < usable:
        return Finding(
            "cores",
            SLOW,
            f"{text}, but this container may use {quota:.3g} of them: threads wait for each other.",
            f"Raise the limit, or set TF_NUM_INTRAOP_THREADS={max(1, int(quota))} and "
            f"OMP_NUM_THREADS={max(1, int(quota))}.",
            facts,
        )
    if load > 1.5 * all_cores:
        return Finding(
            "cores",
            SLOW,
            f"{text}: other programs keep them busy.",
            "Wait for these, or expect times to be longer than in the documents.",
            facts,
        )
    return Finding("cores", OK, f"{text}.", "", facts)


def check_memory(mem_info: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> Finding:
    """Memory that is left, within the limit of a container."""
    fields = _read_fields(mem_info)
    total, available = (
        int(fields.get(name, "0 kB").split()[0]) << 10 for name in ("MemTotal", "MemAvailable")
    )
    limit = _read_number(cgroup / "memory.max")
    if limit is not None and limit < total:
        used = _read_number(cgroup / "memory.current") or 0
        total, available = limit, min(available, max(0, limit - used))
    facts = {"total_bytes": total, "available_bytes": available, "limit_bytes": limit}
    text = f"{available / _GIB:.1f} of {total / _GIB:.1f} GiB free"
    if available >= _ENOUGH_MEMORY_BYTES:
        return Finding("memory", OK, f"{text}.", "", facts)
    return Finding(
        "memory",
        SLOW,
        f"{text}: enough for small catalogues only.",
        "End other programs, or take a machine with more: TensorFlow alone takes most of a GiB, "
        "weights and optimizer 12 bytes for each number of the item table.",
        facts,
    )


def check_disk(folder: Path) -> Finding:
    """Room and speed of the disk that runs are written to, and whether it knows locks."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    facts = {"folder": str(existing), "free_bytes": free}
    try:
        speed = _write_speed(existing)
        has_locks = _has_locks(existing)
    except OSError as error:
        remedy = "Make room there." if error.errno == errno.ENOSPC else "Check who may write there."
        text = f"Cannot write to {existing}: {error.strerror}."
        return Finding("disk", BROKEN, text, f"{remedy} Or name another folder in --folder.", facts)
    facts |= {"bytes_per_second": round(speed), "has_locks": has_locks}
    text = f"{existing}: {free / _GIB:.1f} GiB free, writes {speed / 1e6:,.0f} MB/s"
    if not has_locks:
        return Finding(
            "disk",
            NOTE,
            f"{text}, but has no file locks: old versions are never removed there.",
            "Keep releases on a file system with flock (ext4, xfs, NFS 4).",
            facts,
        )
    if free < _ENOUGH_DISK_BYTES:
        remedy = "Make room: where the disk is full, jobs end and nothing is published."
        return Finding("disk", SLOW, f"{text}: that is little.", remedy, facts)
    if speed < _FAST_ENOUGH:
        remedy = "Take a local disk for --output; publish to the shared one with `recall push`."
        return Finding("disk", SLOW, f"{text}: that is slow.", remedy, facts)
    return Finding("disk", OK, f"{text}.", "", facts)


def check_open_files() -> Finding:
    """How many files and connections a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    facts = {"soft": soft, "hard": hard}
    if soft == resource.RLIM_INFINITY or soft >= _ENOUGH_FILES:
        return Finding("open files", OK, f"{soft:,} at a time.", "", facts)
    raised = min(65_536, hard) if hard > 0 else 65_536
    return Finding(
        "open files",
        SLOW,
        f"{soft:,} at a time: `recall serve` refuses connections beyond that.",
        f"Give `ulimit -n {raised}` before it, or LimitNOFILE={raised} in a systemd unit.",
        facts,
    )


def _read_fields(path: Path) -> dict[str, str]:
    """`name: value` lines, the first of each name; {} where there is no such file."""
    fields: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return fields
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _read_quota(path: Path) -> float | None:
    """Cores that a container may use; None where there is no limit."""
    try:
        quota, period = path.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # `max` is no number
        return None


def _write_speed(folder: Path) -> float:
    """Bytes a second that reach the disk."""
    block = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".recall-doctor-") as file:
        started_s = time.monotonic()
        for _ in range(_WRITTEN_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return _WRITTEN_BYTES / (time.monotonic() - started_s)


def _has_locks(folder: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".recall-doctor-") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
