"""What the users of a log clicked, in files that parts are made from. Imports no TensorFlow.

The log is read and shuffled by the steps of ingest, in the same order and with the same
duplicates left out.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.inference import work_folder
from pipelines.inference.answer_tables import HISTORY_COLUMN, ITEM_ID, USER_ID
from pipelines.inference.work_folder import WorkFolder
from pipelines.ingestion import sequences
from pipelines.ingestion import steps as ingest_steps
from pipelines.ingestion.beam import PipelineOptions, beam, run_chain
from pipelines.ingestion.shard_files import ShardFiles
from pipelines.progress import tasks
from pipelines.sources.events import EventSource
from recall.config import IngestConfig
from recall.errors import InputError

HISTORIES_SCHEMA = pa.schema([(USER_ID, pa.string()), (HISTORY_COLUMN, pa.list_(pa.string()))])
"""A row per user; ids oldest first."""

_ITEMS_SCHEMA = pa.schema([(ITEM_ID, pa.string())])

_WANTED = "wanted"
"""Name of the tables of the users that are asked for, by shard."""


def prepare_histories(
    source: EventSource,
    users: pa.Array | None,
    work: WorkFolder,
    options: PipelineOptions,
    *,
    max_bad_rows: int,
    num_shards: int,
    rows_per_file: int,
) -> dict[str, Any]:
    """Writes the histories of users, unless they are there.

    Args:
        source: The log.
        users: Distinct raw ids of those that are wanted; None takes all of the log.
        work: Where to.
        options: Of Beam.
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
    read = ingest_steps.read_and_shuffle(source, max_bad_rows, config, shuffled)
    write = WriteHistories(work, files, rows_per_file, num_shards, only_wanted=users is not None)
    with tasks.open_task(ingest_steps.READING, unit="events", rate="events"):
        run_chain(options, [None], *read, beam.ParDo(write))
    for failure in files.read_all_facts(ingest_steps.FAILED):
        raise InputError(failure["message"])
    if users is not None:
        _add_absent(work, files, write, num_shards)
    facts = _sum_facts(work, files)
    if not facts["users"]:
        raise InputError(f"{source.spec} has none of the users that are asked for.")
    work.mark_prepared(facts)
    shutil.rmtree(shuffled)
    return facts


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


class WriteHistories(beam.DoFn):
    """Orders the events of a shard of users and writes a list of items for each."""

    def __init__(
        self,
        work: WorkFolder,
        files: ShardFiles,
        rows_per_file: int,
        num_shards: int,
        *,
        only_wanted: bool,
    ):
        self._work = work
        self._files = files
        self._rows_per_file = rows_per_file
        self._num_shards = num_shards
        self._only_wanted = only_wanted

    def process(self, element: tuple[int, Iterable[pa.RecordBatch]]) -> Iterator[int]:
        """Writes the shard and yields its number."""
        tasks.turn_to(
            ingest_steps.READING, ingest_steps.SORTING, total=self._num_shards, unit="shards"
        )
        shard, batches = element
        self.write(shard, pa.Table.from_batches(batches))
        tasks.count(ingest_steps.SORTING, 1)
        yield shard

    def write(self, shard: int, events: pa.Table | None) -> None:
        """Writes the histories of a shard; None is one without events."""
        counts: Counter = Counter(users=0, events=0, duplicates=0, without_events=0)
        wanted = None
        if self._only_wanted:
            wanted = self._files.read_table(_WANTED, shard)[USER_ID].combine_chunks()
        histories = HISTORIES_SCHEMA.empty_table()
        if events is not None:
            if wanted is not None:
                events = events.filter(pc.is_in(events[USER_ID], value_set=wanted))
            histories = _histories(events, counts)
        if wanted is not None:
            histories = _with_absent(histories, wanted, counts)
        counts["users"] = histories.num_rows
        work_folder.write_table_file(
            self._work.inputs / f"{shard:05d}.parquet",
            HISTORIES_SCHEMA,
            [histories],
            counts,
            row_group_size=self._rows_per_file,
        )


def _histories(events: pa.Table, counts: Counter) -> pa.Table:
    """A shard of the log -> a row per user, users by id as text."""
    events = sequences.order_events(events)
    duplicates = sequences.find_duplicates(events)
    events = events.filter(pa.array(~duplicates))
    counts["events"] += events.num_rows
    counts["duplicates"] += int(duplicates.sum())
    offsets = sequences.user_offsets(events)
    users = events[USER_ID].combine_chunks().take(pa.array(offsets[:-1]))
    items = events[ITEM_ID].combine_chunks()
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)
    return pa.table([users, lists], schema=HISTORIES_SCHEMA)


def _with_absent(histories: pa.Table, wanted: pa.Array, counts: Counter) -> pa.Table:
    """The histories with empty ones for users that the log lacks."""
    found = histories[USER_ID]
    absent = wanted.filter(pc.invert(pc.is_in(wanted, value_set=found)))
    counts["without_events"] += len(absent)
    if not len(absent):
        return histories
    empty = pa.ListArray.from_arrays(np.zeros(len(absent) + 1, np.int32), pa.array([], pa.string()))
    added = pa.table([absent, empty], schema=HISTORIES_SCHEMA)
    return pa.concat_tables([histories, added]).sort_by(USER_ID)


def _write_wanted(files: ShardFiles, users: pa.Array, num_shards: int) -> None:
    """The users that are asked for, shard by shard."""
    shards = sequences.user_shards(users, num_shards)
    for shard in range(num_shards):
        chosen = users.filter(pa.array(shards == shard))
        files.write_table(_WANTED, shard, pa.table({USER_ID: chosen}))


def _add_absent(
    work: WorkFolder, files: ShardFiles, write: WriteHistories, num_shards: int
) -> None:
    """Shards that have users who are asked for and no events at all."""
    for shard in range(num_shards):
        is_written = (work.inputs / f"{shard:05d}.parquet").exists()
        if not is_written and files.read_table(_WANTED, shard).num_rows:
            write.write(shard, None)


def _sum_facts(work: WorkFolder, files: ShardFiles) -> dict[str, Any]:
    """What all shards counted, and how the log was read."""
    total: Counter = Counter(users=0, events=0, duplicates=0, without_events=0)
    for path in work.inputs.glob("*.parquet"):
        total.update(work_folder.read_counts(path))
    (read,) = files.read_all_facts(ingest_steps.READ)
    return {**total, "bad_rows": read["bad_rows"]["rows"]}
