"""Changes a folder of examples by what happened to some of its users.

What is not touched is linked, not copied; the new folder takes the place of the
old one when it is whole. Imports no TensorFlow.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion import (
    kept_sequences,
    reading,
    split_report,
)
from pipelines.ingestion import report as ingest_report
from pipelines.ingestion import steps as ingest_steps
from pipelines.ingestion.encoding import facts
from pipelines.ingestion.events import log_features
from pipelines.ingestion.events.kinds import RunKinds
from pipelines.ingestion.sequences import Part, user_shards
from pipelines.progress import tasks
from pipelines.progress.words import number_of
from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.time_findings import DAY_S, add_times
from pipelines.sources.events import EventSource
from pipelines.upkeep import (
    ends,
    grown_columns,
    grown_items,
    grown_users,
    shown_users,
    split_users,
    steps,
)
from pipelines.upkeep.changed_folder import ChangedFolder
from pipelines.upkeep.grown_items import LogItems
from pipelines.upkeep.split_users import BEFORE, FREQUENT, NOW
from recall.errors import InputError
from recall.settings.ingest import IMPRESSION


class Change(ChangedFolder):
    """One change in a staging folder: the steps."""

    def append(
        self, source: EventSource, max_bad_rows: int, items: pa.Table | None = None
    ) -> dict[str, Any]:
        """Adds the events of a log, and what tables say of items and of users; the report."""
        self._items = items
        ingest, shards = self._config.ingest, range(self._config.ingest.num_shards)
        read, runs = reading.read_log(source, max_bad_rows, ingest, self._files, self._runner)
        step = ingest_steps.SortShard(ingest, runs, self._place.work_dir)
        with tasks.open_task(ingest_steps.SORTING, total=len(shards), unit="shards"):
            self._runner.run(step, shards)
        reading.remove_runs(self._files)
        sorted_facts = self._files.read_all_facts(ingest_steps.SORTED)
        split_report.check_conflicts(source.spec, sorted_facts)
        self._number_new_items()
        grown_columns.add_names(self._stored, self._files, self._config.features.of_log)
        had_shown = IMPRESSION in self._kinds
        self._state["kinds"] = grown_columns.add_kinds(self._kinds, runs.kinds.names, self._files)
        RunKinds(tuple(self._kinds), {}).check(source.spec, source.columns.event_type)
        self._take_users(source)
        self._add_read(source, read, sorted_facts, runs.latest_s)
        # Examples that do not say what was shown cannot stand beside others that do.
        rewritten = frozenset() if had_shown or IMPRESSION not in self._kinds else frozenset(shards)
        changed = self._change(shards, rewritten, has_log=True)
        line = (
            f"Added {number_of(read['events_read'], 'event')} from {source.name}; "
            f"{number_of(changed['users'], 'new user')}."
        )
        return self._finish(line)

    def take_files(self, source: EventSource, items: pa.Table | None) -> dict[str, Any]:
        """Takes what tables say of items and of users, without new events; the report."""
        self._items = items
        self._files.write_array(steps.NEW_ITEMS, 0, np.zeros(0, np.int32))
        self._take_users(source)
        self._change(range(self._config.ingest.num_shards), frozenset(), has_log=False)
        return self._finish("Took in what the files say of items and users; no new events.")

    def _take_users(self, source: EventSource) -> None:
        """Takes the values of the users file of a log, where there is one."""
        if source.users_file is not None and self._users is not None:
            self._users, newly_known = grown_users.take_file(
                self._stored, source.users_file, self._config.features.of("user")
            )
            self._write_users(steps.NEWLY_KNOWN, newly_known)

    def _add_read(
        self,
        source: EventSource,
        read: dict[str, Any],
        sorted_facts: Sequence[Mapping[str, Any]],
        latest_s: float,
    ) -> None:
        """Adds what was found in reading a day to what was found before."""
        before, bad_rows = self._state["read"], BadRows()
        for one in (before, read):
            bad_rows.merge(one["bad_rows"]["reasons"])
        self._state["read"] = {
            **read,
            "times": add_times(before["times"], read["times"]),
            "bad_rows": {"rows": bad_rows.total, "reasons": bad_rows.to_dict()},
            "events_read": before["events_read"] + read["events_read"],
            "left_out_by_where": before["left_out_by_where"] + read["left_out_by_where"],
        }
        for fact in sorted_facts:
            plain = {name: value for name, value in fact.items() if name != "kinds"}
            self._state["sorted"] = facts.add(self._state["sorted"], {**plain, "users": 0})
        self._state["logs"] = [*self._log_names(), source.name]
        self._state["latest_s"] = max(self._state["latest_s"], latest_s)

    def forget(self, user_ids: pa.StringArray) -> tuple[int, dict[str, Any]]:
        """Removes users; how many were there, and the report."""
        shards = frozenset(user_shards(user_ids, self._config.ingest.num_shards).tolist())
        self._write_users(steps.FORGOTTEN, user_ids)
        if self._users is not None:
            self._users = grown_users.take_out(self._stored, self._users, user_ids)
        self._files.write_array(steps.NEW_ITEMS, 0, np.zeros(0, np.int32))
        changed = self._change(sorted(shards), shards, has_log=False)
        self._state = shown_users.hide(self._state, frozenset(user_ids.to_pylist()))
        self._check_users_left(changed["gone"])
        report = self._finish(f"Removed {number_of(changed['gone'], 'user')}.")
        return changed["gone"], report

    def _check_users_left(self, gone: int) -> None:
        left = ingest_report.add_split_facts([self._state["split"]])["users"]
        if left < 2:
            raise InputError(
                f"{self._old_dir}: without {number_of(gone, 'user')} {number_of(left, 'user')} "
                "would be left, from which nothing can be learnt. Nothing was changed: remove the "
                "folder as a whole."
            )

    def _number_new_items(self) -> None:
        """Gives the items of the new log numbers; new ones are added to the catalogue."""
        known = self._item_ids()
        new_ids = self._files.read_batch(reading.ITEMS, 0)["item_id"]
        numbers = pc.index_in(new_ids, value_set=known)
        is_new = numbers.is_null().to_numpy(zero_copy_only=False)
        places = numbers.fill_null(0).to_numpy().astype(np.int32)
        places[is_new] = len(known) + np.arange(is_new.sum())
        self._files.write_array(steps.NEW_ITEMS, 0, places)
        catalogue = pa.concat_arrays([known, new_ids.filter(pa.array(is_new))])
        batch = pa.RecordBatch.from_arrays([catalogue], names=["item_id"])
        self._stored.write_batches(kept_sequences.CATALOGUE, 0, [batch])
        for name in kept_sequences.BY_ITEM:
            array = self._stored.read_array(name, 0)
            added = np.zeros(int(is_new.sum()), array.dtype)
            self._stored.write_array(name, 0, np.concatenate([array, added]))

    def _change(
        self, shards: Sequence[int], rewritten: frozenset[int], *, has_log: bool
    ) -> dict[str, int]:
        """Runs the steps; how many users are new and gone."""
        ingest, files = self._config.ingest, self._files
        counts = self._stored.read_array(kept_sequences.ITEM_COUNTS, 0)
        changed = np.zeros(len(counts), bool)
        files.write_array(steps.CHANGED_ITEMS, 0, changed)
        was_frequent = counts >= ingest.min_item_events
        files.write_array(FREQUENT[BEFORE], 0, was_frequent)
        merge = steps.MergeShard(
            self._config,
            self._place,
            has_log=has_log,
            rewritten=rewritten,
            first_s=self._first_s(),
            kinds=self._kinds,
        )
        self._run(steps.MERGING, merge, shards)
        now = counts + split_users.sum_changes(files, steps.ITEM_CHANGES)
        is_frequent = now >= ingest.min_item_events
        crossing = (was_frequent != is_frequent) & (counts > 0)
        if crossing.any() and ingest.min_item_events > 1:
            shards, changed = range(ingest.num_shards), changed | crossing
            files.write_array(steps.CHANGED_ITEMS, 0, changed)
            self._run(steps.MERGING, merge, shards)
        files.write_array(FREQUENT[NOW], 0, is_frequent)
        self._stored.write_array(kept_sequences.ITEM_COUNTS, 0, now)
        split = steps.SplitMerged(self._config, self._place, self._kinds)
        self._run(steps.SPLITTING, split, shards)
        flips = self._items_that_flip()
        if flips.any():
            shards = range(ingest.num_shards)
            files.write_array(steps.CHANGED_ITEMS, 0, changed | flips)
            self._run(steps.MERGING, merge, shards)
            self._run(steps.SPLITTING, split, shards)
        self._add_split_facts()
        self._number_items()
        self._change_columns(shards)
        write = steps.WriteMerged(self._config, self._place, self._log_columns)
        self._run(steps.WRITING, write, shards)
        self._add_written()
        self._find_lost_ends()
        totals = functools.reduce(facts.add, files.read_all_facts(steps.MERGED))
        self._state["kinds"] = facts.add(self._kinds, totals["kinds"])
        names = ("users", "duplicates", "old_events")
        changes = {name: totals[name] for name in names if name in totals}
        self._state["sorted"] = facts.add(self._state["sorted"], changes)
        return {"users": totals["users"], "gone": totals["gone"]}

    def _first_s(self) -> float | None:
        """The time before which events are too old; None where all are kept."""
        most = self._config.ingest.max_age_days
        return None if most is None else self._state["latest_s"] - most * DAY_S

    def _run(self, name: str, step: Callable[[int], None], shards: Sequence[int]) -> None:
        with tasks.open_task(name, total=len(shards), unit="shards"):
            self._runner.run(step, shards)

    def _items_that_flip(self) -> np.ndarray:
        """`[num_items]` bool, items that are negatives where they were shown, and were not before.

        These have events now and had none. Or the other way round.
        """
        before = np.sum(list(self._counts().values()), axis=0)
        parts = split_users.sum_parts(self._files, len(before))
        now = before + np.sum(list(parts.values()), axis=0)
        return ((before > 0) != (now > 0)) & (IMPRESSION in self._kinds)

    def _change_columns(self, shards: Sequence[int]) -> None:
        """What is learnt of features of events, from what users have now."""
        features = self._config.features.of_log
        grown_columns.change_counts(self._stored, self._files, features, shards, BEFORE, NOW)
        counts = log_features.read_counts(self._stored, log_features.VALUE_COUNTS, 0, features)
        self._log_columns = log_features.fit_columns(features, counts, self._stored)
        self._log_facts = log_features.describe(self._log_columns, counts, self._config)

    def _find_lost_ends(self) -> None:
        """Looks for first and last times among all users, where those known are gone."""
        if not facts.has_lost_ends(self._state["split"]):
            return
        shards = range(self._config.ingest.num_shards)
        with tasks.open_task(ends.FINDING, total=len(shards), unit="shards"):
            self._runner.run(ends.FindEnds(self._config, self._place, self._kinds), shards)
        found = [split for shard in self._files.read_all_facts(ends.ENDS) for split in shard]
        self._state["split"] = facts.replace_ends(self._state["split"], found)

    def _number_items(self) -> None:
        """Dense ids of items that are new."""
        counts, item_ids = self._counts(), self._item_ids()
        events = np.sum(list(counts.values()), axis=0)
        dense = self._stored.read_array(kept_sequences.DENSE_IDS, 0)
        known = LogItems(item_ids, dense, counts[Part.TRAIN], events)
        dense, self._num_found = known.number(grown_items.read_vocabulary(self._old_dir))
        self._catalogue = known._replace(dense=dense)
        self._stored.write_array(kept_sequences.DENSE_IDS, 0, dense)
        self._files.write_array(steps.CATALOGUE_NOW, 0, np.where(events > 0, dense, 0))
