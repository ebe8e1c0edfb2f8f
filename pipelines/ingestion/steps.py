"""The Beam steps of ingest; every element is an Arrow batch or a shard number.

Three linear chains, because two facts about the whole log are needed on the
way: how often each item occurs before rare items can go, and how often each
occurs in the training part before items can be numbered.

1. `read_and_shuffle`, `SortShard`: log -> one ordered file per shard of users
2. `SplitShard`: drop rare items and short users, give every event its part
3. `WriteShard`: dense ids, windows, TFRecord files

Steps leave their results in `ShardFiles`. Imports no TensorFlow by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion import arrow_coder, sequences, splits
from pipelines.ingestion.beam import beam
from pipelines.ingestion.sequences import Part
from pipelines.ingestion.shard_files import ShardFiles
from pipelines.progress import tasks
from pipelines.sources.columns import id_checks
from pipelines.sources.events import EventSource
from recall.config import IngestConfig
from recall.errors import InputError

# Names of the files each step leaves, by shard.
READ, FAILED = "read", "failed"
SORTED, ITEM_COUNTS = "sorted", "item_counts"
SPLIT, TRAINING_COUNTS = "split", "training_counts"
OTHER_COUNTS = {part: f"{part.label}_counts" for part in splits.NOT_LEARNT}
WRITTEN = "written"
# Names of the tables that are made between the chains, for all shards (0).
FREQUENT_ITEMS, VOCABULARY = "frequent_items", "vocabulary"

# Names of the tasks that steps count for, where they run in the process of the job.
READING, SORTING = "read the log", "order the events"
SPLITTING, WRITING = "split users", "write examples"

_SHOWN_ROWS = 3
"""Rows shown per shard and reason in the report of what was dropped."""

arrow_coder.register()


def read_and_shuffle(
    source: EventSource, max_bad_rows: int, config: IngestConfig, work_dir: Path
) -> tuple[beam.PTransform, ...]:
    """Transforms that turn one dummy element into (shard, its batches)."""
    return (
        beam.ParDo(ReadEvents(source, max_bad_rows, config, work_dir)).with_output_types(
            pa.RecordBatch
        ),
        beam.ParDo(PartitionByUser(config.num_shards)).with_output_types(
            tuple[int, pa.RecordBatch]
        ),
        beam.GroupByKey(),
    )


def _count(name: str, number: int) -> None:
    """Adds to a Beam counter, which runners show while they work."""
    beam.metrics.Metrics.counter("ingest", name).inc(int(number))


class ReadEvents(beam.DoFn):
    """Reads the log in one worker: a compressed file cannot be split.

    A fault of the input is left as a file instead of raised, so that the user
    reads one line and not Beam's report of a failed bundle.
    """

    def __init__(
        self, source: EventSource, max_bad_rows: int, config: IngestConfig, work_dir: Path
    ):
        self._source = source
        self._max_bad_rows = max_bad_rows
        self._needs_split = config.protocol == "provided"
        self._work_dir = work_dir

    def process(self, element: Any) -> Iterator[pa.RecordBatch]:
        """Yields the batches of the log; `element` is not used."""
        files, num_events = ShardFiles(self._work_dir), 0
        try:
            for batch in self._source.read_batches(self._max_bad_rows):
                if self._needs_split:
                    sequences.parse_parts(batch)
                elif "split" in batch.schema.names:
                    batch = batch.drop_columns("split")
                num_events += batch.num_rows
                _count("events_read", batch.num_rows)
                tasks.count(READING, batch.num_rows, share=self._source.share_read)
                yield batch
        except InputError as error:
            files.write_facts(FAILED, 0, {"message": str(error)})
            return
        bad_rows = self._source.bad_rows
        files.write_facts(
            READ,
            0,
            {
                "events_read": num_events,
                "left_out_by_where": self._source.rows_left_out,
                "bad_rows": {"rows": bad_rows.total, "reasons": bad_rows.to_dict()},
                "times": self._source.times,
            },
        )


class PartitionByUser(beam.DoFn):
    """Cuts batches into one batch per shard of users."""

    def __init__(self, num_shards: int):
        self._num_shards = num_shards

    def process(self, element: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yields (shard, batch)."""
        yield from sequences.partition_by_user(element, self._num_shards)


