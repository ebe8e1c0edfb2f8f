"""The jobs in order: from a log to a published release.

A job whose record (settings, checksums of its inputs, versions of the software)
has not changed is skipped, so running again resumes where a failure stopped.
"""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from pipelines.evaluation import evaluate
from pipelines.ingestion import ingest
from pipelines.ingestion.events import user_rows
from pipelines.progress import tasks
from pipelines.publishing import export, index, push, run_folder, summary
from pipelines.reporting import report as run_report
from pipelines.sources.events import EventSource
from pipelines.sources.items import ItemsFile
from pipelines.training import model_folder, trainer
from pipelines.training.placement import cluster, strategies
from pipelines.training.warm_start import check_warm_start
from pipelines.validation import validate
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import manifest as manifests
from serving.release import storage


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
    previous: str | Path | None = None,
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
        previous: Folder of an earlier run, which the log is compared with; None takes that
            of `warm_start`.
        show: Receives the results (table and remarks), before the release is published.

    Returns:
        Report, version, and the jobs that were executed.

    Raises:
        InputError: The input is bad, the folder belongs to another log or is
            in use, the warm start does not fit, another version began the training, the log
            breaks a limit of `validation`, or the model or the index is not good enough to
            publish, or would lose much of the newest release.
    """
    cluster.refuse("recall run")
    strategies.check(config, has_warm_start=warm_start is not None)
    output_dir = Path(output_dir)
    paths = RunPaths.under(output_dir)
    previous = _check_models(paths, config, warm_start, previous, overwrite=overwrite)
    user_rows.check_file(source, config)
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
    jobs = _jobs(output_dir, config, ingest_record, make_examples, warm_start, previous)
    jobs.append(_push_job(output_dir, serving_dir, publish))
    run_folder.check_folder(output_dir, paths, ingest_record, source.spec, overwrite)
    for job in jobs[:-1]:  # A push adds to what is published before.
        records.check_output(job.directory, job.name, overwrite=overwrite)
    with run_folder.locked(output_dir):
        if overwrite and run_folder.is_of_another_log(paths, ingest_record):
            run_folder.remove_artifacts(paths)
        report, executed = _execute_all(jobs, output_dir, show)
    return RunResult(report, push.newest_version(serving_dir), executed)


def _check_models(
    paths: RunPaths,
    config: RecallConfig,
    warm_start: str | Path | None,
    previous: str | Path | None,
    *,
    overwrite: bool,
) -> str | Path | None:
    """Refuses models that the training cannot go on from; the run that the log is compared with.

    Raises:
        InputError: The warm start does not fit, or another version began the training.
    """
    if warm_start is not None:
        check_warm_start(warm_start, config, paths.model)
        previous = previous or validate.find_examples(warm_start)
    if previous is not None:
        validate.require_examples(previous, but=paths.examples)
    if not overwrite:
        model_folder.refuse_other_version(paths.model, trainer.train_settings(config))
    return previous


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
    previous: str | Path | None,
) -> list[_Job]:
    """All jobs of a run but the push, in their order."""
    paths = RunPaths.under(output_dir)
    return [
        _artifact_job("ingest", paths.examples, lambda: ingest_record, make_examples),
        _validation_job(output_dir, config, previous),
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


def _validation_job(output_dir: Path, config: RecallConfig, previous: str | Path | None) -> _Job:
    """The validation, up to date while its log has not changed and held the limits."""
    paths = RunPaths.under(output_dir)
    job = _artifact_job(
        "validate",
        paths.validation,
        lambda: validate.validation_record(config, paths.examples, previous),
        lambda: validate.run_validation(paths.examples, paths.validation, config, previous),
    )

    def find() -> str | None:
        return job.find() if validate.passed(paths.validation) else None

    def execute() -> str:
        try:
            return job.execute()
        except InputError:  # The report says what broke the limit.
            _write_report(output_dir)
            raise

    return job._replace(find=find, execute=execute)


def _push_job(output_dir: Path, serving_dir: str | Path, publish: Callable[[], int]) -> _Job:
    """The push, up to date while the newest published release is this one."""

    def find() -> str | None:
        published = push.published_version(output_dir, serving_dir)
        if published is None:
            return None
        _note_version(output_dir, serving_dir, published)
        return f"version {published}"

    def execute() -> str:
        version = publish()
        _note_version(output_dir, serving_dir, version)
        return f"done, version {version} ({serving_dir})"

    return _Job("push", serving_dir, find, execute)


def _note_version(output_dir: Path, serving_dir: str | Path, version: int) -> None:
    """Leaves in the run where it was published, for its report, if not in its own folder."""
    paths, note = RunPaths.under(output_dir), output_dir / records.PUBLISHED_NAME
    if Path(serving_dir) == paths.serving:
        note.unlink(missing_ok=True)
        return
    fingerprint = manifests.read(paths.index)["fingerprint"]
    values = {"serving": str(serving_dir), "version": version, "fingerprint": fingerprint}
    if not note.exists() or storage.read_json(note) != values:
        storage.write_json(note, values)


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
