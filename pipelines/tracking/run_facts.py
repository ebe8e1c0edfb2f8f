"""What a finished run says of itself, from the files of its folder. Imports no TensorFlow."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from recall.errors import InputError
from serving.release import storage

JOBS = dict(
    zip(
        ("ingest", "validate", "train", "evaluate", "export", "index"),
        RunPaths._fields,
        strict=False,
    )
)
"""Job -> its folder in that of a run."""

_EXPERIMENT_RESULTS = "results.md"

_MAX_DEPTH = 4
"""Folders below the one that is searched."""


class RunFacts(NamedTuple):
    """A run, as far as it has come.

    Attributes:
        name: Its folder, from the one that was searched.
        directory: Its folder.
        log: What its log is called.
        users: Of the log; None, like all numbers, where the job is not finished.
        items: Of the log.
        epochs: Its training took.
        blessed: Whether its model may be published.
        settings: `section.key` -> value, as the jobs recorded them.
        inputs: Name -> checksum of what comes from outside.
        versions: Package -> version.
        jobs: Job -> how it went, see `records.read_made`.
        metrics: `test.recall@10` -> value, also of `validation`, `baselines` and `index`.
    """

    name: str
    directory: Path
    log: str | None
    users: int | None
    items: int | None
    epochs: int | None
    blessed: bool | None
    settings: dict[str, Any]
    inputs: dict[str, str]
    versions: dict[str, str]
    jobs: dict[str, dict[str, Any]]
    metrics: dict[str, float]

    @property
    def is_of_lists(self) -> bool:
        """Whether it is of another system, whose settings nobody knows."""
        return "lists" in self.inputs

    @property
    def finished(self) -> str | None:
        """When its last job ended, ISO 8601 in UTC."""
        return max((made["finished"] for made in self._known()), default=None)

    @property
    def duration_s(self) -> float | None:
        """What its jobs took together."""
        return sum(made["duration_s"] for made in self._known()) if any(self._known()) else None

    @property
    def peak_memory_bytes(self) -> int | None:
        """Of the job that took most."""
        return max((made["peak_memory_bytes"] or 0 for made in self._known()), default=None)

    @property
    def commit(self) -> str | None:
        """Of the product, when the last job ended."""
        latest = max(self._known(), key=lambda made: made["finished"], default={})
        return latest.get("commit")

    def _known(self) -> list[dict[str, Any]]:
        return [made for made in self.jobs.values() if made]


def find_runs(directory: str | Path) -> list[Path]:
    """The folders of runs at and below `directory`, in the order of their names.

    Those in which lists of another system were measured are among them.

    Raises:
        InputError: There is none.
    """
    found = sorted(_search(Path(directory), _MAX_DEPTH))
    if not found and (Path(directory) / _EXPERIMENT_RESULTS).exists():
        raise InputError(
            f"{directory} is of `recall experiment`: what came out is in its {_EXPERIMENT_RESULTS}."
        )
    if not found:
        raise InputError(
            f"{directory} holds no finished run. Name a folder that `recall run` wrote to, or "
            "one above it."
        )
    return found


def _search(directory: Path, depth: int) -> Iterator[Path]:
    if is_run(directory):
        yield directory
        return
    if depth > 0:
        with os.scandir(directory) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
        for name in names:
            yield from _search(directory / name, depth - 1)


def is_run(directory: Path) -> bool:
    """Whether a job of a run has finished in its folder there, or lists were measured."""
    has_job = any((directory / name / records.RECORD_NAME).exists() for name in JOBS.values())
    return has_job or is_of_lists(directory)


def is_of_lists(directory: Path) -> bool:
    """Whether it is what `recall evaluate --lists` wrote: a run of another system."""
    try:
        record = records.read_record(directory)
    except InputError:
        return False
    return record is not None and record.get("job") == records.LISTS_JOB


def users_path(directory: Path) -> Path:
    """Where the results of a run's test users are."""
    folder = directory if is_of_lists(directory) else directory / JOBS["evaluate"]
    return folder / records.USERS_NAME


def read_run(directory: Path, name: str | None = None) -> RunFacts:
    """Reads a run; jobs that are not finished leave gaps.

    Raises:
        InputError: A file is damaged.
    """
    of_lists = is_of_lists(directory)
    # Lists of another system have an evaluation, in the folder itself, and nothing else.
    names = {"evaluate": ""} if of_lists else JOBS
    folders = {job: directory / folder for job, folder in names.items()}
    found = {job: records.read_record(folder) for job, folder in folders.items()}
    done = {job: record for job, record in found.items() if record is not None}
    report = _read(folders["evaluate"] / records.REPORT_NAME) if "evaluate" in done else {}
    if of_lists:
        log, inputs = report.get("log", {}), done["evaluate"]["inputs"]
    else:
        log = _read_log(folders["ingest"]) if "ingest" in done else {}
        inputs = done.get("ingest", {}).get("inputs", {})
    versions: dict[str, str] = {}
    for record in done.values():
        versions |= record.get("versions", {})
    return RunFacts(
        name=name or directory.resolve().name,
        directory=directory,
        log=log.get("source"),
        users=log.get("users"),
        items=log.get("items"),
        epochs=len(records.read_training_log(folders["train"])) if "train" in done else None,
        blessed=report.get("blessing", {}).get("blessed"),
        settings=_settings(done),
        inputs=dict(inputs),
        versions=versions,
        jobs={job: records.read_made(folders[job]) for job in done},
        metrics=_metrics(report),
    )


def _read_log(folder: Path) -> dict[str, Any]:
    """What examples were made of: `source`, and how many `users` and `items` were kept."""
    report = _read(folder / records.INGEST_REPORT_NAME)
    return {"source": report.get("source"), **report.get("kept", {})}


def _settings(done: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the jobs recorded. A training knows all of `model`, ingest a part of it."""
    settings: dict[str, Any] = {}
    for record in done.values():
        settings |= dict(records.list_settings(record.get("settings", {})))
    return settings


def _metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation; counts, text and spreads are left out."""
    parts = {name: report.get(name) for name in ("test", "validation", "baselines", "index")}
    found = records.list_settings(
        {name: part for name, part in parts.items() if isinstance(part, Mapping)}
    )
    return {name: value for name, value in found if _is_metric(name, value)}


def _is_metric(name: str, value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and "@" in name and ".standard_errors." not in name


def _read(path: Path) -> dict[str, Any]:
    """A JSON file of an artifact; {} where its version left none."""
    return storage.read_json(path) if path.exists() else {}
