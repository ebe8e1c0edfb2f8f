"""The jobs in order: from a log to a published release.

A job whose record (settings, checksums of its inputs, versions of the software)
has not changed is skipped, so running again resumes where a failure stopped.
"""

import contextlib
import functools
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
from pipelines.progress import tasks
from pipelines.publishing import export, index, push, summary
from pipelines.reporting import report as run_report
from pipelines.sources.events import EventSource
from pipelines.sources.items import ItemsFile
from pipelines.training import trainer
from pipelines.training.placement import cluster
from pipelines.training.warm_start import check_warm_start
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import folders, storage

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
    """One job of a run.

    Attributes:
        name: As in the progress lines.
        directory: Where its result lies; a URL where that is in a store.
        find: Says what there is of the result, None where the job has to be executed.
        execute: Makes the result and says how that went.
    """

    name: str
    directory: str | Path
    find: Callable[[], str | None]
    execute: Callable[[], str]


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
    warm_start: str | Path | None = None,
    serving_dir: str | Path | None = None,
    show: Callable[[str], None] = print,
) -> RunResult:
    """Runs every job that is not up to date, publishes the release and writes report.html.

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
        warm_start: Folder of an earlier run, whose training this one goes on from.
        serving_dir: Folder of the releases, or the URL of one in an object store;
            None means `serving/` in the run.
        show: Receives the results (table and remarks), before the release is published.

    Returns:
        Report, version, and the jobs that were executed.

    Raises:
        InputError: The input is bad, the folder belongs to another log or is
            in use, the warm start does not fit, or the model or the index is not
            good enough to publish, or would lose much of the newest release.
    """
    cluster.refuse("recall run")
    output_dir = Path(output_dir)
    paths = RunPaths.under(output_dir)
    if warm_start is not None:
        check_warm_start(warm_start, config, paths.model)
    ingest_record = ingest.ingest_record(source, items_file, config)
    make_examples = functools.partial(
        ingest.run_ingest,
        source,
        items_file,
        paths.examples,
        config,
        max_bad_rows=max_bad_rows,
        beam_args=beam_args,
        overwrite=True,
    )
    serving_dir = serving_dir or paths.serving
    publish = functools.partial(
        push.run_push, output_dir, serving_dir, keep=keep, allow_loss=allow_loss
    )
    jobs = _jobs(output_dir, config, ingest_record, make_examples, warm_start)
    jobs.append(_push_job(output_dir, serving_dir, publish))
    _check_folder(output_dir, paths, ingest_record, source.spec, overwrite)
    for job in jobs[:-1]:  # A push adds to what is published before.
        records.check_output(job.directory, job.name, overwrite=overwrite)
    with _locked(output_dir):
        if overwrite and _is_of_another_log(paths, ingest_record):
            _remove_artifacts(paths)
        report, executed = _execute_all(jobs, output_dir, show)
    return RunResult(report, push.newest_version(serving_dir), executed)


def _execute_all(
    jobs: Sequence[_Job], output_dir: Path, show: Callable[[str], None]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Executes what is not up to date; the last job publishes, after the results were shown.

    Returns:
        The report of the evaluation, and the names of the jobs that were executed.
    """
    *before, publication = jobs
    total = len(jobs)
    executed = [
        job for number, job in enumerate(before, 1) if _execute_if_stale(job, number, total)
    ]
    paths = RunPaths.under(output_dir)
    evaluate.add_index_report(paths.evaluation, index.read_report(paths.index))
    report = storage.read_json(paths.evaluation / records.REPORT_NAME)
    show(summary.results(report))
    try:
        if _execute_if_stale(publication, total, total):
            executed.append(publication)
    except InputError:  # What is refused has a report too: it says why.
        _write_report(output_dir)
        raise
    _write_report(output_dir)
    return report, tuple(job.name for job in executed)


def _write_report(output_dir: Path) -> None:
    """Writes report.html; what was published stays so where that fails."""
    try:
        with tasks.open_task("write the report"):
            run_report.write_report(output_dir)
    except InputError as error:
        logging.warning("There is no report: %s", error)


def _jobs(
    output_dir: Path,
    config: RecallConfig,
    ingest_record: dict[str, Any],
    make_examples: Callable[[], Any],
    warm_start: str | Path | None,
) -> list[_Job]:
    """All jobs of a run but the push, in their order."""
    paths = RunPaths.under(output_dir)
    return [
        _artifact_job("ingest", paths.examples, lambda: ingest_record, make_examples),
        _artifact_job(
            "train",
            paths.model,
            lambda: trainer.train_record(config, paths.examples, warm_start),
            lambda: trainer.train_and_evaluate(
                config, paths.examples, paths.model, warm_start=warm_start, overwrite=True
            ),
        ),
        _artifact_job(
            "evaluate",
            paths.evaluation,
            lambda: evaluate.evaluation_record(config, paths.examples, paths.model),
            lambda: evaluate.run_evaluation(paths.examples, paths.model, paths.evaluation, config),
        ),
        _artifact_job(
            "export",
            paths.export,
            lambda: export.export_record(paths.model),
            lambda: export.run_export(paths.model, paths.export),
        ),
        _artifact_job(
            "index",
            paths.index,
            lambda: index.index_record(config, paths.export, paths.examples),
            lambda: index.run_index(paths.export, paths.examples, paths.index, config),
        ),
    ]


def _artifact_job(
    name: str, directory: Path, record: Callable[[], dict[str, Any]], make: Callable[[], Any]
) -> _Job:
    """A job whose artifact is up to date while its record has not changed."""

    def find() -> str | None:
        return str(directory) if records.is_current(directory, record()) else None

    def execute() -> str:
        start = time.monotonic()
        make()
        return f"done in {time.monotonic() - start:.1f} s ({directory})"

    return _Job(name, directory, find, execute)


def _push_job(output_dir: Path, serving_dir: str | Path, publish: Callable[[], int]) -> _Job:
    """The push, up to date while the newest published release is this one."""

    def find() -> str | None:
        published = push.published_version(output_dir, serving_dir)
        return None if published is None else f"version {published}"

    def execute() -> str:
        return f"done, version {publish()} ({serving_dir})"

    return _Job("push", serving_dir, find, execute)


def _execute_if_stale(job: _Job, number: int, num_jobs: int) -> bool:
    """Executes a job unless its result is up to date; whether it did."""

    def report(text: str) -> None:
        logging.info("[%d/%d] %-8s %s", number, num_jobs, job.name, text)

    found = job.find()
    if found is not None:
        report(f"up to date ({found})")
        return False
    report("started")
    with tasks.open_task(f"[{number}/{num_jobs}] {job.name}"):
        done = job.execute()
    report(done)
    return True


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
