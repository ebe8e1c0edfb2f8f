"""Runs for the terminal, as JSON and as CSV: a list, or some side by side. No TensorFlow."""

import csv
import difflib
import io
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.intervals import Interval
from pipelines.publishing import summary
from pipelines.reporting.page import texts
from pipelines.tracking.differences import find_other_logs, measure_differences
from pipelines.tracking.run_facts import RunFacts, find_runs, is_run, read_run
from recall.errors import InputError

ALL = "all"
FORMATS = ("table", "json", "csv")
_SHOWN_METRICS = ("test.recall@10", "test.ndcg@10")
_log = logging.getLogger(__name__)
_MAX_TEXT = 24
"""Characters of a value: enough to tell checksums apart."""


def read_runs(directory: str | Path) -> list[RunFacts]:
    """All runs below a folder, the oldest first; those of earlier versions before them.

    A run that is damaged is told of and left out: the others are as good as before.

    Raises:
        InputError: There is none, or a file of the only one is damaged.
    """
    root, runs = Path(directory), []
    found = find_runs(root)
    for path in found:
        name = path.relative_to(root).as_posix()
        try:
            runs.append(read_run(path, None if name == "." else name))
        except InputError as error:
            if len(found) == 1:
                raise
            _log.warning("%s is left out: %s", path, error)
    if not runs:
        raise InputError(f"All {len(found)} runs in {directory} are damaged.")
    return sorted(runs, key=lambda run: run.finished or "")


def read_each(folders: Sequence[str]) -> list[RunFacts]:
    """The runs of these folders, in this order, named from the folder that has them all.

    Raises:
        InputError: One is no run, or damaged; one is there twice, or is alone.
    """
    if len(folders) < 2:
        raise InputError(f"There is nothing to compare {folders[0]} with. Name two runs or more.")
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder. Name one that `recall run` wrote to.")
        if not is_run(folder):
            raise InputError(f"{folder} is no run, but {find_runs(folder)[0]} is.")
        if folder.resolve() in found:
            raise InputError(f"{folder} is named twice. Name each run once.")
        found[folder.resolve()] = folder
    root = os.path.commonpath([path.parent for path in found])
    return [read_run(folder, path.relative_to(root).as_posix()) for path, folder in found.items()]


def choose(runs: Sequence[RunFacts], names: Iterable[str]) -> list[RunFacts]:
    """The runs of these names, `all` for every one.

    Raises:
        InputError: A name is none of theirs, or there are not two.
    """
    names = list(names)
    by_name = {run.name: run for run in runs}
    for name in names:
        if name != ALL and name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1) or sorted(by_name)[:1]
            raise InputError(f"--compare: there is no run {name!r}, but there is {near[0]!r}.")
    chosen = list(runs) if ALL in names else [by_name[name] for name in dict.fromkeys(names)]
    if len(chosen) < 2:
        raise InputError("--compare needs two runs or more, for example --compare=all.")
    return chosen


def list_runs(runs: Sequence[RunFacts], form: str) -> str:
    """The runs, one a line; see `FORMATS`."""
    if form == "json":
        return json.dumps([_plain(run) for run in runs], indent=2) + "\n"
    if form == "csv":
        return _csv([dict(_flat(run)) for run in runs])
    heads = ["run", "finished (UTC)", "log", "users", "items", "epochs"]
    heads += [name.partition(".")[2] for name in _SHOWN_METRICS]
    rows = [[*heads, "verdict", "time", "memory"]]
    for run in runs:
        metrics = [texts.metric(run.metrics.get(name)) for name in _SHOWN_METRICS]
        rows.append(
            [
                run.name,
                (run.finished or texts.NONE)[:16].replace("T", " "),
                _name_of_log(run.log),
                texts.count(run.users),
                texts.count(run.items),
                texts.count(run.epochs),
                *metrics,
                {None: texts.NONE, True: "blessed", False: "not blessed"}[run.blessed],
                texts.seconds(run.duration_s),
                texts.memory(run.peak_memory_bytes),
            ]
        )
    return summary.align(rows) + "\n"


def compare(runs: Sequence[RunFacts], form: str) -> str:
    """Metrics side by side, and what differs of all the rest."""
    parts, told = _differences(runs), measure_differences(runs)
    if form == "json":
        named = {
            part: {
                name: dict(zip((run.name for run in runs), row, strict=True))
                for name, row in rows.items()
            }
            for part, rows in parts.items()
        }
        document = {"runs": [run.name for run in runs], **named}
        if told:
            document["differences"] = _plain_differences(runs, told)
        return json.dumps(document, indent=2) + "\n"
    if form == "csv":
        return _csv(
            {"part": part, "name": name, **dict(zip((run.name for run in runs), row, strict=True))}
            for part, rows in parts.items()
            for name, row in rows.items()
        )
    blocks = [_side_by_side("metric", runs, parts["metrics"], _metric)]
    if told:
        blocks.append(_tell_differences(runs, told))
    if apart := find_other_logs(runs):
        names = ", ".join(run.name for run in apart)
        blocks.append(f"No intervals for {names}: of another log than {runs[0].name}.")
    for part, one in (
        ("jobs", "job"),
        ("settings", "setting that differs"),
        ("inputs", "input that differs"),
        ("versions", "version that differs"),
    ):
        if parts[part]:
            blocks.append(_side_by_side(one, runs, parts[part], _shown))
    if not parts["settings"]:
        blocks.append("The settings are the same.")
    return "\n\n".join(blocks) + "\n"


