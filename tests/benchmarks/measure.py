"""What a call costs, on which machine; every case in a process of its own.

Wall-clock time depends on who else is at work, so CPU time and the load of the
machine stand beside it.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

ROOT = Path(__file__).parents[2]

_GIGABYTE = 1e9

_CASE = flags.DEFINE_string("case", None, "One case as JSON; it is measured in this process.")
SETTINGS = flags.DEFINE_multi_string("set", [], "A setting, for example train.batch_slots=512.")


class Cost(NamedTuple):
    """Time of one call.

    Attributes:
        seconds: By the clock on the wall.
        cpu_seconds: Of all threads of this process.
    """

    seconds: float
    cpu_seconds: float


def cheapest(run: Callable[[], Any], num_runs: int) -> Cost:
    """Calls `run` several times; the run that others disturbed least counts.

    Args:
        run: Must wait for its result.
        num_runs: Calls, >= 1.
    """
    costs = []
    for _ in range(num_runs):
        start, cpu_start = time.perf_counter(), time.process_time()
        run()
        costs.append(Cost(time.perf_counter() - start, time.process_time() - cpu_start))
    return min(costs)


def peak_memory_gb() -> float:
    """Largest resident set of this process so far, in 10^9 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux kibibytes.
    return peak * (1 if platform.system() == "Darwin" else 1024) / _GIGABYTE


def resident_mb() -> float:
    """Memory this process holds now, in MiB; Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def describe_machine() -> dict[str, Any]:
    """What a reader needs to compare numbers: processor, cores, load, version."""
    import tensorflow as tf  # Slow, and the parent of the cases needs it for this only.

    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text(encoding="utf-8").splitlines() if cpu_info.exists() else []
    facts = dict(line.partition(":")[::2] for line in lines if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return {
        "processor": facts.get("model name", platform.processor()),
        "avx512_bf16": "avx512_bf16" in facts.get("flags", "").split(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "tensorflow": tf.__version__,
    }


def environment_of(root: Path) -> dict[str, str]:
    """The environment of a process of a checkout, which finds the packages that this one does."""
    folders = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    path = {"PYTHONPATH": os.pathsep.join(folders)}
    return {"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ | path


def run_case(
    module: str, arguments: Mapping[str, Any], *, timeout_s: float | None = None, **variables: str
) -> dict[str, Any]:
    """Runs `python -m module --case=...` and reads the JSON it prints.

    The peak memory of a process is that of the largest thing it ever did, so
    no two cases may share one.

    Args:
        module: Its name.
        arguments: The case.
        timeout_s: Most seconds the process may take.
        **variables: Of its environment, beside those of this process.

    Raises:
        RuntimeError: The process failed; the text is what it said.
        subprocess.TimeoutExpired: It took too long.
    """
    command = [sys.executable, "-m", module, f"--case={json.dumps(dict(arguments))}"]
    result = subprocess.run(
        command,
        env=environment_of(ROOT) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    if result.returncode:
        raise RuntimeError(f"{module} failed on {dict(arguments)}:\n{result.stderr[-3000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def answer_case(measure_case: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Prints what the case of `--case` costs; False where none is named."""
    if _CASE.value is None:
        return False
    facts = measure_case(json.loads(_CASE.value))
    print(json.dumps({name: _rounded(value) for name, value in facts.items()}))
    return True


def print_report(cases: list[dict[str, Any]], **facts: Any) -> None:
    """Prints the one JSON text of a benchmark."""
    print(json.dumps({"machine": describe_machine(), **facts, "cases": cases}, indent=2))


def show_progress(text: str) -> None:
    """Says on stderr what is being measured; stdout is for the report."""
    print(text, file=sys.stderr, flush=True)


def _rounded(value: Any) -> Any:
    """A number to three significant digits: more of them are noise."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