class SortShard(beam.DoFn):
    """Orders the events of a shard, drops duplicates, counts items."""

    def __init__(self, config: IngestConfig, work_dir: Path):
        self._config = config
        self._work_dir = work_dir

    def process(self, element: tuple[int, Iterable[pa.RecordBatch]]) -> Iterator[int]:
        """Writes the shard and yields its number."""
        tasks.turn_to(READING, SORTING, total=self._config.num_shards, unit="shards")
        shard, batches = element
        events = sequences.order_events(pa.Table.from_batches(batches))
        duplicates = sequences.find_duplicates(events)
        unique = events.filter(pa.array(~duplicates))
        offsets = sequences.user_offsets(unique)
        users = unique["user_id"].take(pa.array(offsets[:-1])).combine_chunks()
        files = ShardFiles(self._work_dir)
        files.write_table(SORTED, shard, unique)
        files.write_table(ITEM_COUNTS, shard, sequences.count_items(unique["item_id"]))
        files.write_facts(
            SORTED,
            shard,
            {
                "users": len(users),
                "look_alikes": id_checks.find_look_alikes(users),
                "duplicates": _dropped(events, duplicates),
                **self._facts_of_split(events, duplicates),
            },
        )
        _count("duplicates", duplicates.sum())
        tasks.count(SORTING, 1)
        yield shard

    def _facts_of_split(self, events: pa.Table, duplicates: np.ndarray) -> dict[str, Any]:
        """What the split needs to know of the whole log before it begins."""
        if self._config.protocol == "temporal":
            return splits.count_hours(events["timestamp"].to_numpy()[~duplicates])
        if self._config.protocol == "provided" and duplicates.any():
            return {"conflicts": splits.find_conflicts(events)}
        return {}


