"""The first step of ingest: units of the log -> events by shard of users, on disk.

A unit leaves runs of some million events, and each run the texts it needs once:
users by shard, items for all shards. From there on an id is a number. No engine
has to hold or move the events: `SortShard` takes its part of every run. Imports no
TensorFlow and no Beam.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion import sequences
from pipelines.ingestion.encoding.narrow_numbers import narrow
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import log_names, ordering
from pipelines.ingestion.events.kinds import NO_KINDS, RunKinds
from pipelines.ingestion.sequences import Sequences
from pipelines.ingestion.step_runner import StepRunner
from pipelines.progress import tasks
from pipelines.sources.columns.time_findings import FIRST_S, LAST_S
from pipelines.sources.event_checks import encode_ids
from pipelines.sources.events import EventSource
from pipelines.sources.unit_reader import ROW_BITS, UnitReader, merge_facts
from pipelines.sources.work_units import WorkUnit
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.settings.ingest import IngestConfig

# Names of what a run leaves, by its number.
READ = "read"
EVENTS, USERS, RUN_ITEMS = "events", "users", "run_items"
# Names of what `number_items` makes of the items of all runs.
ITEMS, ITEM_CODES, ITEM_RANKS = "items", "item_codes", "item_ranks"

_IDS = ("user", "item")
_FIRST_ROW = b"first_row"
"""Of a run, in its metadata: what is added to the numbers of its rows, which are small so."""

READING = "read the log"
"""Name of the task that the step counts for."""

_RUN_EVENTS = 1 << 20
"""Events of a run: the more, the fewer texts; some 50 MB of working memory."""

_MAX_RUNS = 10_000
"""Of one unit: room between the numbers of units."""

_MERGED_TEXTS = 1 << 22
"""Texts of items that are looked at together."""


class LogRuns(NamedTuple):
    """A log as its readers have left it.

    Attributes:
        runs: Numbers of the runs, in the order of the log.
        first_rows: Number in the log of the first row of each file; [] where rows have the
            numbers of the log already.
        has_time: Whether the log has times; else its rows are its order.
        latest_s: The latest time of an event.
        kinds: Of the events.
        has_weights: Whether events have weights.
        features: Declared features that have values in the log.
    """

    runs: list[int]
    first_rows: list[int]
    has_time: bool
    latest_s: float
    kinds: RunKinds = NO_KINDS
    has_weights: bool = False
    features: tuple[FeatureColumn, ...] = ()


def read_log(
    source: EventSource,
    max_bad_rows: int,
    config: IngestConfig,
    files: ShardFiles,
    runner: StepRunner,
) -> tuple[dict[str, Any], LogRuns]:
    """Reads a whole log, on as many workers as the runner has.

    Returns:
        `events_read`, `left_out_by_where`, `bad_rows` and `times`, with those of the first and
        the last event where the log has times, and what `read_shard` needs.

    Raises:
        InputError: The log cannot be used; the text is that of one reader.
    """
    with tasks.open_task(READING, unit="events", rate="events"):
        units = source.work_units()
        step = ReadUnit(source, units, max_bad_rows, config, files.directory)
        runner.run(step, range(len(units)))
    found = files.read_all_facts(READ)
    facts = merge_facts(source, [unit["parts"] for unit in found], max_bad_rows)
    runs = [run for unit in found for run in unit["runs"]]
    number_items(files, runs)
    log_names.merge_names(files, source.features, runs)
    kinds = RunKinds.merge(unit["kinds"] for unit in found)
    kinds.check(source.spec, source.columns.event_type)
    times, has_time = [time for unit in found for time in unit["span"]], source.columns.has_time
    if has_time:
        facts["times"] = {**facts["times"], FIRST_S: min(times), LAST_S: max(times)}
    log = LogRuns(
        runs,
        facts.pop("first_rows"),
        has_time,
        max(times),
        kinds,
        bool(source.columns.weight),
        source.features,
    )
    return facts, log


def remove_runs(files: ShardFiles) -> None:
    """Removes what `read_log` has left, but for the ids of the items."""
    files.remove(EVENTS, USERS, ITEM_CODES, ITEM_RANKS)


class ReadUnit:
    """Reads a unit of the log and stores its events by shard.

    A fault of the log is left as a fact instead of raised: which of them a user
    reads first depends on the other units.
    """

    def __init__(
        self,
        source: EventSource,
        units: Sequence[WorkUnit],
        max_bad_rows: int,
        config: IngestConfig,
        work_dir: Path,
    ):
        self._source, self._units, self._max_bad_rows = source, list(units), max_bad_rows
        self._num_shards, self._work_dir = config.num_shards, work_dir
        self._needs_split = config.protocol == "provided"

    def __call__(self, number: int) -> None:
        """Reads the unit of this number."""
        files = ShardFiles(self._work_dir)
        reader = UnitReader(self._source, self._units[number], self._max_bad_rows)
        runs, waiting, size, span = [], [], 0, []
        self._kinds = {}
        try:
            for batch in self._batches(reader):
                waiting.append(batch)
                times = batch["timestamp"].to_numpy()
                span = [*span, float(times.min()), float(times.max())]
                span = [min(span), max(span)]
                size += batch.num_rows
                if size >= _RUN_EVENTS:
                    runs.append(self._write_run(files, number, len(runs), waiting))
                    waiting, size = [], 0
        except InputError as error:
            reader.facts[-1]["error"] = str(error)
        if waiting:
            runs.append(self._write_run(files, number, len(runs), waiting))
        facts = {"runs": runs, "span": span, "parts": reader.facts, "kinds": self._kinds}
        files.write_facts(READ, number, facts)

    def _batches(self, reader: UnitReader) -> Iterator[pa.RecordBatch]:
        """The batches of the unit: users and items as dictionaries, times, rows, parts."""
        for batch in reader.batches():
            tasks.count(READING, batch.num_rows, share=reader.share_read)
            columns = {
                "user": encode_ids(batch["user_id"]),
                "item": encode_ids(batch["item_id"]),
                "timestamp": batch["timestamp"],
                "row": batch["row"],
            }
            if self._needs_split:
                columns["part"] = pa.array(sequences.parse_parts(batch))
            if "event_type" in batch.schema.names:
                columns["kind"] = encode_ids(batch["event_type"])
            if "weight" in batch.schema.names:
                columns["weight"] = batch["weight"].cast(pa.float32())
            columns |= log_names.columns_of(batch, self._source.features)
            yield pa.RecordBatch.from_pydict(columns)

    def _write_run(
        self, files: ShardFiles, unit: int, at: int, batches: list[pa.RecordBatch]
    ) -> int:
        """Stores a run and returns its number."""
        run = unit * _MAX_RUNS + at
        table = pa.Table.from_batches(batches).unify_dictionaries()
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        users, items = columns["user"], columns["item"]
        codes = users.indices.to_numpy()
        is_used = np.bincount(codes, minlength=len(users.dictionary)) > 0
        texts = users.dictionary
        shards = sequences.user_shards(texts, self._num_shards)
        shards[~is_used] = self._num_shards  # They are in no event, and so in no shard.
        by_shard = np.argsort(shards, kind="stable")
        user_bounds = np.searchsorted(shards[by_shard], np.arange(self._num_shards + 1))
        local = np.empty(len(texts), np.int32)
        local[by_shard] = np.arange(len(texts))
        local -= np.append(user_bounds, 0)[shards].astype(np.int32)
        event_shards = shards[codes]
        order = ordering.order_by_code(event_shards)
        counts = np.bincount(event_shards, minlength=self._num_shards)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        if "kind" in columns:
            self._kinds[run], columns["kind"] = RunKinds.of_run(columns["kind"])
        columns |= log_names.number_names(files, self._source.features, run, columns)
        arrays = {
            name: column.to_numpy(zero_copy_only=False)
            for name, column in columns.items()
            if name not in _IDS
        }
        first_row = int(arrays["row"].min())
        arrays |= {"user": local[codes], "item": items.indices.to_numpy()}
        arrays |= {"row": arrays["row"] - first_row}
        events = pa.RecordBatch.from_pydict(
            {name: pa.array(narrow(array)[order]) for name, array in arrays.items()}
        ).replace_schema_metadata({_FIRST_ROW: str(first_row)})
        sorted_users = pa.RecordBatch.from_arrays(
            [texts.take(pa.array(by_shard))], names=["user_id"]
        )
        files.write_batches(EVENTS, run, _cut(events, bounds))
        files.write_batches(USERS, run, _cut(sorted_users, user_bounds))
        named = pa.RecordBatch.from_arrays([items.dictionary], names=["item_id"])
        files.write_batches(RUN_ITEMS, run, [named])
        return run


def _cut(batch: pa.RecordBatch, bounds: np.ndarray) -> list[pa.RecordBatch]:
    pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    return [batch.slice(start, stop - start) for start, stop in pairs]


def number_items(files: ShardFiles, runs: Sequence[int]) -> int:
    """Numbers the items of all runs, ascending with their ids as text.

    Leaves `ITEMS` (all ids), and what leads from the number of an item in a run to its
    number: `ITEM_RANKS[0][ITEM_CODES[run]]`.

    Returns:
        How many there are; some may be in no event, but in rows that were left out.
    """
    known, waiting, size = pa.array([], pa.string()), [], 0
    for run in runs:
        waiting.append((run, files.read_batch(RUN_ITEMS, run)["item_id"]))
        size += len(waiting[-1][1])
        if size >= _MERGED_TEXTS or run == runs[-1]:
            known = _merge(files, known, waiting)
            waiting, size = [], 0
    by_text = pc.sort_indices(known)
    ranks = np.empty(len(known), np.int32)
    ranks[by_text.to_numpy()] = np.arange(len(known), dtype=np.int32)
    files.write_array(ITEM_RANKS, 0, ranks)
    named = pa.RecordBatch.from_arrays([known.take(by_text)], names=["item_id"])
    files.write_batches(ITEMS, 0, [named])
    files.remove(RUN_ITEMS)
    return len(known)


def _merge(
    files: ShardFiles, known: pa.StringArray, runs: list[tuple[int, pa.StringArray]]
) -> pa.StringArray:
    """`known` with the texts that are new in some runs; stores the codes of these."""
    texts = pa.concat_arrays([known, *(texts for _, texts in runs)]).dictionary_encode()
    codes, at = texts.indices.to_numpy(), len(known)
    for run, own in runs:
        files.write_array(ITEM_CODES, run, codes[at : at + len(own)])
        at += len(own)
    return texts.dictionary


def read_shard(files: ShardFiles, log: LogRuns, shard: int) -> Sequences:
    """The events of a shard of users from all runs, ordered, repeated ones too."""
    texts, users, columns, num_users = [], [], [], 0
    ranks = files.read_array(ITEM_RANKS, 0)
    for run in log.runs:
        events = files.read_batch(EVENTS, run, shard)
        texts.append(files.read_batch(USERS, run, shard)["user_id"])
        users.append(events["user"].to_numpy() + np.int32(num_users))
        num_users += len(texts[-1])
        items = ranks[files.read_array(ITEM_CODES, run)][events["item"].to_numpy()]
        rows = events["row"].to_numpy() + np.int64(events.schema.metadata[_FIRST_ROW])
        has_parts = "part" in events.schema.names
        parts = events["part"].to_numpy() if has_parts else np.zeros(len(rows), np.int8)
        rest = [events["timestamp"].to_numpy(), rows, parts]
        if log.kinds.names:
            rest.append(log.kinds.numbers(run)[events["kind"].to_numpy()])
        if log.has_weights:
            rest.append(events["weight"].to_numpy())
        if log.features:
            rest.append(log_names.values_of_run(files, log.features, run, events))
        columns.append([items, *rest])
    encoded = pa.chunked_array(texts, pa.string()).combine_chunks().dictionary_encode()
    by_text = pc.sort_indices(encoded.dictionary)
    user_ranks = np.empty(len(by_text), np.int32)
    user_ranks[by_text.to_numpy()] = np.arange(len(by_text), dtype=np.int32)
    owners = user_ranks[encoded.indices.to_numpy()][_concatenate(users, np.int32)]
    del users, texts
    types = [np.int32, np.float64, np.int64, np.int8]
    types += [np.int8] * bool(log.kinds.names) + [np.float32] * log.has_weights
    types += [np.float32] * bool(log.features)
    items, timestamps, rows, parts, *marks = (
        _concatenate([column[at] for column in columns], kind) for at, kind in enumerate(types)
    )
    del columns
    if log.first_rows:
        files_of_rows = rows >> ROW_BITS
        rows &= (1 << ROW_BITS) - 1
        rows += np.array(log.first_rows)[files_of_rows]
    if not log.has_time:
        timestamps = rows.astype(np.float64)
    order = ordering.order_events(owners, timestamps, rows)
    counts = np.bincount(owners, minlength=len(by_text))
    return Sequences(
        encoded.dictionary.take(by_text),
        np.concatenate([[0], np.cumsum(counts)]),
        *(column[order] for column in (items, timestamps, rows, parts)),
        kinds=marks.pop(0)[order] if log.kinds.names else None,
        weights=marks.pop(0)[order] if log.has_weights else None,
        values=marks.pop()[order] if log.features else None,
    )


def _concatenate(arrays: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(arrays, dtype=kind, casting="same_kind")
