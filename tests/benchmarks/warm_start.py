"""What a warm start saves: `python -m tests.benchmarks.warm_start --events_file=FILE` prints JSON.

Takes the latest clicks out of a log, trains on the rest as "yesterday", and then on the
whole log twice: from scratch, and from yesterday's model. Both have the same examples, so
that a share of the epochs is that of the steps. Finished jobs in `--output` are only read.
"""

import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from tests.benchmarks import measure, quality

_EVENTS = flags.DEFINE_string("events_file", None, "A CSV file with columns as `recall run` takes.")
_ITEMS = flags.DEFINE_string("items_file", None, "Its items, if there are categories.")
_LATEST_CLICKS = flags.DEFINE_integer(
    "latest_clicks", 2, "Clicks of every user that yesterday does not have.", 0
)
_LATEST_DAYS = flags.DEFINE_float(
    "latest_days", 0, "Days of the log that yesterday does not have; times in seconds.", 0
)

METRIC = "val_ndcg@10"


def take_yesterday(
    rows: Sequence[dict[str, str]], latest_clicks: int, latest_days: float
) -> list[dict[str, str]]:
    """The log without its latest clicks.

    Args:
        rows: With `user_id` and `timestamp`, the clicks of a user in their order.
        latest_clicks: Of every user.
        latest_days: Of the whole log.
    """
    times = [float(row["timestamp"]) for row in rows]
    end = max(times) - latest_days * 86_400
    later: dict[str, int] = {}
    kept = []
    for row, time in zip(reversed(rows), reversed(times), strict=True):
        user = row["user_id"]
        later[user] = later.get(user, 0) + 1
        if later[user] > latest_clicks and time <= end:
            kept.append(row)
    return kept[::-1]


def count_epochs(values: Iterable[float], wanted: float) -> int | None:
    """Epochs until a metric is at least `wanted`; None where it never is.

    Args:
        values: Before the first epoch, and after every one.
        wanted: The value.
    """
    return next((epoch for epoch, value in enumerate(values) if value >= wanted), None)


def compare(scratch: Sequence[float], warm: Sequence[float]) -> dict[str, Any]:
    """Both trainings by their validation metric, before the first epoch and after every one."""
    best = max(scratch)
    needed, warm_needed = count_epochs(scratch, best), count_epochs(warm, best)
    return {
        "best_from_scratch": best,
        "epochs_from_scratch": needed,
        "before_the_first_epoch": warm[0],
        "best_warm": max(warm),
        "epochs_warm": warm_needed,
        "share_of_the_steps": None if warm_needed is None else round(warm_needed / needed, 3),
    }


def _split(events: Path, folder: Path) -> None:
    """Writes yesterday's log."""
    target = folder / "yesterday.csv.gz"
    if target.exists():
        return
    open_text = gzip.open if events.suffix == ".gz" else open
    with open_text(events, "rt", encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    kept = take_yesterday(rows, _LATEST_CLICKS.value, _LATEST_DAYS.value)
    partial = folder / "partial.csv.gz"
    with gzip.open(partial, "wt", encoding="utf-8", newline="") as output:
        writer = csv.DictWriter(output, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    partial.rename(target)


def _run(folder: Path, name: str, *words: str) -> None:
    """A job of `recall`, unless its folder is finished."""
    if not (folder / name / "artifact.json").exists():
        cost = quality.run_job([*words, f"--output={folder / name}"], {}, folder / "log.txt")
        measure.show_progress(f"{name}: {cost.seconds:.0f} s, {cost.cpu_seconds:.0f} CPU-s")


def _read_values(model: Path) -> list[float]:
    """The validation metric before the first epoch, and after every one."""
    lines = (model / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    values = [json.loads(line)[METRIC] for line in lines]
    start = model / "warm_start.json"
    before = json.loads(start.read_text(encoding="utf-8"))[METRIC] if start.exists() else 0.0
    return [before, *values]


def main(_: Sequence[str]) -> None:
    """Runs the jobs that are missing and prints the report."""
    folder = Path(quality.OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    _split(Path(_EVENTS.value), folder)
    items = [f"--items={_ITEMS.value}"] if _ITEMS.value else []
    settings = [f"--set={setting}" for setting in measure.SETTINGS.value]
    logs = {"yesterday": folder / "yesterday.csv.gz", "today": Path(_EVENTS.value)}
    for day, log in logs.items():
        _run(folder, f"examples_{day}", "ingest", f"--events={log}", *items, *settings)
    train = ["train", *settings, f"--examples={folder}/examples_"]
    _run(folder, "yesterday", *train[:-1], f"{train[-1]}yesterday")
    on_today = [*train[:-1], f"{train[-1]}today"]
    _run(folder, "scratch", *on_today)
    _run(folder, "warm", *on_today, f"--warm_start={folder / 'yesterday'}")
    scratch, warm = _read_values(folder / "scratch"), _read_values(folder / "warm")
    measure.print_report([compare(scratch, warm)], settings=measure.SETTINGS.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["events", "output"])
    app.run(main)
