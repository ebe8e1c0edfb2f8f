"""The steps of append and forget: one shard of users at a time, as those of ingest.

1. `MergeShard`: the old and the new events of the users that change
2. `SplitMerged`: what the parts of their events are, and were
3. `WriteMerged`: new files for them; what they had in the old ones no longer counts

Imports no TensorFlow and no Beam.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifacts import kept_examples
from pipelines.ingestion import examples, kept_sequences, splitting
from pipelines.ingestion import steps as ingest_steps
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import log_features, ordering, user_rows
from pipelines.ingestion.events.kinds import RunKinds
from pipelines.ingestion.kept_sequences import NO_SEQUENCES, Generation
from pipelines.ingestion.sequences import Sequences
from pipelines.progress import tasks
from pipelines.upkeep import grown_columns, merging, split_users
from pipelines.upkeep.split_users import BEFORE, NOW
from recall.config import RecallConfig
from recall.feature_columns.fitting import FittedColumn

# Names of what the steps leave, by shard.
MERGED, SPLIT = "merged", "new_split"
ROWS, ITEM_CHANGES = "rows", "item_changes"
WRITTEN = "rewritten"
# Names of the arrays for all shards (0).
NEW_ITEMS, CHANGED_ITEMS = "new_items", "changed_items"
FORGOTTEN, NEWLY_KNOWN = "forgotten", "newly_known"
"""Users who go, and users whom the users file lacked before."""
CATALOGUE_NOW = "dense_ids_now"
"""Dense ids of items with events, 0 of the others: only those are negatives when shown."""

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
        return merging.concatenate(olds)

    def read_new(self, shard: int) -> Generation:
        """The users who change, as they are now."""
        stored = kept_sequences.open_files(self.examples_dir)
        return Generation.read(stored, kept_sequences.file_number(self.generation, shard))


class MergeShard:
    """Collects the old and the new events of the users of a shard who change.

    These are users with new events; who has events of an item that was too rare and is so no
    longer, or the other way round; who has events that are too old now; whom the users file
    lacked before; and who is forgotten.
    """

    def __init__(
        self,
        config: RecallConfig,
        place: Place,
        *,
        has_log: bool,
        rewritten: frozenset[int],
        first_s: float | None,
        kinds: Mapping[str, int],
    ):
        """Prepares the step.

        Args:
            config: The settings.
            place: Where it works.
            has_log: Whether there are new events.
            rewritten: Shards that are written anew, but for forgotten users.
            first_s: Events before this time go; None keeps all.
            kinds: Those of events, in the order of their numbers.
        """
        self._config, self._place, self._has_log = config, place, has_log
        self._kinds = RunKinds(tuple(kinds), {})
        self._rewritten, self._first_s = rewritten, first_s

    def __call__(self, shard: int) -> None:
        """Writes the new generation, for each before it the rows of users who change, `BEFORE`."""
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
        old = self._place.read_old(shard)
        item_ids = kept_sequences.read_catalogue(stored)
        clicks = self._clicks(old)
        # Now, while they are at hand: of users who come often it is much.
        split_users.write(files, BEFORE, shard, self._config, item_ids, clicks)
        kept = old
        if shard in self._rewritten:
            forgotten = files.read_batch(FORGOTTEN, 0)["user_id"]
            is_gone = pc.is_in(old.user_ids, value_set=forgotten).to_numpy(zero_copy_only=False)
            kept = old.filter(~is_gone[old.owners])
        merged = merging.merge([kept, new])
        repeated = ordering.find_duplicates(
            merged.offsets, merged.items, merged.timestamps, merged.kinds
        )
        facts = {"duplicates": splitting.dropped(merged, repeated, item_ids)}
        merged = merged.filter(~repeated)
        if self._first_s is not None:
            is_old = merged.timestamps < self._first_s
            facts["old_events"] = splitting.dropped(merged, is_old, item_ids)
            merged = merged.filter(~is_old)
        if len(merged.user_ids):
            place = self._place
            kept_sequences.write_generation(place.examples_dir, shard, merged, place.generation)
        self._count(files, shard, old, merged)
        items = (self._clicks(merged).items, clicks.items)
        split_users.write_change(files, ITEM_CHANGES, shard, *items, len(item_ids))
        facts |= {"users": len(merged.user_ids) - len(old.user_ids)}
        facts |= {"gone": len(old.user_ids) - len(kept.user_ids)}
        more = self._kinds.count(merged.kinds) - self._kinds.count(old.kinds)
        facts["kinds"] = dict(zip(self._kinds.names, more.tolist(), strict=True))
        files.write_facts(MERGED, shard, facts)
        tasks.count(MERGING, 1)

    def _clicks(self, log: Sequences) -> Sequences:
        """Events that are no impressions."""
        is_impression = self._kinds.find_impressions(log.kinds)
        return log if is_impression is None else log.filter(~is_impression)

    def _count(self, files: ShardFiles, shard: int, old: Sequences, now: Sequences) -> None:
        """Counts the names of all events."""
        for suffix, log in ((BEFORE, old), (NOW, now)):
            uses = log_features.count_names(self._config.features.of_log, log.values)
            log_features.write_counts(files, f"{log_features.NAME_USES}_{suffix}", shard, uses)

    def _new_events(self, files: ShardFiles, shard: int) -> Sequences:
        if not self._has_log:
            return NO_SEQUENCES
        has_shown = ingest_steps.has_sequences(files, ingest_steps.WITH_SHOWN, shard)
        step = ingest_steps.WITH_SHOWN if has_shown else ingest_steps.SORTED
        new = ingest_steps.read_sequences(files, step, shard)
        new = new._replace(items=files.read_array(NEW_ITEMS, 0)[new.items])
        return grown_columns.with_kept_numbers(files, self._config.features.of_log, new)

    def _rows(
        self, files: ShardFiles, stored: ShardFiles, users: Generation, new_users: pa.StringArray
    ) -> np.ndarray:
        """Rows of the users of a generation who change."""
        known = files.read_batch(NEWLY_KNOWN, 0)["user_id"]
        new_users = pa.concat_arrays([new_users, known])
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


class SplitMerged:
    """Gives the events of the users who change their parts."""

    def __init__(self, config: RecallConfig, place: Place, kinds: Mapping[str, int]):
        self._config, self._place, self._kinds = config, place, RunKinds(tuple(kinds), {})

    def __call__(self, shard: int) -> None:
        """Writes `SPLIT` and `NOW`."""
        files = ShardFiles(self._place.work_dir)
        stored = kept_sequences.open_files(self._place.examples_dir)
        item_ids = kept_sequences.read_catalogue(stored)
        log = self._place.read_new(shard).read_all(stored)
        is_impression = self._kinds.find_impressions(log.kinds)
        if is_impression is not None:
            log = log._replace(rows=np.arange(len(log.items)))
            log = ingest_steps.take_out(files, shard, log, is_impression)
        log = split_users.write(files, NOW, shard, self._config, item_ids, log)
        times = log.timestamps if self._config.needs_times else None
        ingest_steps.write_sequences(files, SPLIT, shard, log._replace(timestamps=times))
        tasks.count(SPLITTING, 1)


class WriteMerged:
    """Writes the examples of the users who change, and takes back those they had."""

    def __init__(
        self, config: RecallConfig, place: Place, log_columns: Sequence[FittedColumn] = ()
    ):
        self._config, self._place, self._log_columns = config, place, tuple(log_columns)

    def __call__(self, shard: int) -> None:
        """Writes the files of the new generation, and what counts of the old ones."""
        place, num_shards = self._place, self._config.ingest.num_shards
        files = ShardFiles(place.work_dir)
        stored = kept_sequences.open_files(place.examples_dir)
        old_files: dict[str, dict[str, int]] = {}
        num_shown = 0
        for generation in range(place.generation):
            left, shown_before = self._take_back(files, stored, generation, shard)
            num_shown -= shown_before
            for split, counts in left.items():
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
        dense_ids = stored.read_array(kept_sequences.DENSE_IDS, 0)
        most = self._config.ingest.max_impressions
        shown_ids = files.read_array(CATALOGUE_NOW, 0)
        shown = ingest_steps.find_shown(files, shard, log, shown_ids, most)
        known = user_rows.read_known(stored)
        events = ingest_steps.to_events(
            self._config, log, dense_ids, shown, self._log_columns, known
        )
        facts = writer.write(log.user_ids, *events)
        rows = pc.index_in(log.user_ids, value_set=place.read_new(shard).user_ids).to_numpy()
        of_users = None if shown is None else shown.of_users(log.offsets)
        kept_sequences.write_owners(
            place.examples_dir, shard, writer.owners, rows, of_users, place.generation
        )
        num_shown += 0 if shown is None else len(shown.item_ids)
        found = {"new": facts, "old_files": old_files, "shown": num_shown}
        files.write_facts(WRITTEN, shard, found)
        tasks.count(WRITING, 1)

    def _take_back(
        self, files: ShardFiles, stored: ShardFiles, generation: int, shard: int
    ) -> tuple[dict[str, dict[str, int]], int]:
        """Takes back the examples that users who change have in the files of a generation.

        Returns:
            Split -> name of a file -> examples of it that still count, where that changes; and
            how many impressions were negatives in the others.
        """
        number = kept_sequences.file_number(generation, shard)
        rows = files.read_array(ROWS, number)
        if not len(rows):
            return {}, 0
        shown = Generation.read(stored, number).sum_shown(stored, rows)
        alive = stored.read_array(kept_sequences.ALIVE, number)
        alive[rows] = False
        stored.write_array(kept_sequences.ALIVE, number, alive)
        num_shards, left = self._config.ingest.num_shards, {}
        file_shard, total = generation * num_shards + shard, (generation + 1) * num_shards
        for (split, bucket), owners in kept_sequences.read_owners(stored, number).items():
            name = examples.file_name(bucket, file_shard, total)
            path = examples.split_dir(self._place.examples_dir, split) / name
            kept = alive[owners]
            left.setdefault(split, {})[name] = int(kept.sum())
            if kept.any():
                kept_examples.write_kept(path, kept)
            else:
                kept_examples.remove(path)
        if not alive.any():
            stored.remove_number(number)
        return left, shown
