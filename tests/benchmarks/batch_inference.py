"""`recall recommend` beside requests one by one: `python -m tests.benchmarks.batch_inference`.

Prints JSON. A release of random weights over a clustered catalogue is asked for the items of
the users of a log, by the job in a process of its own, and by a client that sends a server one
request after the other. What is compared is processor time: all of the job's, from its start
to its end, against the server's alone, without that of its start and of its client.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import app, flags

from recall.config import RecallConfig
from serving.api.recall_request import RecallRequest
from tests.benchmarks import measure
from tests.benchmarks.server_load import build_recall_message, measure_load
from tests.benchmarks.serving_release import write_release
from tests.serving.server_process import ServerProcess

_ITEMS = flags.DEFINE_integer("catalogue_items", 1_000_000, "Items of the catalogue.", 100)
_USERS = flags.DEFINE_list("log_users", ["1", "10000", "100000"], "Users of the logs, by turns.")
_K = flags.DEFINE_integer("items_per_user", 200, "Items for each user.", 1)
_SECONDS = flags.DEFINE_float("request_seconds", 10.0, "Time of the requests one by one.", 0.5)
_REASONS = flags.DEFINE_boolean(
    "with_reasons", True, "Whether the job names nearest clicked items."
)
_FOLDER = flags.DEFINE_string(
    "release_folder",
    None,
    "Where the release and the logs lie; those that are there are used again.",
)

MEAN_LENGTH = 50
"""Clicks of a user on average; from 5 to 95."""

_NUM_MESSAGES = 256


class JobCost(NamedTuple):
    """What a process took from its start to its end.

    Attributes:
        seconds: By the clock on the wall.
        cpu_seconds: Of it and all that it started.
        peak_memory_gb: Largest resident set, in 10^9 bytes.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_gb: float


def draw_log(num_users: int, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of users and of items, event by event in the order of time.

    The events of a user are spread over the log, as in real ones.
    """
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 2 * MEAN_LENGTH - 4, num_users)
    users = np.repeat(np.arange(num_users), lengths)
    items = generator.integers(num_items, size=len(users))
    return generator.permutation(users), items


def write_log(path: Path, num_users: int, num_items: int) -> None:
    """Writes a log as Parquet."""
    users, items = draw_log(num_users, num_items)
    table = pa.table(
        {
            "user_id": pa.array(users).cast(pa.string()),
            "item_id": pa.array(np.char.add("i", items.astype(str))),
            "timestamp": pa.array(1_700_000_000 + np.arange(len(users))),
        }
    )
    pq.write_table(table, path)


def run_job(words: Sequence[str]) -> JobCost:
    """Runs `recall` with some words.

    Raises:
        RuntimeError: It failed; the text is what it said.
    """
    command = [sys.executable, "-m", "pipelines.cli", *words]
    environment = measure.environment_of(measure.ROOT)
    start_s = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{words} failed:\n{said.read().decode()[-3000:]}")
    return JobCost(
        time.perf_counter() - start_s,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024 / 1e9,
    )


def measure_requests(case: dict[str, Any]) -> dict[str, float]:
    """CPU time of the server for requests one by one, each the history of another user."""
    folder, num_items = Path(case["folder"]), case["num_items"]
    users, items = draw_log(_NUM_MESSAGES, num_items)
    messages = []
    for user in range(_NUM_MESSAGES):
        history = tuple(f"i{item}" for item in items[users == user].tolist())
        request = RecallRequest(history, k=case["k"])
        messages.append(build_recall_message(request).SerializeToString())
    server = ServerProcess(folder / "serving", folder / "server.log")
    try:
        costs = measure_load(server, messages, 1, case["seconds"])
        memory_mb = server.resident_mb()
    finally:
        server.kill()
    return {
        "users_per_cpu_second": 1e3 / costs["server_cpu_ms"],
        "users_per_second": costs["answers_per_second"],
        "peak_memory_gb": memory_mb * 2**20 / 1e9,
    }


def measure_users(case: dict[str, Any]) -> dict[str, float]:
    """What the job takes for a log of some users."""
    folder, num_users = Path(case["folder"]), case["num_users"]
    log = folder / f"events-{num_users}.parquet"
    if not log.exists():
        write_log(log, num_users, case["num_items"])
    with tempfile.TemporaryDirectory(dir=folder) as output:
        cost = run_job(
            [
                "recommend",
                f"--release={folder / 'serving'}",
                f"--events={log}",
                f"--k={case['k']}",
                f"--reasons={case['reasons']}",
                f"--output={Path(output) / 'recommendations'}",
                "--progress=off",
            ]
        )
    return {**cost._asdict(), "users_per_cpu_second": num_users / cost.cpu_seconds}


def compare(requests: dict[str, float], jobs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Ratios of the job with most users to requests one by one, whole and without its start.

    The start is what the job with fewest users takes.
    """
    first, last = jobs[0], jobs[-1]
    beyond = (last["num_users"] - first["num_users"]) / max(
        last["cpu_seconds"] - first["cpu_seconds"], 1e-9
    )
    one_by_one = requests["users_per_cpu_second"]
    return {
        "ratio": last["users_per_cpu_second"] / one_by_one,
        "ratio_without_start": beyond / one_by_one,
        "memory_ratio": last["peak_memory_gb"] / first["peak_memory_gb"],
    }


def main(_: Sequence[str]) -> None:
    """Measures requests, then every number of users."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(_FOLDER.value or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "serving").exists():
            measure.show_progress("write the release")
            config = RecallConfig().override(measure.SETTINGS.value)
            write_release(folder / "building", 1, _ITEMS.value, config)
            (folder / "building").rename(folder / "serving")
        case = {
            "folder": str(folder),
            "num_items": _ITEMS.value,
            "k": _K.value,
            "seconds": _SECONDS.value,
            "reasons": _REASONS.value,
        }
        measure.show_progress("requests one by one")
        requests = measure_requests(case)
        jobs = []
        for num_users in map(int, _USERS.value):
            measure.show_progress(f"{num_users} users")
            jobs.append({"num_users": num_users, **measure_users({**case, "num_users": num_users})})
        measure.print_report(jobs, requests=requests, **compare(requests, jobs))


if __name__ == "__main__":
    app.run(main)