class SplitShard(beam.DoFn):
    """Cuts sessions, drops rare items, then short users, and gives every event its part."""

    def __init__(self, config: IngestConfig, clock: splits.Clock | None, work_dir: Path):
        self._config = config
        self._clock = clock
        self._work_dir = work_dir

    def process(self, element: int) -> Iterator[int]:
        """Writes the shard and yields its number."""
        files = ShardFiles(self._work_dir)
        events, facts = self._cut_sessions(files.read_table(SORTED, element)), {}
        if self._config.min_item_events > 1:
            kept_ids = files.read_table(FREQUENT_ITEMS, 0)["item_id"].combine_chunks()
            kept = pc.is_in(events["item_id"], value_set=kept_ids).to_numpy()
            facts["rare_items"] = _dropped(events, ~kept)
            events = events.filter(pa.array(kept))
        offsets = sequences.user_offsets(events)
        kept = sequences.long_enough(offsets, self._config.min_user_events)
        short_users = int((np.diff(offsets) < self._config.min_user_events).sum())
        facts["short_users"] = {"users": short_users, **_dropped(events, ~kept)}
        events = events.filter(pa.array(kept))
        offsets = sequences.user_offsets(events)
        parts = self._parts(events, offsets)
        facts |= self._cap(events, offsets, parts)
        files.write_table(
            SPLIT, element, events.select(["user_id", "item_id"]).append_column("part", [parts])
        )
        trained = sequences.count_items(events["item_id"], parts == Part.TRAIN)
        files.write_table(TRAINING_COUNTS, element, trained)
        for part, name in OTHER_COUNTS.items():
            others = events["item_id"].filter(pa.array(parts == part))
            files.write_table(name, element, sequences.count_items(others))
        timestamps = events["timestamp"].to_numpy()
        facts["days"] = sequences.count_days(timestamps)
        facts |= splits.describe(timestamps, offsets, parts) | self._find_leak(events, parts)
        files.write_facts(SPLIT, element, facts)
        tasks.count(SPLITTING, 1)
        yield element

    def _cut_sessions(self, events: pa.Table) -> pa.Table:
        """The events with sessions in the place of users, where the settings ask for it."""
        minutes = self._config.session_gap_minutes
        if minutes is None:
            return events
        offsets = sequences.user_offsets(events)
        cut = splits.cut_sessions(events["timestamp"].to_numpy(), offsets, 60 * minutes)
        names = splits.name_sessions(events["user_id"], offsets, cut)
        return events.set_column(events.schema.get_field_index("user_id"), "user_id", names)

    def _find_leak(self, events: pa.Table, parts: np.ndarray) -> dict[str, Any]:
        """The first event that the clock forbids where it stands."""
        if self._clock is None:
            return {}
        at = splits.find_leak(events["timestamp"].to_numpy(), parts, self._clock)
        return {} if at is None else {"leak": _shown(events, [at])}

    def _cap(self, events: pa.Table, offsets: np.ndarray, parts: np.ndarray) -> dict[str, Any]:
        """Takes early events of users with very many out of training, in `parts`.

        Returns:
            Facts: who was capped, and whose events make the most training targets.
        """
        if len(offsets) == 1:
            return {}
        capped = np.zeros(len(parts), bool)
        if self._config.max_user_events is not None:
            capped = sequences.mark_beyond_latest(offsets, parts, self._config.max_user_events)
        parts[capped] = Part.CONTEXT
        per_user = np.add.reduceat(capped, offsets[:-1], dtype=np.int64)
        targets = np.maximum(np.diff(sequences.training_offsets(offsets, parts)) - 1, 0)
        owners = np.flatnonzero(per_user)
        shown = owners[np.argsort(-per_user[owners], kind="stable")][:_SHOWN_ROWS].tolist()
        users, lengths, most = events["user_id"], np.diff(offsets), int(np.argmax(targets))
        return {
            "capped_users": {
                "users": len(owners),
                "events": int(capped.sum()),
                "first": [
                    {
                        "user_id": users[int(offsets[user])].as_py(),
                        "events": int(lengths[user]),
                        "history_only": int(per_user[user]),
                    }
                    for user in shown
                ],
            },
            "largest_user": {
                "user_id": users[int(offsets[most])].as_py(),
                "targets": int(targets[most]),
            },
        }

    def _parts(self, events: pa.Table, offsets: np.ndarray) -> np.ndarray:
        """`[num_events]` int8 of `Part` by the protocol."""
        if self._config.protocol == "provided":
            return sequences.parse_parts(events)
        if self._clock is not None:
            timestamps = events["timestamp"].to_numpy()
            return splits.hold_out_after(timestamps, offsets, self._clock, self._config.num_targets)
        one = self._config.protocol == "leave_one_out"
        return sequences.hold_out_last(offsets, 1 if one else self._config.num_targets)


class WriteShard(beam.DoFn):
    """Writes the TFRecord files of a shard, for all splits."""

    def __init__(
        self, num_shards: int, max_history_length: int, examples_dir: Path, work_dir: Path
    ):
        self._num_shards = num_shards
        self._max_history_length = max_history_length
        self._examples_dir = examples_dir
        self._work_dir = work_dir

    def process(self, element: int) -> Iterator[int]:
        """Writes the files and yields the number of the shard."""
        from pipelines.ingestion import examples

        files = ShardFiles(self._work_dir)
        writer = examples.ShardWriter(
            self._examples_dir, element, self._num_shards, self._max_history_length
        )
        item_ids = files.read_table(VOCABULARY, 0)["item_id"].combine_chunks()
        facts = writer.write(files.read_table(SPLIT, element), item_ids)
        files.write_facts(WRITTEN, element, facts)
        for split, written in facts.items():
            _count(f"{split}_examples", sum(written["files"].values()))
        tasks.count(WRITING, 1)
        yield element


def _dropped(events: pa.Table, mask: np.ndarray) -> dict[str, Any]:
    """How many events a mask drops, and the first few of them."""
    shown = _shown(events, np.flatnonzero(mask)[:_SHOWN_ROWS])
    return {"events": int(mask.sum()), "first": shown}


def _shown(events: pa.Table, at: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
    """Some events as plain values."""
    columns = ["user_id", "item_id", "timestamp", "row"]
    return events.take(pa.array(at, pa.int64())).select(columns).to_pylist()
