"""The steps of ingest after reading: one shard of users at a time.

Each is a function of a shard's number that leaves its results in `ShardFiles`, in
whatever process it runs. Between them is what needs a fact about the whole log:
how often each item occurs before rare items can go, and how often each occurs in
the training part before items can be numbered.

1. `pipelines.ingestion.reading`: log -> events by shard, items of each run
2. `SortShard`: one ordered log per shard of users
3. `SplitShard`: drop rare items and short users, give every event its part
4. `WriteShard`: dense ids, windows, TFRecord files

Imports no TensorFlow and no Beam.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion import examples, kept_sequences, sequences, splits, splitting
from pipelines.ingestion.encoding.narrow_numbers import narrow
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import impressions, log_features, ordering, user_rows
from pipelines.ingestion.events.event_features import EventValues
from pipelines.ingestion.events.impressions import Impressions, ShownItems
from pipelines.ingestion.events.user_rows import StartedLog
from pipelines.ingestion.reading import ITEMS, LogRuns, read_shard
from pipelines.ingestion.sequences import Part, Sequences
from pipelines.progress import tasks
from pipelines.sources.columns import id_checks
from pipelines.sources.columns.time_findings import DAY_S
from recall.config import RecallConfig
from recall.feature_columns.fitting import FittedColumn
from recall.settings.ingest import IngestConfig

# Names of what each step leaves, by shard.
SORTED, ITEM_COUNTS = "sorted", "item_counts"
WITH_SHOWN = "sorted_with_shown"
"""As `SORTED` with the impressions, where sequences are kept and a log has any."""
SPLIT = "split"
PART_COUNTS = {part: f"{part.label}_counts" for part in Part}
WRITTEN = "written"
# Names of the arrays that are made between the steps, for all shards (0).
FREQUENT_ITEMS, COLD_ITEMS, DENSE_IDS = "frequent_items", "cold_items", "dense_ids"

# Names of the tasks that steps count for, where they run in the process of the job.
SORTING, SPLITTING, WRITING = "order the events", "split users", "write examples"

_COLUMNS = Sequences._fields[1:]
_WIDE = {"offsets": np.int64, "timestamps": np.float64, "rows": np.int64}
"""Types of the columns that `narrow` may store as others."""
# What was shown, by shard: items, and rows of the events after them.
SHOWN_ITEMS, SHOWN_BEFORE = "shown_items", "shown_before"


def write_sequences(files: ShardFiles, step: str, shard: int, log: Sequences) -> None:
    """Stores the ordered log of a shard; a column that is None is not stored."""
    users = pa.RecordBatch.from_arrays([log.user_ids], names=["user_id"])
    files.write_batches(f"{step}_users", shard, [users])
    for name in _COLUMNS:
        column = getattr(log, name)
        if column is not None:
            files.write_array(f"{step}_{name}", shard, narrow(column))


def read_sequences(files: ShardFiles, step: str, shard: int) -> Sequences:
    """The ordered log of a shard."""
    users = files.read_batch(f"{step}_users", shard)["user_id"]
    columns = (_read_column(files, f"{step}_{name}", shard, name) for name in _COLUMNS)
    return Sequences(users, *columns)


def has_sequences(files: ShardFiles, step: str, shard: int) -> bool:
    """Whether a step has left an ordered log of a shard."""
    return files.has(f"{step}_users", shard)


def _read_column(files: ShardFiles, step: str, shard: int, name: str) -> np.ndarray | None:
    if not files.has_array(step, shard):
        return None
    column = files.read_array(step, shard)
    return column.astype(_WIDE.get(name, column.dtype), copy=False)


def remove_sequences(files: ShardFiles, step: str) -> None:
    """Removes the ordered logs of all shards."""
    files.remove(*(f"{step}_{name}" for name in ("users", *_COLUMNS)))


class SortShard:
    """Orders the events of a shard, drops duplicates, counts items."""

    def __init__(self, config: IngestConfig, runs: LogRuns, work_dir: Path):
        """Prepares the step.

        Args:
            config: Says which facts the split will need.
            runs: What the readers have left.
            work_dir: Where the files of the steps are.
        """
        self._config, self._runs, self._work_dir = config, runs, work_dir

    def __call__(self, shard: int) -> None:
        """Writes the shard."""
        files = ShardFiles(self._work_dir)
        log = read_shard(files, self._runs, shard)
        duplicates = ordering.find_duplicates(log.offsets, log.items, log.timestamps, log.kinds)
        item_ids = files.read_batch(ITEMS, 0)["item_id"]
        facts = {
            "users": len(log.user_ids),
            "look_alikes": id_checks.find_look_alikes(log.user_ids),
            "duplicates": splitting.dropped(log, duplicates, item_ids),
        }
        if self._config.protocol == "provided" and duplicates.any():
            facts["conflicts"] = splitting.find_conflicts(log, item_ids)
        log = log.filter(~duplicates)
        if self._config.max_age_days is not None:
            first_s = self._runs.latest_s - self._config.max_age_days * DAY_S
            old = log.timestamps < first_s
            facts["old_events"] = splitting.dropped(log, old, item_ids)
            log = log.filter(~old)
        if log.kinds is not None:
            log = self._take_out_impressions(files, shard, log, facts)
        if self._config.protocol == "temporal":  # The clock is one of the events that stay.
            facts |= splits.count_hours(log.timestamps)
        write_sequences(files, SORTED, shard, log)
        files.write_array(ITEM_COUNTS, shard, sequences.count_items(log.items, len(item_ids)))
        files.write_facts(SORTED, shard, facts)
        tasks.count(SORTING, 1)

    def _take_out_impressions(
        self, files: ShardFiles, shard: int, log: Sequences, facts: dict[str, Any]
    ) -> Sequences:
        """The events that are no impressions; stores what was shown before them."""
        facts["kinds"] = self._runs.kinds.count(log.kinds).tolist()
        is_impression = self._runs.kinds.find_impressions(log.kinds)
        if is_impression is None:
            return log
        if self._config.keep_sequences:
            write_sequences(files, WITH_SHOWN, shard, log)
        return take_out(files, shard, log, is_impression)


def take_out(files: ShardFiles, shard: int, log: Sequences, is_impression: np.ndarray) -> Sequences:
    """The events that are no impressions; stores what was shown before them."""
    found = impressions.find_impressions(log.offsets, log.items, log.rows, is_impression)
    files.write_array(SHOWN_ITEMS, shard, found.items)
    files.write_array(SHOWN_BEFORE, shard, found.next_rows)
    return log.filter(~is_impression)


class SplitShard:
    """Cuts sessions, drops rare items, then short users, and gives every event its part."""

    def __init__(self, config: RecallConfig, clock: splits.Clock | None, work_dir: Path):
        self._config, self._clock, self._work_dir = config.ingest, clock, work_dir
        self._keeps_times = config.needs_times
        self._features = config.features.of_log

    def __call__(self, shard: int) -> None:
        """Writes the shard."""
        files = ShardFiles(self._work_dir)
        item_ids = files.read_batch(ITEMS, 0)["item_id"]
        frequent = files.read_array(FREQUENT_ITEMS, 0)
        cold = files.read_array(COLD_ITEMS, 0)
        splitter = splitting.Splitter(self._config, self._clock, frequent, item_ids, cold)
        log, facts = splitter.split(read_sequences(files, SORTED, shard))
        # Times are most of a log, and mostly nobody asks for them any more.
        has_shown = files.has_array(SHOWN_ITEMS, shard)
        stored = log if self._keeps_times else log._replace(timestamps=None)
        stored = stored if has_shown else stored._replace(rows=None)
        write_sequences(files, SPLIT, shard, stored)
        for part, name in PART_COUNTS.items():
            counts = sequences.count_items(log.items[log.parts == part], len(item_ids))
            files.write_array(name, shard, counts)
        if log.values is not None:
            counts = log_features.count(self._features, log.values[log.parts == Part.TRAIN])
            log_features.write_counts(files, log_features.VALUE_COUNTS, shard, counts)
        files.write_facts(SPLIT, shard, facts)
        tasks.count(SPLITTING, 1)


class WriteShard:
    """Writes the TFRecord files of a shard, for all splits."""

    def __init__(
        self,
        config: RecallConfig,
        examples_dir: Path,
        work_dir: Path,
        log_columns: Sequence[FittedColumn] = (),
    ):
        self._config = config
        self._log_columns = tuple(log_columns)
        self._examples_dir = examples_dir
        self._work_dir = work_dir

    def __call__(self, shard: int) -> None:
        """Writes the files."""
        files = ShardFiles(self._work_dir)
        log = read_sequences(files, SPLIT, shard)
        writer = examples.ShardWriter(
            self._examples_dir,
            shard,
            self._config.ingest.num_shards,
            self._config.model.max_history_length,
            self._config.ingest.window_stride,
        )
        dense_ids = files.read_array(DENSE_IDS, 0)
        shown = find_shown(files, shard, log, dense_ids, self._config.ingest.max_impressions)
        known = user_rows.read_known(files)
        events = to_events(self._config, log, dense_ids, shown, self._log_columns, known)
        facts = writer.write(log.user_ids, *events)
        if events.values.user_rows is not None:
            facts[user_rows.KNOWN_USERS] = user_rows.count_known(events.values.user_rows)
        if shown is not None:
            facts[SHOWN_ITEMS] = len(shown.item_ids)
        if self._config.ingest.keep_sequences:
            self._keep(files, shard, log, shown, writer)
        files.write_facts(WRITTEN, shard, facts)
        tasks.count(WRITING, 1)

    def _keep(
        self,
        files: ShardFiles,
        shard: int,
        log: Sequences,
        shown: ShownItems | None,
        writer: examples.ShardWriter,
    ) -> None:
        """Stores the sequences beside the examples."""
        step = SORTED if shown is None else WITH_SHOWN
        kept = read_sequences(files, step, shard)
        kept_sequences.write_generation(self._examples_dir, shard, kept)
        uses = log_features.count_names(self._config.features.of_log, kept.values)
        log_features.write_counts(files, log_features.NAME_USES, shard, uses)
        rows = pc.index_in(log.user_ids, value_set=kept.user_ids).to_numpy()
        of_users = None if shown is None else shown.of_users(log.offsets)
        kept_sequences.write_owners(self._examples_dir, shard, writer.owners, rows, of_users)


def to_events(
    config: RecallConfig,
    log: Sequences,
    dense_ids: np.ndarray,
    shown: ShownItems | None,
    log_columns: Sequence[FittedColumn],
    known_users: pa.StringArray | None,
) -> StartedLog:
    """The events of a shard as examples have them.

    Args:
        config: The settings.
        log: With its parts.
        dense_ids: Number of an item -> dense id.
        shown: What was shown before each event.
        log_columns: What was learnt of features of the log.
        known_users: The ids of the users file; None where no features of users are declared.
    """
    as_in_log = config.ingest.keep_sequences
    features = log_features.to_examples(log_columns, log.values, as_in_log=as_in_log)
    times = log.timestamps if config.needs_times else None
    columns = EventValues(log.kinds, log.weights, shown, times, features=features)
    events = StartedLog(log.offsets, dense_ids[log.items], log.parts, columns)
    if known_users is None:
        return events
    events = user_rows.add_starts(*events)
    rows = user_rows.rows_in_file(log.user_ids, known_users)
    return events._replace(values=events.values._replace(user_rows=rows))


def find_shown(
    files: ShardFiles, shard: int, log: Sequences, dense_ids: np.ndarray, most: int
) -> ShownItems | None:
    """What was shown before events that are learnt; None where the log does not say it.

    Args:
        files: Of the steps.
        shard: Its number.
        log: With its parts, and rows where the log says what was shown.
        dense_ids: Number of an item -> dense id, 0 where the catalogue lacks it.
        most: Negatives before one event.
    """
    if not files.has_array(SHOWN_ITEMS, shard):
        return None
    found = Impressions(files.read_array(SHOWN_ITEMS, shard), files.read_array(SHOWN_BEFORE, shard))
    dense, is_learnt = dense_ids[log.items], log.parts == Part.TRAIN
    return impressions.attach(found, log.offsets, dense, log.rows, is_learnt, dense_ids, most)
