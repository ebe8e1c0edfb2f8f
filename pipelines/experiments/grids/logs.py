"""Logs that experiments know by name, and how they are read. No TensorFlow."""

import os
from pathlib import Path
from typing import NamedTuple

from recall.errors import InputError

DATA_VARIABLE = "RECALL_DATA_DIR"
PLANTED, EXPOSED = "planted", "exposed"

_LONG = ("model.max_history_length=200",)
_REAL = {
    "beauty": ("train.max_epochs=12",),
    "sports": ("train.max_epochs=12",),
    "ml-1m": (*_LONG, "train.max_epochs=8"),
    "ml-100k": (*_LONG, "train.max_epochs=30"),
    # Clicks on an item one has had are usual there.
    "diginetica": ("evaluation.exclude_seen=false", "train.max_epochs=8"),
}
"""Folder below `RECALL_DATA_DIR` -> settings. Epochs: where the order of two recipes no
longer changes, or what a grid of runs can afford (TRIALS.md)."""

_PLANTED_SPECS = {
    PLANTED: "synthetic:users=3000,items=1000,interests=8,interests_per_user=3,events_per_user=40",
    EXPOSED: "synthetic:users=3000,items=800,interests=8,interests_per_user=3,events_per_user=30,"
    "min_events_per_user=12,popularity_skew=0.3,exposure_skew=1,unbiased_events=5",
}
"""What is learnt from `exposed`, and what chooses its best epoch, is skewed by the propensity to
be shown; the five clicks that are held out for the test are not: true preference."""

_PLANTED_SETTINGS = ("train.max_epochs=10",)
NEXT_FIVE = ("ingest.protocol=next_n", "ingest.num_targets=5")
"""The article's test: the five last clicks of a user."""


class Log(NamedTuple):
    """Where a log lies.

    Attributes:
        events: What `--events` takes.
        items: An items file, or None.
    """

    events: str
    items: str | None


def log_settings(name: str) -> tuple[str, ...]:
    """Assignments that suit a log; it need not be there."""
    if name in _PLANTED_SPECS or name.startswith("synthetic:"):
        return _PLANTED_SETTINGS
    return _REAL.get(name, ())


def find_log(name: str) -> Log:
    """The log of a name.

    Args:
        name: `beauty`, `sports`, `ml-1m`, `ml-100k` or `diginetica`, which lie below
            `RECALL_DATA_DIR`; `planted`, `exposed`; or what `--events` takes. An
            `items.csv.gz` beside an events file is its items file.

    Raises:
        InputError: There is no such log.
    """
    if name in _PLANTED_SPECS:
        return Log(_PLANTED_SPECS[name], None)
    if name in _REAL:
        root = os.environ.get(DATA_VARIABLE)
        if not root:
            raise InputError(
                f"The log {name} is looked for below {DATA_VARIABLE}, which is not set. Set it to "
                f"the folder that has {name}/events.csv.gz, or choose --logs={PLANTED}."
            )
        events = Path(root) / name / "events.csv.gz"
        if not events.is_file():
            raise InputError(f"{DATA_VARIABLE}={root} has no {name}/events.csv.gz.")
        return Log(str(events), _items_beside(events))
    if name.startswith("synthetic:"):
        return Log(name, None)
    if not Path(name).exists():
        raise InputError(
            f"--logs={name} is neither a file nor one of {', '.join((*_REAL, *_PLANTED_SPECS))}."
        )
    return Log(name, _items_beside(Path(name)))


def log_name(log: str) -> str:
    """What a log is called in tables.

    >>> log_name("data/mine.csv.gz"), log_name("ml-1m"), log_name("synthetic:users=9")
    ('mine', 'ml-1m', 'synthetic:users=9')
    """
    if log in _REAL or log in _PLANTED_SPECS or log.startswith("synthetic:"):
        return log
    return Path(log).name.partition(".")[0]


def _items_beside(events: Path) -> str | None:
    items = events.with_name("items.csv.gz")
    return str(items) if items.is_file() else None
