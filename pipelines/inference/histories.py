"""What the users of a log clicked, in files that parts are made from. Imports no TensorFlow.

The log is read and shuffled by the steps of ingest, in the same order and with the same
duplicates left out.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.inference import contexts, work_folder
from pipelines.inference.answer_tables import HISTORY_COLUMN, ITEM_ID, USER_ID
from pipelines.inference.contexts import NOTHING_BESIDE, Wanted
from pipelines.inference.work_folder import WorkFolder
from pipelines.ingestion import reading, sequences
from pipelines.ingestion import steps as ingest_steps
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import ordering
from pipelines.ingestion.reading import LogRuns
from pipelines.ingestion.sequences import Sequences
from pipelines.ingestion.step_runner import StepRunner
from pipelines.progress import tasks
from pipelines.sources.events import EventSource
from pipelines.sources.list_files import ListFile
from recall.errors import InputError
from recall.settings.ingest import IngestConfig

HISTORIES_SCHEMA = pa.schema([(USER_ID, pa.string()), (HISTORY_COLUMN, pa.list_(pa.string()))])
"""A row per user; ids oldest first."""

_READY_SCHEMA = HISTORIES_SCHEMA.append(pa.field(contexts.CONTEXT, pa.string()))

_ITEMS_SCHEMA = pa.schema([(ITEM_ID, pa.string())])

_READ_ROWS = 10_000
"""Ready histories in memory at a time."""

_WANTED = "wanted"
"""Name of the tables of the users that are asked for, by shard."""


def prepare_histories(
    source: EventSource,
    users: pa.Table | None,
    work: WorkFolder,
    runner: StepRunner,
    wanted: Wanted = NOTHING_BESIDE,
    *,
    max_bad_rows: int,
    num_shards: int,
    rows_per_file: int,
) -> dict[str, Any]:
    """Writes the histories of users, unless they are there.

    Args:
        source: The log.
        users: Distinct raw ids of those that are wanted, `user_id`, and what else is known of
            them (`user_values.read`); None takes all of the log.
        work: Where to.
        runner: Where the steps run.
        wanted: What is read of clicks beside their items.
        max_bad_rows: Rows of the log that may be unusable.
        num_shards: Of the shuffle; one is ordered in memory at a time.
        rows_per_file: Users of a part.

    Returns:
        Counts: `users`, `events`, `duplicates`, `without_events` (wanted users that the log
        lacks), `bad_rows`.

    Raises:
        InputError: The log cannot be read, or there is nobody.
    """
    if work.prepared is not None:
        return work.prepared
    work.clear_inputs()
    shuffled = work.path / "shuffled"
    shutil.rmtree(shuffled, ignore_errors=True)
    shuffled.mkdir()
    files = ShardFiles(shuffled)
    if users is not None:
        _write_wanted(files, users, num_shards)
    config = IngestConfig(num_shards=num_shards)
    read, runs = reading.read_log(source, max_bad_rows, config, files, runner)
    of_users = None if users is None else users.schema
    step = WriteHistories(work, files, runs, rows_per_file, wanted, of_users)
    with tasks.open_task(ingest_steps.SORTING, total=num_shards, unit="shards"):
        runner.run(step, range(num_shards))
    facts = {**_sum_counts(work), "bad_rows": read["bad_rows"]["rows"]}
    if not facts["users"]:
        raise InputError(f"{source.spec} has none of the users that are asked for.")
    work.mark_prepared(facts)
    shutil.rmtree(shuffled)
    return facts


def prepare_ready(
    ready: ListFile,
    work: WorkFolder,
    check: Callable[[Sequence[str], Mapping[str, Any]], None],
    *,
    rows_per_file: int,
) -> dict[str, Any]:
    """Copies histories that a file has, unless they are there.

    Args:
        ready: The file.
        work: Where to.
        check: Refuses what is said beside a history and makes no sense.
        rows_per_file: Users of a part.

    Returns:
        Counts: `users`, `events`, `empty_histories`.

    Raises:
        InputError: The file cannot be read, has no row, or a row whose context makes no sense.
    """
    if work.prepared is not None:
        return work.prepared
    work.clear_inputs()
    counts: Counter = Counter(users=0, events=0, empty_histories=0)

    def counted() -> Iterator[pa.Table]:
        for rows in ready.read(min(rows_per_file, _READ_ROWS)):
            table = rows.rename_columns(_READY_SCHEMA.names)
            _check_contexts(table, ready, check)
            sizes = pc.list_value_length(table[HISTORY_COLUMN]).to_numpy()
            counts.update(users=len(sizes), events=int(sizes.sum()))
            counts["empty_histories"] += int((sizes == 0).sum())
            tasks.count(reading.READING, len(sizes))
            yield table

    with tasks.open_task(reading.READING, unit="users", rate="users"):
        path = work.inputs / "histories.parquet"
        work_folder.write_table_file(path, _READY_SCHEMA, counted(), row_group_size=rows_per_file)
    if not counts["users"]:
        raise InputError(f"{ready.path} names nobody: it has no rows.")
    work.mark_prepared(dict(counts))
    return dict(counts)


def prepare_items(item_ids: pa.Array, work: WorkFolder, *, rows_per_file: int) -> None:
    """Writes the items that are asked for, unless they are there."""
    if work.prepared is not None:
        return
    work.clear_inputs()
    table = pa.table([item_ids], schema=_ITEMS_SCHEMA)
    work_folder.write_table_file(
        work.inputs / "items.parquet", _ITEMS_SCHEMA, [table], row_group_size=rows_per_file
    )
    work.mark_prepared({"items": len(item_ids)})


class WriteHistories:
    """Orders the events of a shard of users and writes a list of items for each."""

    def __init__(
        self,
        work: WorkFolder,
        files: ShardFiles,
        runs: LogRuns,
        rows_per_file: int,
        beside: Wanted = NOTHING_BESIDE,
        of_users: pa.Schema | None = None,
    ):
        """Reads nothing yet.

        Args:
            work: Where to.
            files: Of the steps.
            runs: Of the log.
            rows_per_file: Users of a part.
            beside: What is read of clicks beside their items.
            of_users: Columns of the tables of users that are asked for; None takes all users.
        """
        self._work = work
        self._files = files
        self._runs = runs
        self._rows_per_file = rows_per_file
        self._beside = beside
        self._fields = contexts.fields_of(beside, runs)
        self._schema = pa.schema([*HISTORIES_SCHEMA, *self._fields])
        self._of_users = of_users

    def __call__(self, shard: int) -> None:
        """Writes the histories of the shard."""
        counts: Counter = Counter(users=0, events=0, duplicates=0, without_events=0)
        log, wanted = reading.read_shard(self._files, self._runs, shard), None
        if self._of_users is not None:
            wanted = self._files.read_batch(_WANTED, shard)
            kept = pc.is_in(log.user_ids, value_set=wanted[USER_ID])
            log = log.filter(kept.to_numpy(zero_copy_only=False)[log.owners])
        histories = self._histories(log, counts)
        if wanted is not None:
            histories = self._with_absent(histories, wanted[USER_ID], counts)
            rows = pc.index_in(histories[USER_ID].combine_chunks(), value_set=wanted[USER_ID])
            for field in [*self._of_users][1:]:
                histories = histories.append_column(field, wanted[field.name].take(rows))
        counts["users"] = histories.num_rows
        if histories.num_rows:
            work_folder.write_table_file(
                self._work.inputs / f"{shard:05d}.parquet",
                histories.schema,
                [histories],
                counts,
                row_group_size=self._rows_per_file,
            )
        tasks.count(ingest_steps.SORTING, 1)

    def _histories(self, log: Sequences, counts: Counter) -> pa.Table:
        """A shard of the log -> a row per user, users by id as text."""
        is_impression = self._runs.kinds.find_impressions(log.kinds)
        if is_impression is not None:
            log = log.filter(~is_impression)
        duplicates = ordering.find_duplicates(log.offsets, log.items, log.timestamps, log.kinds)
        log = log.filter(~duplicates)
        counts["events"] += len(log.items)
        counts["duplicates"] += int(duplicates.sum())
        item_ids = self._files.read_batch(reading.ITEMS, 0)[ITEM_ID]
        items = item_ids.take(pa.array(log.items))
        lists = pa.ListArray.from_arrays(pa.array(log.offsets, pa.int32()), items)
        beside = contexts.columns_of(self._beside, self._runs, self._files, log)
        return pa.table([log.user_ids, lists, *beside], schema=self._schema)

    def _with_absent(self, histories: pa.Table, wanted: pa.Array, counts: Counter) -> pa.Table:
        """The histories with empty ones for users that the log lacks."""
        found = histories[USER_ID]
        absent = wanted.filter(pc.invert(pc.is_in(wanted, value_set=found)))
        counts["without_events"] += len(absent)
        if not len(absent):
            return histories
        columns = contexts.of_nobody([*HISTORIES_SCHEMA][1:], self._runs, len(absent))
        columns += contexts.of_nobody(self._fields, self._runs, len(absent))
        added = pa.table([absent, *columns], schema=self._schema)
        return pa.concat_tables([histories, added]).sort_by(USER_ID)


def _write_wanted(files: ShardFiles, users: pa.Table, num_shards: int) -> None:
    """The users that are asked for, shard by shard."""
    shards = sequences.user_shards(users[USER_ID].combine_chunks(), num_shards)
    for shard in range(num_shards):
        chosen = users.filter(pa.array(shards == shard)).combine_chunks()
        arrays = [column.combine_chunks() for column in chosen.columns]
        batch = pa.RecordBatch.from_arrays(arrays, schema=users.schema)
        files.write_batches(_WANTED, shard, [batch])


def _check_contexts(
    rows: pa.Table,
    ready: ListFile,
    check: Callable[[Sequence[str], Mapping[str, Any]], None],
) -> None:
    """Looks at what each row says beside its history."""
    if rows[contexts.CONTEXT].null_count == rows.num_rows:
        return
    lists = rows[HISTORY_COLUMN].to_pylist()
    for user, history, context in zip(
        rows[USER_ID].to_pylist(), lists, contexts.read(rows), strict=True
    ):
        try:
            check(history, context or {})
        except InputError as error:
            raise InputError(f"User {user!r} of {ready.path}: {error}") from error


def _sum_counts(work: WorkFolder) -> dict[str, int]:
    """What all shards counted."""
    total: Counter = Counter(users=0, events=0, duplicates=0, without_events=0)
    for path in work.inputs.glob("*.parquet"):
        total.update(work_folder.read_counts(path))
    return dict(total)
