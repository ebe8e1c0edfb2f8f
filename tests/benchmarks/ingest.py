"""What `recall ingest` takes, and a day more: `python -m tests.benchmarks.ingest`.

Prints JSON. Every case is the command in a process of its own, from its start to its
end: ten rows, which is the start; a generated log; the same in another checkout
(`--before`); and 30 days, 31 days, and one day that is added to 30.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import app, flags

from tests.benchmarks import measure

_USERS = flags.DEFINE_integer("log_users", 333_000, "Users of the logs; 30 events each.", 100)
_ITEMS = flags.DEFINE_integer("log_items", 200_000, "Items of the logs.", 100)
_WRITE_DAYS = flags.DEFINE_string("write_days", None, "Writes the days into a folder, no more.")
_BEFORE = flags.DEFINE_string("before", None, "Another checkout, which reads the same log.")

DAY_S = 86_400
NUM_DAYS = 31
USERS_A_DAY = 0.1
"""Share of all users who come on a day; how often one comes differs much."""
_FIRST_S = 1_700_006_400
_KEEP = "--set=ingest.keep_sequences=true"


def write_days(folder: Path, num_users: int, num_items: int) -> None:
    """A file per day; each user who comes clicks about ten items, events in the order of time."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    popular = np.cumsum(1 / np.arange(1, num_items + 1) ** 0.8)
    often = rng.gamma(0.5, 1, num_users)
    for day in range(NUM_DAYS):
        here = int(num_users * USERS_A_DAY)
        users = rng.choice(num_users, here, replace=False, p=often / often.sum())
        users = rng.permutation(np.repeat(users, rng.geometric(1 / 9.7, here)))
        items = np.searchsorted(popular / popular[-1], rng.random(len(users)))
        seconds = np.sort(rng.integers(0, DAY_S, len(users)))
        columns = {
            "user_id": pa.array(users).cast(pa.string()),
            "item_id": pa.array(items).cast(pa.string()),
            "timestamp": _FIRST_S + day * DAY_S + seconds,
        }
        path = folder / f"day-{day:02d}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=1 << 17)


def run(checkout: Path, *words: str) -> dict[str, Any]:
    """One command of a checkout: seconds, CPU seconds, and most memory in 10^9 bytes."""
    command = [sys.executable, "-m", "pipelines.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=checkout, env=environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_gb": round(usage.ru_maxrss * 1024 / 1e9, 3),
    }


def measure_all(folder: Path, before: Path | None) -> dict[str, Any]:
    """All cases; what is compared comes one after the other."""
    here, found = measure.ROOT, {}
    ten = folder / "ten.csv"
    rows = [f"u{at % 2},i{at},{at}" for at in range(10)]
    ten.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    size = [f"--users={_USERS.value}", f"--items={_ITEMS.value}"]
    run(here, "synthesize", "--format=parquet", *size, f"--output={folder / 'log'}")
    log = folder / "log" / "events.parquet"
    num_events = pq.ParquetFile(log).metadata.num_rows
    for name, checkout in (("now", here), ("before", before)):
        if checkout is not None:
            for case, events in (("start", ten), ("log", log)):
                output = f"--output={folder / f'{name}-{case}'}"
                cost = run(checkout, "ingest", f"--events={events}", output)
                found[f"{case}_{name}"] = cost
            above = found[f"log_{name}"]["cpu_seconds"] - found[f"start_{name}"]["cpu_seconds"]
            found[f"events_per_cpu_second_{name}"] = round(num_events / above)
    # In another process: a child begins with the memory of its parent.
    flags_of_days = [f"--write_days={folder / 'days'}", f"--log_users={_USERS.value}"]
    command = [sys.executable, "-m", "tests.benchmarks.ingest", *flags_of_days]
    subprocess.run([*command, f"--log_items={_ITEMS.value}"], cwd=here, check=True)
    output = f"--output={folder / 'grown'}"
    found["days_31"] = run(
        here, "ingest", f"--events={folder / 'days'}", f"--output={folder / 'whole'}", _KEEP
    )
    max((folder / "days").iterdir()).rename(folder / "last.parquet")
    found["days_30"] = run(here, "ingest", f"--events={folder / 'days'}", output, _KEEP)
    words = ("--append", f"--events={folder / 'last.parquet'}", output, _KEEP)
    found["one_day_more"] = run(here, "ingest", *words)
    found["events"] = num_events
    return found


def main(_: list[str]) -> None:
    """Measures and prints."""
    if _WRITE_DAYS.value is not None:
        write_days(Path(_WRITE_DAYS.value), _USERS.value, _ITEMS.value)
        return
    with tempfile.TemporaryDirectory() as folder:
        before = None if _BEFORE.value is None else Path(_BEFORE.value).resolve()
        found = measure_all(Path(folder), before)
    print(json.dumps({"machine": measure.describe_machine(), **found}, indent=2))


if __name__ == "__main__":
    app.run(main)
