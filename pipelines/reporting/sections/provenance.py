"""Where everything came from: settings, inputs, software, verdict. Imports no TensorFlow."""

from typing import Any

from pipelines.artifacts import records
from pipelines.evaluation import blessing
from pipelines.reporting.page import texts
from pipelines.reporting.page.blocks import Block, Missing, Section, ShownTable
from pipelines.reporting.sections.run_folder import RunFolder

_SHOWN_DIGITS = 12
"""Digits of a checksum or commit that are shown."""


def build(run: RunFolder, other: RunFolder | None) -> Section:
    """The section about how a run was made."""
    blocks: list[Block] = [*_verdict(run), *_jobs(run), _inputs(run), _software(run)]
    if run.config is None:
        blocks.append(Missing("The settings: the folder has no finished `model`."))
    else:
        blocks.append(_settings(run, other))
    return Section(
        "provenance",
        "Provenance",
        "What made this run, so that it can be made again.",
        blocks,
    )


def _verdict(run: RunFolder) -> list[Block]:
    if run.evaluation is None:
        return []
    verdict = run.evaluation["blessing"]
    rows = [
        (check["threshold"], blessing.show_sides(check), "holds" if check["passed"] else "fails")
        for check in verdict["thresholds"]
    ]
    word = "blessed" if verdict["blessed"] else "not blessed"
    caption = f"The model is {word}" + (": all conditions hold" if verdict["blessed"] else "")
    return [ShownTable(("condition", "values", "outcome"), rows, caption, numeric=False)]


def _jobs(run: RunFolder) -> list[Block]:
    """How each job went; nothing of those that an earlier version made."""
    rows = [
        (
            job,
            made["finished"][:16].replace("T", " "),
            texts.seconds(made["duration_s"]),
            texts.seconds(made["cpu_s"]),
            texts.memory(made["peak_memory_bytes"]),
        )
        for job, made in run.made.items()
        if made
    ]
    columns = ("job", "finished (UTC)", "time", "processors", "peak memory")
    return [ShownTable(columns, rows, "How the jobs went", numeric=False)] if rows else []


def _inputs(run: RunFolder) -> ShownTable:
    rows = [
        (job, name, checksum if len(checksum) < 2 * _SHOWN_DIGITS else checksum[:_SHOWN_DIGITS])
        for job, record in run.records.items()
        for name, checksum in record["inputs"].items()
    ]
    return ShownTable(("job", "input", "checksum"), rows, "Inputs of the jobs", numeric=False)


def _software(run: RunFolder) -> ShownTable:
    versions: dict[str, str] = {}
    for record in run.records.values():
        versions |= record["versions"]
    commits = {made["commit"] for made in run.made.values() if made.get("commit")}
    if commits:
        versions["recall, commit"] = ", ".join(_short(commit) for commit in sorted(commits))
    for made in run.made.values():
        if made:
            versions["Python"] = made["python"]
            versions["machine"] = f"{made['platform']}, {made['cpus']} processors"
    return ShownTable(("package", "version"), list(versions.items()), "Software", numeric=False)


def _short(commit: str) -> str:
    """The first digits, and whether there were changes besides."""
    digits, dash, changed = commit.partition("-")
    return digits[:_SHOWN_DIGITS] + dash + changed


def _settings(run: RunFolder, other: RunFolder | None) -> ShownTable:
    mine = dict(records.list_settings(run.config or {}))
    if other is None or other.config is None:
        rows = [(name, _shown(value)) for name, value in mine.items()]
        return ShownTable(("setting", "value"), rows, "Settings", numeric=False)
    theirs = dict(records.list_settings(other.config))
    rows = [
        (
            name,
            _shown(mine.get(name)),
            _shown(theirs.get(name)),
            "same" if mine.get(name) == theirs.get(name) else "differs",
        )
        for name in {**mine, **theirs}
    ]
    rows.sort(key=lambda row: row[-1] == "same")
    return ShownTable(
        ("setting", run.name, other.name, "same or not"), rows, "Settings", numeric=False
    )


def _shown(value: Any) -> str:
    if value is None:
        return "chosen by the job"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or texts.NONE
    return str(value)
