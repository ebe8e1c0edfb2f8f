"""The steps of append and forget: one shard of users at a time, as those of ingest.

1. `MergeShard`: the old and the new events of the users that change
2. `SplitMerged`: what the parts of their events are, and were
3. `WriteMerged`: new files for them; what they had in the old ones no longer counts

Imports no TensorFlow and no Beam.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifacts import kept_examples
from pipelines.ingestion import examples, kept_sequences, sequences, splitting, windows
from pipelines.ingestion import steps as ingest_steps
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import ordering
from pipelines.ingestion.events.event_features import EventValues
from pipelines.ingestion.kept_sequences import NO_SEQUENCES, Generation
from pipelines.ingestion.sequences import Part, Sequences
from pipelines.progress import tasks
from recall.config import RecallConfig

# Names of what the steps leave, by shard.
MERGED, SPLIT = "merged", "new_split"
ROWS, ITEM_CHANGES = "rows", "item_changes"
PART_CHANGES = {part: f"{part.label}_changes" for part in Part}
FACTS, WRITTEN = "changes", "rewritten"
# Names of the arrays for all shards (0).
NEW_ITEMS, CHANGED_ITEMS = "new_items", "changed_items"
FREQUENT_BEFORE, FREQUENT_NOW = "frequent_before", "frequent_now"
FORGOTTEN = "forgotten"

_COMPRESSION_LEVEL = 0
"""Of the files that are added: none takes no time, and they are a few percent of all."""

MERGING, SPLITTING, WRITING = "look up users", "split users", "write examples"


class Place(NamedTuple):
    """Where the steps work.

    Attributes:
        examples_dir: The folder that becomes the examples.
        work_dir: Files between the steps.
        generation: Number of the one that is added.
    """

    examples_dir: Path
    work_dir: Path
    generation: int

    def read_old(self, shard: int) -> Sequences:
        """What the users who change had before, of all generations one after the other."""
        files, olds = ShardFiles(self.work_dir), [NO_SEQUENCES]
        stored = kept_sequences.open_files(self.examples_dir)
        for generation in range(self.generation):
            number = kept_sequences.file_number(generation, shard)
            rows = files.read_array(ROWS, number)
            if len(rows):
                olds.append(Generation.read(stored, number).take(stored, rows))
        return concatenate(olds)

    def read_new(self, shard: int) -> Generation:
        """The users who change, as they are now."""
        stored = kept_sequences.open_files(self.examples_dir)
        return Generation.read(stored, kept_sequences.file_number(self.generation, shard))


class MergeShard:
    """Collects the old and the new events of the users of a shard who change.

    These are users with new events; who has events of an item that was too rare and is so no
    longer, or the other way round; who has events that are too old now; and who is forgotten.
    """

    def __init__(
        self, place: Place, *, has_log: bool, rewritten: frozenset[int], first_s: float | None
    ):
        """Prepares the step.

        Args:
            place: Where it works.
            has_log: Whether there are new events.
            rewritten: Shards that are written anew, but for forgotten users.
            first_s: Events before this time go; None keeps all.
        """
        self._place, self._has_log = place, has_log
        self._rewritten, self._first_s = rewritten, first_s

    def __call__(self, shard: int) -> None:
        """Writes the new generation and, for each before it, the rows of users who change."""
        files = ShardFiles(self._place.work_dir)
        stored = kept_sequences.open_files(self._place.examples_dir)
        new = self._new_events(files, shard)
        for generation in range(self._place.generation):
            number = kept_sequences.file_number(generation, shard)
            users = Generation.read(stored, number)
            if shard in self._rewritten or users.is_empty:
                rows = np.flatnonzero(users.alive)
            else:
                rows = self._rows(files, stored, users, new.user_ids)
            files.write_array(ROWS, number, rows)
        kept = old = self._place.read_old(shard)
        if shard in self._rewritten:
            forgotten = files.read_batch(FORGOTTEN, 0)["user_id"]
            is_gone = pc.is_in(old.user_ids, value_set=forgotten).to_numpy(zero_copy_only=False)
            kept = old.filter(~is_gone[old.owners])
        merged = merge([kept, new])
        repeated = ordering.find_duplicates(merged.offsets, merged.items, merged.timestamps)
        item_ids = stored.read_batch(kept_sequences.CATALOGUE, 0)["item_id"]
        duplicates = splitting.dropped(merged, repeated, item_ids)
        merged, facts = merged.filter(~repeated), {}
        if self._first_s is not None:
            is_old = merged.timestamps < self._first_s
            facts["old_events"] = splitting.dropped(merged, is_old, item_ids)
            merged = merged.filter(~is_old)
        if len(merged.user_ids):
            place = self._place
            kept_sequences.write_generation(place.examples_dir, shard, merged, place.generation)
        _write_change(files, ITEM_CHANGES, shard, merged.items, old.items, len(item_ids))
        facts |= {"users": len(merged.user_ids) - len(old.user_ids)}
        facts |= {"duplicates": duplicates, "gone": len(old.user_ids) - len(kept.user_ids)}
        files.write_facts(MERGED, shard, facts)
        tasks.count(MERGING, 1)

    def _new_events(self, files: ShardFiles, shard: int) -> Sequences:
        if not self._has_log:
            return NO_SEQUENCES
        new = ingest_steps.read_sequences(files, ingest_steps.SORTED, shard)
        return new._replace(items=files.read_array(NEW_ITEMS, 0)[new.items])

    def _rows(
        self, files: ShardFiles, stored: ShardFiles, users: Generation, new_users: pa.StringArray
    ) -> np.ndarray:
        """Rows of the users of a generation who change."""
        changes = pc.is_in(users.user_ids, value_set=new_users).to_numpy(zero_copy_only=False)
        changed_items = files.read_array(CHANGED_ITEMS, 0)
        if changed_items.any() or self._first_s is not None:
            offsets = users.column(stored, "offsets")
            marks = changed_items[users.column(stored, "items")]
            if self._first_s is not None:
                marks |= users.column(stored, "timestamps") < self._first_s
            totals = np.concatenate([[0], np.cumsum(marks)])[offsets]
            changes = changes | (np.diff(totals) > 0)
        return np.flatnonzero(changes & users.alive)


def concatenate(logs: list[Sequences]) -> Sequences:
    """Users of several logs one after the other, as they come."""
    sizes = np.concatenate([np.diff(log.offsets) for log in logs])
    columns = zip(*((log.items, log.timestamps, log.rows, log.parts) for log in logs), strict=True)
    return Sequences(
        pa.concat_arrays([log.user_ids for log in logs]),
        np.concatenate([[0], np.cumsum(sizes)]),
        *map(np.concatenate, columns),
    )


def merge(logs: list[Sequences]) -> Sequences:
    """One ordered log of several; at equal times the events of an earlier one come first."""
    joined = concatenate(logs)
    encoded = joined.user_ids.dictionary_encode()
    by_text = pc.sort_indices(encoded.dictionary)
    ranks = np.empty(len(by_text), np.int64)
    ranks[by_text.to_numpy()] = np.arange(len(by_text))
    owners, lengths = ranks[encoded.indices.to_numpy()], np.diff(joined.offsets)
    # A user of several logs is there several times: whole sequences are sorted, not events.
    runs = np.argsort(owners, kind="stable")
    ends = np.cumsum(lengths[runs])
    order = np.repeat(joined.offsets[runs] - (ends - lengths[runs]), lengths[runs])
    order += np.arange(len(order))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners, lengths, len(by_text)))])
    offsets, times = offsets.astype(np.int64), joined.timestamps[order]
    earlier = np.flatnonzero(times[1:] < times[:-1]) + 1
    if not np.isin(earlier, offsets).all():  # Events of a day before come late.
        rows = np.arange(len(order))
        order = ordering.order_events(np.repeat(owners, lengths), joined.timestamps, rows)
    columns = (joined.items, joined.timestamps, joined.rows, joined.parts)
    return Sequences(encoded.dictionary.take(by_text), offsets, *(c[order] for c in columns))


class SplitMerged:
    """Gives the events of the users who change their parts, as they are and as they were."""

    def __init__(self, config: RecallConfig, place: Place):
        self._config, self._place = config, place

    def __call__(self, shard: int) -> None:
        """Writes `SPLIT`, and what changes in counts and facts."""
        files = ShardFiles(self._place.work_dir)
        stored = kept_sequences.open_files(self._place.examples_dir)
        item_ids = stored.read_batch(kept_sequences.CATALOGUE, 0)["item_id"]
        found = []
        was, now = self._place.read_old(shard), self._place.read_new(shard).read_all(stored)
        for log, frequent in ((was, FREQUENT_BEFORE), (now, FREQUENT_NOW)):
            splitter = splitting.Splitter(
                self._config.ingest, None, files.read_array(frequent, 0), item_ids
            )
            split, facts = splitter.split(log)
            facts["train_targets"] = self._count_targets(split)
            found.append((split, facts))
        (before, facts_before), (log, facts) = found
        times = log.timestamps if self._config.model.time_bias else None
        log_to_write = log._replace(timestamps=times, rows=None)
        ingest_steps.write_sequences(files, SPLIT, shard, log_to_write)
        for part, name in PART_CHANGES.items():
            items = (split.items[split.parts == part] for split in (log, before))
            _write_change(files, name, shard, *items, len(item_ids))
        files.write_facts(FACTS, shard, {"now": facts, "before": facts_before})
        tasks.count(SPLITTING, 1)

    def _count_targets(self, log: Sequences) -> int:
        offsets = sequences.training_offsets(log.offsets, log.parts)
        length, stride = self._config.model.max_history_length, self._config.ingest.window_stride
        cut = windows.cut_windows(offsets, length, stride)
        return int((cut.stops - cut.starts - 1).sum())


class WriteMerged:
    """Writes the examples of the users who change, and takes back those they had."""

    def __init__(self, config: RecallConfig, place: Place):
        self._config, self._place = config, place

    def __call__(self, shard: int) -> None:
        """Writes the files of the new generation, and what counts of the old ones."""
        place, num_shards = self._place, self._config.ingest.num_shards
        files = ShardFiles(place.work_dir)
        stored = kept_sequences.open_files(place.examples_dir)
        old_files: dict[str, dict[str, int]] = {}
        for generation in range(place.generation):
            for split, counts in self._take_back(files, stored, generation, shard).items():
                old_files.setdefault(split, {}).update(counts)
        log = ingest_steps.read_sequences(files, SPLIT, shard)
        writer = examples.ShardWriter(
            place.examples_dir,
            place.generation * num_shards + shard,
            (place.generation + 1) * num_shards,
            self._config.model.max_history_length,
            self._config.ingest.window_stride,
            _COMPRESSION_LEVEL,
        )
        dense = stored.read_array(kept_sequences.DENSE_IDS, 0)[log.items]
        times = log.timestamps if self._config.model.time_bias else None
        values = EventValues(times=times)
        facts = writer.write(log.user_ids, log.offsets, dense, log.parts, values)
        rows = pc.index_in(log.user_ids, value_set=place.read_new(shard).user_ids).to_numpy()
        kept_sequences.write_owners(
            place.examples_dir, shard, writer.owners, rows, place.generation
        )
        files.write_facts(WRITTEN, shard, {"new": facts, "old_files": old_files})
        tasks.count(WRITING, 1)

    def _take_back(
        self, files: ShardFiles, stored: ShardFiles, generation: int, shard: int
    ) -> dict[str, dict[str, int]]:
        """Split -> name of a file -> examples of it that still count, where that changes."""
        number = kept_sequences.file_number(generation, shard)
        rows = files.read_array(ROWS, number)
        if not len(rows):
            return {}
        alive = stored.read_array(kept_sequences.ALIVE, number)
        alive[rows] = False
        stored.write_array(kept_sequences.ALIVE, number, alive)
        num_shards, left = self._config.ingest.num_shards, {}
        file_shard, total = generation * num_shards + shard, (generation + 1) * num_shards
        for split, bucket in kept_sequences.files_of(stored, number):
            name = examples.file_name(bucket, file_shard, total)
            path = examples.split_dir(self._place.examples_dir, split) / name
            kept = alive[stored.read_array(f"owners_{split}_{bucket}", number)]
            left.setdefault(split, {})[name] = int(kept.sum())
            if kept.any():
                kept_examples.write_kept(path, kept)
            else:
                kept_examples.remove(path)
        if not alive.any():
            stored.remove_number(number)
        return left


def _write_change(
    files: ShardFiles, name: str, shard: int, now: np.ndarray, was: np.ndarray, num_items: int
) -> None:
    """Stores how much more often each item occurs; nothing where there is nothing."""
    if len(now) or len(was):
        change = sequences.count_items(now, num_items) - sequences.count_items(was, num_items)
        files.write_array(name, shard, change.astype(np.int32))


def sum_changes(files: ShardFiles, name: str) -> np.ndarray | int:
    """`[num_items]`, the sum of a count's changes in all shards; 0 where there are none."""
    return sum(change.astype(np.int64) for change in files.read_all_arrays(name))
