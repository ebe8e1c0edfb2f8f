"""Logs that experiments know by name, and how they are read. No TensorFlow."""

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from recall.errors import InputError
from serving.stores import urls

DATA_VARIABLE = "RECALL_DATA_DIR"
PLANTED, EXPOSED, TURNING = "planted", "exposed", "turning"

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
    TURNING: "synthetic:users=1500,items=400,interests=20,interests_per_user=4,"
    "events_per_user=25,run_length=3,noise=0.05,turn=1",
}
"""What is learnt from `exposed`, and what chooses its best epoch, is skewed by the propensity to
be shown; the five clicks that are held out for the test are not: true preference. After a long
gap a user of `turning` goes on with the next of her interests: the time tells which."""

_PLANTED_SETTINGS = ("train.max_epochs=10",)
NEXT_FIVE = ("ingest.protocol=next_n", "ingest.num_targets=5")
"""The article's test: the five last clicks of a user."""

_SYNTHETIC = "synthetic:"
_OTHER_SOURCES = ("tfds:", "mind:")
_SETTING = re.compile(r"[a-z_]+=")
_WILDCARDS = frozenset("*?[")
_ENDINGS = (".csv.gz", ".csv", ".parquet")
"""Of the files that a folder of a log has, as `recall synthesize` writes them."""


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
    if name in _PLANTED_SPECS or name.startswith(_SYNTHETIC):
        return _PLANTED_SETTINGS
    return _REAL.get(name, ())


def join_names(parts: Sequence[str], apart: Collection[str] = ()) -> tuple[str, ...]:
    """The logs of a text that was split at commas, of which a synthetic log has some itself.

    Args:
        parts: What stood between the commas.
        apart: Names that look like settings of a synthetic log and are logs.

    >>> join_names(["synthetic:users=9", "items=5", "planted"])
    ('synthetic:users=9,items=5', 'planted')
    """
    names: list[str] = []
    for part in parts:
        is_setting = _SETTING.match(part) and part not in apart
        if is_setting and names and names[-1].startswith(_SYNTHETIC):
            names[-1] += f",{part}"
        else:
            names.append(part)
    return tuple(names)


def find_log(name: str) -> Log:
    """The log of a name.

    Args:
        name: `beauty`, `sports`, `ml-1m`, `ml-100k` or `diginetica`, which lie below
            `RECALL_DATA_DIR`; `planted`, `exposed`, `turning`; a folder with `events.csv.gz`
            (or `.csv`, `.parquet`); or what `--events` takes. An `items` file with one of these
            endings beside an events file is its items file.

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
        return Log(str(events), _in_folder(events.parent, "items"))
    if name.startswith((_SYNTHETIC, *_OTHER_SOURCES)) or urls.is_url(name):
        return Log(name, None)
    path = Path(name)
    if path.is_dir() and (own := _in_folder(path, "events")):
        return Log(own, _in_folder(path, "items"))
    if not path.exists() and not _WILDCARDS.intersection(name):
        raise InputError(
            f"--logs={name} is neither a file nor a folder, nor one of "
            f"{', '.join((*_REAL, *_PLANTED_SPECS))}."
        )
    return Log(name, _in_folder(path.parent, "items"))


def log_name(log: str) -> str:
    """What a log is called in tables: as its file, or as the folder of an `events` file.

    >>> log_name("data/mine.csv.gz"), log_name("ml-1m"), log_name("synthetic:users=9")
    ('mine', 'ml-1m', 'synthetic:users=9')
    >>> log_name("data/shop/events.csv.gz"), log_name("data/shop/*.csv")
    ('shop', 'shop')
    """
    if is_named(log) or log.startswith(_OTHER_SOURCES):
        return log
    path = Path(*(part for part in Path(log).parts if not _WILDCARDS.intersection(part)))
    name = path.name.partition(".")[0]
    if name == "events":
        return path.resolve().parent.name
    return name or path.resolve().name


def is_named(log: str) -> bool:
    """Whether a log is known by its name alone, wherever its files lie."""
    return log in _REAL or log in _PLANTED_SPECS or log.startswith(_SYNTHETIC)


def _in_folder(folder: Path, stem: str) -> str | None:
    """The file of that name there, with one of the usual endings."""
    files = (folder / f"{stem}{ending}" for ending in _ENDINGS)
    return next((str(file) for file in files if file.is_file()), None)
