"""The jobs in order: from a log to a published release.

A job whose record (settings, checksums of its inputs, versions of the software)
has not changed is skipped, so running again resumes where a failure stopped.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from pipelines.evaluation import evaluate
from pipelines.ingestion import ingest
from pipelines.publishing import export, index, push, summary
from pipelines.sources.events import EventSource
from pipelines.sources.items import ItemsFile
from pipelines.training import trainer
from recall.config import RecallConfig
from recall.errors import InputError
from serving import folders, storage

_LOCK_NAME = ".lock"


class RunResult(NamedTuple):
    """What a run made.

    Attributes:
        report: Content of evaluation/report.json.
        version: Version of the published release.
        executed: Names of the jobs that were not up to date.
    """

    report: dict[str, Any]
    version: int
    executed: tuple[str, ...]


class _Job(NamedTuple):
    """One job: where its result lies, what identifies it, how to make it."""

    name: str
    directory: Path
    record: Callable[[], dict[str, Any]]
    execute: Callable[[], Any]


def run(
    source: EventSource,
    items_file: ItemsFile | str | None,
    output_dir: str | Path,
    config: RecallConfig,
    *,
    max_bad_rows: int = 0,
    overwrite: bool = False,
    beam_args: Sequence[str] = (),
    keep: int | None = None,
    allow_loss: bool = False,
    show: Callable[[str], None] = print,
) -> RunResult:
    """Runs every job that is not up to date, then publishes the release.

    Args:
        source: The log.
        items_file: The items file, or its path, None where there is none.
        output_dir: Folder of the run.
        config: Settings of all jobs.
        max_bad_rows: Bad rows of the log that are skipped and counted.
        overwrite: Whether artifacts made from another log are replaced.
        beam_args: Words for Beam's `PipelineOptions`.
        keep: Published versions that stay; see `push.run_push`.
        allow_loss: Whether much of the newest release may be lost; the same.
        show: Receives the results (table and remarks), before the release is published.

    Returns:
        Report, version, and the jobs that were executed.

    Raises:
        InputError: The input is bad, the folder belongs to another log or is
            in use, or the model or the index is not good enough to publish, or
            would lose much of the newest release.
    """
    paths = RunPaths.under(output_dir)
    ingest_record = ingest.ingest_record(source, items_file, config)
    jobs = [
        _Job(
            "ingest",
            paths.examples,
            lambda: ingest_record,
            lambda: ingest.run_ingest(
                source,
                items_file,
                paths.examples,
                config,
                max_bad_rows=max_bad_rows,
                beam_args=beam_args,
                overwrite=True,
            ),
        ),
        _Job(
            "train",
            paths.model,
            lambda: trainer.train_record(config, paths.examples),
            lambda: trainer.train_and_evaluate(config, paths.examples, paths.model, overwrite=True),
        ),
        _Job(
            "evaluate",
            paths.evaluation,
            lambda: evaluate.evaluation_record(config, paths.examples, paths.model),
            lambda: evaluate.run_evaluation(paths.examples, paths.model, paths.evaluation, config),
        ),
        _Job(
            "export",
            paths.export,
            lambda: export.export_record(paths.model),
            lambda: export.run_export(paths.model, paths.export),
        ),
        _Job(
            "index",
            paths.index,
            lambda: index.index_record(config, paths.export, paths.examples),
            lambda: index.run_index(paths.export, paths.examples, paths.index, config),
        ),
    ]
    _check_folder(Path(output_dir), paths, ingest_record, source.spec, overwrite)
    for job in jobs:
        records.check_output(job.directory, job.name, overwrite=overwrite)
    with _locked(Path(output_dir)):
        if overwrite and _is_of_another_log(paths, ingest_record):
            _remove_artifacts(paths)
        executed = tuple(job.name for number, job in enumerate(jobs, 1) if _bring_up(number, job))
        evaluate.add_index_report(paths.evaluation, index.read_report(paths.index))
        report = storage.read_json(paths.evaluation / records.REPORT_NAME)
        show(summary.results(report))
        version, is_new = _publish(Path(output_dir), paths, keep, allow_loss)
        return RunResult(report, version, (*executed, *(("push",) if is_new else ())))


NUM_JOBS = 6
"""Jobs of a run, for the progress lines."""


def _bring_up(number: int, job: _Job) -> bool:
    """Executes a job unless its artifact is up to date; whether it did."""
    if records.is_current(job.directory, job.record()):
        _report_progress(number, job.name, f"up to date ({job.directory})")
        return False
    _report_progress(number, job.name, "started")
    start = time.monotonic()
    job.execute()
    seconds = time.monotonic() - start
    _report_progress(number, job.name, f"done in {seconds:.1f} s ({job.directory})")
    return True


def _report_progress(number: int, name: str, text: str) -> None:
    logging.info("[%d/%d] %-8s %s", number, NUM_JOBS, name, text)


def _check_folder(
    output_dir: Path,
    paths: RunPaths,
    ingest_record: dict[str, Any],
    spec: str,
    overwrite: bool,
) -> None:
    """Refuses an output folder that holds something else than this log's run."""
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"--output={output_dir} is a file. Name a folder.")
    if overwrite:
        return
    if _is_of_another_log(paths, ingest_record):
        raise InputError(
            f"--output={output_dir} belongs to another log than {spec} (checksums differ). "
            "Choose another folder, or pass --overwrite to replace its artifacts."
        )
    known = {*RunPaths._fields, _LOCK_NAME}
    found = [path.name for path in output_dir.glob("*")] if output_dir.exists() else []
    if found and not known.intersection(found):
        raise InputError(
            f"--output={output_dir} holds other files ({sorted(found)[0]}). "
            "Choose a new folder, or pass --overwrite to use it all the same."
        )


def _is_of_another_log(paths: RunPaths, ingest_record: dict[str, Any]) -> bool:
    record = records.read_record(paths.examples)
    events = ingest_record["inputs"]["events"]
    return record is not None and record.get("inputs", {}).get("events") != events


def _remove_artifacts(paths: RunPaths) -> None:
    """Removes what was made from another log; published releases stay."""
    for path in (paths.index, paths.export, paths.evaluation, paths.model, paths.examples):
        if path.exists():
            shutil.rmtree(path)


@contextlib.contextmanager
def _locked(output_dir: Path) -> Iterator[None]:
    """Keeps a second run out of the folder, and clears what a killed one left."""
    busy = (
        f"Another `recall run` is working in {output_dir}. Wait for it to end, or choose "
        "another folder."
    )
    with folders.locked_folder(output_dir, _LOCK_NAME, busy=busy):
        for name in RunPaths._fields[:-1]:
            folders.clear_leftovers(output_dir, name)
        yield


def _publish(
    output_dir: Path, paths: RunPaths, keep: int | None, allow_loss: bool
) -> tuple[int, bool]:
    """Pushes the release unless the newest published one is this one."""
    published = push.published_version(output_dir)
    if published is not None:
        _report_progress(NUM_JOBS, "push", f"up to date (version {published})")
        return published, False
    version = push.run_push(output_dir, keep=keep, allow_loss=allow_loss)
    _report_progress(NUM_JOBS, "push", f"done, version {version} ({paths.serving})")
    return version, True
