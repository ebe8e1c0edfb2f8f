"""Changes a folder of examples by what happened to some of its users.

What is not touched is linked, not copied; the new folder takes the place of the
old one when it is whole. Imports no TensorFlow.
"""

import functools
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifacts import records
from pipelines.ingestion import (
    event_statistics,
    kept_sequences,
    reading,
    schema,
    split_report,
)
from pipelines.ingestion import report as ingest_report
from pipelines.ingestion import steps as ingest_steps
from pipelines.ingestion.encoding import facts
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.sequences import Part, user_shards
from pipelines.ingestion.splits import HELD_OUT
from pipelines.ingestion.step_runner import StepRunner
from pipelines.progress import tasks
from pipelines.sources import item_rows
from pipelines.sources.columns.bad_rows import BadRows, number_of
from pipelines.sources.columns.time_findings import DAY_S, add_times
from pipelines.sources.events import EventSource
from pipelines.upkeep import ends, grown_items, shown_users, split_users, steps
from pipelines.upkeep.split_users import BEFORE, FREQUENT, NOW
from pipelines.upkeep.steps import Place
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import FIRST_ITEM_ID
from serving.release import storage

_SPLITS = ("train", "valid", "test")
_WORK = "work"


class Change:
    """One change in a staging folder."""

    def __init__(
        self, old_dir: Path, staging: Path, config: RecallConfig, beam_args: Sequence[str] = ()
    ):
        """Links the old files into `staging`.

        Raises:
            InputError: One of them is missing.
        """
        self._old_dir, self._dir, self._config = old_dir, staging.absolute(), config
        self._runner = StepRunner(beam_args)
        for name in (kept_sequences.FOLDER, *(f"Split-{split}" for split in _SPLITS)):
            shutil.copytree(old_dir / name, self._dir / name, copy_function=os.link)
        work_dir = self._dir / _WORK
        work_dir.mkdir()
        self._files = ShardFiles(work_dir)
        self._stored = kept_sequences.open_files(self._dir)
        self._state = kept_sequences.read_state(self._dir)
        self._check_files()
        self._items: pa.Table | None = None
        self._place = Place(self._dir, work_dir, self._state["generations"])

    def _check_files(self) -> None:
        """Refuses examples of which files are gone: what is left would count as all."""
        for split in _SPLITS:
            folder = f"Split-{split}"
            missing = self._state["written"][split]["files"].keys() - os.listdir(self._dir / folder)
            if missing:
                raise InputError(
                    f"{self._old_dir / folder / min(missing)} is missing. Copy the folder again, "
                    "or make all examples again."
                )

    def append(
        self, source: EventSource, max_bad_rows: int, items: pa.Table | None = None
    ) -> dict[str, Any]:
        """Adds the events of a log, and what a table says of the items; the report."""
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
            self._state["sorted"] = facts.add(self._state["sorted"], {**fact, "users": 0})
        self._state["logs"] = [*self._log_names(), source.name]
        self._state["latest_s"] = max(self._state["latest_s"], runs.latest_s)
        changed = self._change(shards, frozenset(), has_log=True)
        line = (
            f"Added {number_of(read['events_read'], 'event')} from {source.name}; "
            f"{number_of(changed['users'], 'new user')}."
        )
        return self._finish(line)

    def forget(self, user_ids: pa.StringArray) -> tuple[int, dict[str, Any]]:
        """Removes users; how many were there, and the report."""
        shards = frozenset(user_shards(user_ids, self._config.ingest.num_shards).tolist())
        users = pa.RecordBatch.from_arrays([user_ids], names=["user_id"])
        self._files.write_batches(steps.FORGOTTEN, 0, [users])
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

    def _log_names(self) -> list[str]:
        """What the logs are called, the first one first."""
        if "logs" in self._state:
            return self._state["logs"]
        return [storage.read_json(self._old_dir / records.INGEST_REPORT_NAME)["source"]]

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
        files.write_array(steps.CHANGED_ITEMS, 0, np.zeros(len(counts), bool))
        first_s = None
        if ingest.max_age_days is not None:
            first_s = self._state["latest_s"] - ingest.max_age_days * DAY_S
        was_frequent = counts >= ingest.min_item_events
        files.write_array(FREQUENT[BEFORE], 0, was_frequent)
        merge = steps.MergeShard(
            self._config, self._place, has_log=has_log, rewritten=rewritten, first_s=first_s
        )
        with tasks.open_task(steps.MERGING, total=len(shards), unit="shards"):
            self._runner.run(merge, shards)
        now = counts + split_users.sum_changes(files, steps.ITEM_CHANGES)
        is_frequent = now >= ingest.min_item_events
        changed = (was_frequent != is_frequent) & (counts > 0)
        if changed.any() and ingest.min_item_events > 1:
            shards = range(ingest.num_shards)
            files.write_array(steps.CHANGED_ITEMS, 0, changed)
            with tasks.open_task(steps.MERGING, total=len(shards), unit="shards"):
                self._runner.run(merge, shards)
        files.write_array(FREQUENT[NOW], 0, is_frequent)
        self._stored.write_array(kept_sequences.ITEM_COUNTS, 0, now)
        with tasks.open_task(steps.SPLITTING, total=len(shards), unit="shards"):
            self._runner.run(steps.SplitMerged(self._config, self._place), shards)
        self._add_split_facts()
        self._number_items()
        write = steps.WriteMerged(self._config, self._place)
        with tasks.open_task(steps.WRITING, total=len(shards), unit="shards"):
            self._runner.run(write, shards)
        self._add_written()
        self._find_lost_ends()
        merged = files.read_all_facts(steps.MERGED)
        totals = functools.reduce(facts.add, merged)
        names = ("users", "duplicates", "old_events")
        changes = {name: totals[name] for name in names if name in totals}
        self._state["sorted"] = facts.add(self._state["sorted"], changes)
        return {"users": totals["users"], "gone": totals["gone"]}

    def _add_split_facts(self) -> None:
        split = self._state["split"]
        for shard in split_users.read_facts(self._files):
            split = facts.add(facts.add(split, shard[BEFORE], -1), shard[NOW])
        self._state["split"] = split
        for part, changes in split_users.sum_parts(self._files, len(self._item_ids())).items():
            kept = kept_sequences.part_counts(part)
            self._stored.write_array(kept, 0, self._stored.read_array(kept, 0) + changes)

    def _find_lost_ends(self) -> None:
        """Looks for first and last times among all users, where those known are gone."""
        if not facts.has_lost_ends(self._state["split"]):
            return
        shards = range(self._config.ingest.num_shards)
        with tasks.open_task(ends.FINDING, total=len(shards), unit="shards"):
            self._runner.run(ends.FindEnds(self._config, self._place), shards)
        found = [split for shard in self._files.read_all_facts(ends.ENDS) for split in shard]
        self._state["split"] = facts.replace_ends(self._state["split"], found)

    def _counts(self) -> dict[Part, np.ndarray]:
        """Part -> `[num_items]` its events by item."""
        return {p: self._stored.read_array(kept_sequences.part_counts(p), 0) for p in Part}

    def _item_ids(self) -> pa.StringArray:
        return kept_sequences.read_catalogue(self._stored)

    def _number_items(self) -> None:
        """Dense ids of items that are new: behind all others, the most frequent first."""
        counts = self._counts()
        dense = self._stored.read_array(kept_sequences.DENSE_IDS, 0)
        new = np.flatnonzero((np.sum(list(counts.values()), axis=0) > 0) & (dense == 0))
        by_text = pc.sort_indices(self._item_ids().take(pa.array(new))).to_numpy()
        new = new[by_text]
        new = new[np.argsort(-counts[Part.TRAIN][new], kind="stable")]
        first = max(int(dense.max(initial=0)) + 1, FIRST_ITEM_ID)
        dense[new] = first + np.arange(len(new))
        self._stored.write_array(kept_sequences.DENSE_IDS, 0, dense)

    def _add_written(self) -> None:
        """Files and targets of every split."""
        written, split = self._state["written"], self._state["split"]
        for shard in self._files.read_all_facts(steps.WRITTEN):
            for name in _SPLITS:
                counts = written[name]["files"]
                counts |= shard["old_files"].get(name, {})
                counts |= shard["new"][name]["files"]
        for name in _SPLITS:
            counts = written[name]["files"]
            written[name]["files"] = {file: count for file, count in counts.items() if count}
            targets = {Part.TRAIN.label: split["train_targets"], **split["targets"]}
            written[name]["targets"] = targets[name]

    def _finish(self, line: str) -> dict[str, Any]:
        """Writes what describes the examples, and removes the work files."""
        config, state, counts = self._config, self._state, self._counts()
        split = ingest_report.add_split_facts([state["split"]])
        ingest_report.check_split(str(self._old_dir), config.ingest, split)
        dense = self._stored.read_array(kept_sequences.DENSE_IDS, 0)
        vocabulary = grown_items.write_vocabulary(
            self._old_dir, self._dir, self._item_ids(), dense, counts[Part.TRAIN], self._items
        )
        statistics = ingest_report.build_statistics(config, vocabulary, split, [state["written"]])
        is_cold = counts[Part.TRAIN] == 0
        cold = {part.label: int(counts[part][is_cold].sum()) for part in HELD_OUT}
        statistics["split"] = split_report.describe(
            config.ingest, None, [state["sorted"]], [state["split"]], cold
        )
        old_report = storage.read_json(self._old_dir / records.INGEST_REPORT_NAME)
        in_log = self._stored.read_array(kept_sequences.ITEM_COUNTS, 0)
        rare = int(((in_log > 0) & (in_log < config.ingest.min_item_events)).sum())
        report = ingest_report.build_ingest_report(
            _join_names(self._log_names()),
            state["read"],
            [state["sorted"]],
            [state["split"]],
            rare,
            statistics,
            self._match_items(old_report, vocabulary),
        )
        report["similar_ids"]["items"] = old_report["similar_ids"]["items"]
        report["lines"] = [line, *ingest_report.report_lines(report)]
        ids = self._item_ids()
        tables = {p.label: pa.table({"item_id": ids, "count": counts[p]}) for p in Part}
        event_statistics.write_all(self._dir, tables, statistics, report)
        schema.write_for(self._dir, config, vocabulary.num_items)
        storage.write_json(self._dir / records.STATISTICS_NAME, statistics)
        storage.write_json(self._dir / records.INGEST_REPORT_NAME, report)
        state["generations"] += 1
        kept_sequences.write_state(self._dir, state)
        shutil.rmtree(self._dir / _WORK)
        return report

    def _match_items(
        self, old_report: Mapping[str, Any], vocabulary: grown_items.GrownItems
    ) -> dict[str, Any]:
        """How the items file matches: the new one, or that from before."""
        if self._items is None:
            return grown_items.match_grown(old_report, vocabulary.num_items, vocabulary.first_new)
        match = grown_items.match_file(self._items, self._dir)
        item_rows.check_match(match, self._config)
        return match


def _join_names(names: Sequence[str]) -> str:
    """What logs are called together.

    >>> _join_names(["may.csv", "monday.csv", "tuesday.csv"])
    'may.csv and 2 more'
    """
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