def _plain_differences(
    runs: Sequence[RunFacts], told: Mapping[str, Sequence[Interval | None]]
) -> dict[str, dict[str, Any]]:
    names = [run.name for run in runs[1:]]
    return {
        metric: {
            name: None if interval is None else interval._asdict()
            for name, interval in zip(names, row, strict=True)
        }
        for metric, row in told.items()
    }


def _tell_differences(
    runs: Sequence[RunFacts], told: Mapping[str, Sequence[Interval | None]]
) -> str:
    """The differences with their intervals; a star where chance alone is no reason."""
    rows = [[f"minus {runs[0].name}", *(run.name for run in runs[1:])]]
    for metric, row in told.items():
        rows.append([f"test.{metric}", *(_interval(interval) for interval in row)])
    return (
        f"{summary.align(rows)}\n"
        "In brackets 95 % intervals over users, of these trainings; * is more than chance.\n"
        "Another seed is another training: `recall experiment` compares over seeds too."
    )


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return texts.NONE
    mark = "*" if interval.excludes_zero else " "
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]{mark}"


def _differences(runs: Sequence[RunFacts]) -> dict[str, dict[str, list[Any]]]:
    """Part -> name -> value of each run: of metrics and jobs all, of the rest what differs."""
    metrics = [
        {name: value for name, value in run.metrics.items() if name.startswith(("test.", "index."))}
        for run in runs
    ]
    jobs = [
        {
            f"{job} {unit}": value
            for job, made in run.jobs.items()
            for unit, value in (("(s)", made.get("duration_s")), ("(MB)", _megabytes(made)))
        }
        for run in runs
    ]
    whole = [not run.is_of_lists for run in runs]
    commits = [{"commit": run.commit} for run in runs]
    versions = [{**run.versions, **commit} for run, commit in zip(runs, commits, strict=True)]
    return {
        "metrics": _rows(metrics),
        "jobs": _rows(jobs),
        "settings": _only_differing(_rows([run.settings for run in runs]), whole),
        "inputs": _only_differing(_rows([run.inputs for run in runs]), whole),
        "versions": _only_differing(_rows(versions)),
    }


def _rows(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for one in values for name in one)
    return {name: [one.get(name) for one in values] for name in names}


def _only_differing(
    rows: Mapping[str, list[Any]], whole: Sequence[bool] | None = None
) -> dict[str, list[Any]]:
    """Rows with several values; what a run that is not whole lacks is none."""
    found = {}
    for name, row in rows.items():
        is_told = [True] * len(row) if whole is None else whole
        values = [v for v, told in zip(row, is_told, strict=True) if told or v is not None]
        if any(value != values[0] for value in values):
            found[name] = row
    return found


def _side_by_side(head: str, runs: Sequence[RunFacts], rows: Mapping[str, list], show: Any) -> str:
    table = [[head, *(run.name for run in runs)]]
    return summary.align([*table, *([name, *map(show, row)] for name, row in rows.items())])


def _plain(run: RunFacts) -> dict[str, Any]:
    return {
        **run._asdict(),
        "directory": str(run.directory),
        "finished": run.finished,
        "duration_s": run.duration_s,
        "peak_memory_bytes": run.peak_memory_bytes,
        "commit": run.commit,
    }


def _flat(run: RunFacts) -> Iterable[tuple[str, Any]]:
    """A run as one row of a table: everything, in columns of dotted names."""
    for name, value in _plain(run).items():
        if isinstance(value, Mapping):
            for key, one in value.items():
                inner = one.items() if isinstance(one, Mapping) else [("", one)]
                yield from ((f"{name}.{key}.{last}".rstrip("."), cell) for last, cell in inner)
        else:
            yield name, value


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _megabytes(made: Mapping[str, Any]) -> int | None:
    peak = made.get("peak_memory_bytes")
    return None if peak is None else round(peak / 1e6)


def _name_of_log(log: str | None) -> str:
    """The end of a path, or the whole of another name.

    >>> _name_of_log("/data/ml-100k/events.csv.gz"), _name_of_log("synthetic:users=9")
    ('ml-100k/events.csv.gz', 'synthetic:users=9')
    """
    return texts.NONE if log is None else texts.short("/".join(log.split("/")[-2:]), 30)


def _metric(value: float | None) -> str:
    return texts.count(value) if isinstance(value, int) else texts.metric(value)


def _shown(value: Any) -> str:
    if value is None:
        return texts.NONE
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else texts.count(value)
    return texts.short(str(value), _MAX_TEXT)
