"""The jobs `recall recommend`, `similar` and `embed`: a release and inputs -> Parquet."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.artifacts import provenance, records
from pipelines.inference import (
    contexts,
    histories,
    id_files,
    opened_release,
    parts,
    user_values,
    value_counts,
    work_folder,
)
from pipelines.inference.answers import (
    Answerer,
    EmbedItems,
    EmbedUsers,
    RecommendUsers,
    SimilarItems,
)
from pipelines.inference.opened_release import OpenedRelease, examples, open_once
from pipelines.inference.output import Output
from pipelines.inference.work_folder import WorkFolder
from pipelines.ingestion.step_runner import StepRunner
from pipelines.progress import tasks
from pipelines.sources.events import EventSource
from pipelines.sources.list_files import ListFile
from recall.errors import InputError
from serving.api.recall_limits import check_requests
from serving.release import release as releases
from serving.release import retention
from serving.release.release import Release

RECOMMEND, SIMILAR, EMBED = "recommend", "similar", "embed"

_TASK_NAMES = {RECOMMEND: "recommend", SIMILAR: "find similar items", EMBED: "embed"}

NUM_SHARDS = 64
"""Of the shuffle by user: one is ordered in memory at a time."""

ROWS_PER_FILE = 10_000
"""Users or items of one file: what is lost, at most, when a job is killed."""

_log = logging.getLogger(__name__)


class Users(NamedTuple):
    """Whom a job is about.

    Attributes:
        source: The log that says what they clicked.
        chosen: Those of them that are wanted; None takes all.
        max_bad_rows: Rows of the log that may be unusable.
    """

    source: EventSource
    chosen: id_files.IdFile | None = None
    max_bad_rows: int = 0


class JobOptions(NamedTuple):
    """How a job runs and where its result goes.

    Attributes:
        release_dir: Folder of releases; the newest is asked.
        output: Folder to write, or a file where the name ends in `.parquet`.
        beam_args: Flags for Beam's `PipelineOptions`, `--runner` among them.
        rows_per_file: Users or items of one file.
        overwrite: Whether the result of another job may be replaced.
    """

    release_dir: str | Path
    output: str | Path
    beam_args: Sequence[str] = ()
    rows_per_file: int = ROWS_PER_FILE
    overwrite: bool = False


@provenance.measured
def write_recommendations(
    users: Users | ListFile, wanted: RecommendUsers, options: JobOptions
) -> dict[str, int]:
    """Writes recommendations for the users of a log, or of a file that has their histories.

    See `answer_tables` for the columns.

    Returns:
        What was counted; nothing is done where the result is up to date.

    Raises:
        InputError: The log, the release, a filter or the output is not usable.
    """
    return _Job(RECOMMEND, wanted, options).run_users(users)


@provenance.measured
def write_user_vectors(
    users: Users | ListFile, wanted: EmbedUsers, options: JobOptions
) -> dict[str, int]:
    """Writes the vectors of users; as `write_recommendations`."""
    return _Job(EMBED, wanted, options).run_users(users)


@provenance.measured
def write_similar_items(
    items: id_files.IdFile | None, wanted: SimilarItems, options: JobOptions
) -> dict[str, int]:
    """Writes for each item those like it.

    Args:
        items: Those that are wanted; None takes all of the release.
        wanted: How many, and which may be among them.
        options: How it runs.
    """
    return _Job(SIMILAR, wanted, options).run_items(items)


@provenance.measured
def write_item_vectors(
    items: id_files.IdFile | None, wanted: EmbedItems, options: JobOptions
) -> dict[str, int]:
    """Writes the vectors of items; as `write_similar_items`."""
    return _Job(EMBED, wanted, options).run_items(items)


class _Job:
    """One run of a job."""

    def __init__(self, name: str, wanted: Answerer, options: JobOptions):
        self._name, self._wanted, self._options = name, wanted, options
        self._runner = StepRunner(options.beam_args)
        self._release = releases.latest_release(Path(options.release_dir).absolute())

    def run_users(self, users: Users | ListFile) -> dict[str, int]:
        """Histories, then their answers."""
        if isinstance(users, ListFile):
            return self._run_ready(users)
        beside = opened_release.wanted_of(self._release)
        source = contexts.open_with(users.source, beside)
        source.use_split = False
        of_users = user_values.find_columns(beside.of_users, users.chosen)
        inputs = {"events": source.fingerprint()}
        reading = {**source.options.to_dict(), "has_time": source.columns.has_time}
        if beside != contexts.NOTHING_BESIDE:
            reading["beside"] = {
                "times": beside.times,
                "features": [feature.to_dict() for feature in source.features],
                "of_users": user_values.describe(of_users),
            }
        if users.chosen is not None:
            inputs["users"] = users.chosen.fingerprint()
        chosen = None if users.chosen is None else user_values.read(users.chosen, of_users)
        output = self._open_output(inputs, {"reading": reading})
        if output.is_current():
            return self._up_to_date(output)

        def prepare(work: WorkFolder, _: OpenedRelease) -> dict[str, Any]:
            return histories.prepare_histories(
                source,
                chosen,
                work,
                self._runner,
                beside,
                max_bad_rows=users.max_bad_rows,
                num_shards=NUM_SHARDS,
                rows_per_file=self._options.rows_per_file,
            )

        return self._run(output, prepare, "users")

    def _run_ready(self, ready: ListFile) -> dict[str, int]:
        """Answers for histories that a file has."""
        ready = ready._replace(context_column=contexts.CONTEXT)
        columns = {"user_column": ready.user_column, "history_column": ready.list_column}
        output = self._open_output({"histories": ready.fingerprint()}, {"reading": columns})
        if output.is_current():
            return self._up_to_date(output)

        def prepare(work: WorkFolder, opened: OpenedRelease) -> dict[str, Any]:
            rows_per_file = self._options.rows_per_file
            return histories.prepare_ready(
                ready, work, opened.source.check_context, rows_per_file=rows_per_file
            )

        return self._run(output, prepare, "users")

    def run_items(self, items: id_files.IdFile | None) -> dict[str, int]:
        """Items, then their answers."""
        inputs = {} if items is None else {"items": items.fingerprint()}
        chosen = None if items is None else items.read()
        output = self._open_output(inputs, {})
        if output.is_current():
            return self._up_to_date(output)

        def prepare(work: WorkFolder, opened: OpenedRelease) -> dict[str, Any]:
            item_ids, unknown = _choose_items(chosen, opened)
            histories.prepare_items(item_ids, work, rows_per_file=self._options.rows_per_file)
            return {"unknown_items": unknown}

        return self._run(output, prepare, "items")

    def _open_output(self, inputs: Mapping[str, str], settings: Mapping[str, Any]) -> Output:
        release = {"version": self._release.version, "fingerprint": self._release.fingerprint}
        wanted = {"what": type(self._wanted).__name__, **vars(self._wanted)}
        record = records.build_record(
            self._name,
            {
                **settings,
                **wanted,
                "release": release,
                "rows_per_file": self._options.rows_per_file,
            },
            inputs,
        )
        self._record = record
        return Output(self._options.output, record, overwrite=self._options.overwrite)

    def _up_to_date(self, output: Output) -> dict[str, int]:
        _log.info("%s is up to date.", output.path)
        return output.read_counts()

    def _run(self, output: Output, prepare: Any, unit: str) -> dict[str, int]:
        """Prepares the inputs, makes the parts, publishes."""
        try:
            with retention.held(self._release):
                opened = _open(self._release)
                self._check(opened)
                with work_folder.open_work(output.path, self._record) as work:
                    prepared = prepare(work, opened)
                    todo = work.parts(self._options.rows_per_file)
                    parts.answer_parts(
                        todo,
                        self._wanted,
                        self._release,
                        work,
                        self._runner,
                        task_name=_TASK_NAMES[self._name],
                        unit=unit,
                    )
                    counts = output.publish(work, todo, prepared)
            for line in value_counts.warnings_of(counts, opened.values.max_share):
                _log.warning("%s", line)
            return counts
        finally:
            opened_release.close_all()

    def _check(self, opened: OpenedRelease) -> None:
        """Refuses what no user or item could be answered with.

        Raises:
            InputError: A field of the request is wrong.
        """
        fields = getattr(self._wanted, "fields", None)
        if fields is None:
            return
        for line in opened.check_filters(fields):
            _log.warning("%s", line)
        popular = opened.service.popular_item_ids[:1]
        if isinstance(self._wanted, RecommendUsers):
            request = self._wanted.request(popular)
        else:
            request = self._wanted.request(popular[0])
        check_requests([request], opened.service.limits)
        opened.service.recall([request])


def _open(release: Release) -> OpenedRelease:
    """Compares the files of the release with their checksums, then opens it."""
    with tasks.open_task("open the release"):
        releases.verify(release)
        return open_once(release)


def _choose_items(chosen: pa.Array | None, opened: OpenedRelease) -> tuple[pa.Array, int]:
    """Ids of the items that are wanted, and how many of those asked for are none.

    Raises:
        InputError: None of them is an item.
    """
    view = opened.catalogue
    if chosen is None:
        return pa.array(view.item_ids(view.rows()), pa.binary()).cast(pa.string()), 0
    item_ids = chosen.to_pylist()
    known = opened.known_ids(item_ids)
    kept = [item_id for item_id in item_ids if item_id in known]
    if not kept:
        raise InputError(
            f"None of the {len(item_ids)} ids is an item of this release: {examples(item_ids)}."
        )
    return pa.array(kept, pa.string()), len(item_ids) - len(kept)
