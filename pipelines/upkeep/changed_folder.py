"""A folder of examples that is being changed: what it has, and what describes it in the end.

Imports no TensorFlow.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.artifacts import records
from pipelines.artifacts.event_columns import ColumnsFound
from pipelines.ingestion import (
    event_statistics,
    kept_sequences,
    schema,
    split_report,
    warning_lines,
)
from pipelines.ingestion import report as ingest_report
from pipelines.ingestion.encoding import facts
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import kinds, log_names, user_rows
from pipelines.ingestion.sequences import Part
from pipelines.ingestion.splits import HELD_OUT
from pipelines.ingestion.step_runner import StepRunner
from pipelines.sources import item_rows
from pipelines.upkeep import (
    grown_items,
    grown_users,
    split_users,
    steps,
)
from pipelines.upkeep.grown_items import LogItems
from pipelines.upkeep.split_users import BEFORE, NOW
from pipelines.upkeep.steps import Place
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.ingest import IMPRESSION
from serving.release import storage

_SPLITS = ("train", "valid", "test")
_WORK = "work"


class ChangedFolder:
    """What is there of a folder of examples, in a staging folder, and what is said of it."""

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
        self._catalogue: LogItems | None = None
        self._num_found, self._log_columns, self._log_facts = 0, [], {}
        self._users = grown_users.read(old_dir) if config.features.of("user") else None
        self._place = Place(self._dir, work_dir, self._state["generations"])
        for name in (steps.FORGOTTEN, steps.NEWLY_KNOWN):
            self._write_users(name, pa.array([], pa.string()))

    def _write_users(self, name: str, user_ids: pa.StringArray) -> None:
        users = pa.RecordBatch.from_arrays([user_ids], names=["user_id"])
        self._files.write_batches(name, 0, [users])

    @property
    def _kinds(self) -> dict[str, int]:
        """Kinds of events in the order of their numbers, and how many there are of each."""
        return self._state.get("kinds") or {}

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
        has_values = bool(log_names.with_values(self._config.features.of_log))
        expected = {"kinds": self._kinds, "weights": self._state.get("weights")}
        columns = [name for name, is_there in expected.items() if is_there]
        columns += ["values"] * has_values
        users = [user_rows.KNOWN_USERS] * bool(self._config.features.of("user"))
        kept_sequences.check_files(self._stored, columns, users)

    def _log_names(self) -> list[str]:
        """What the logs are called, the first one first."""
        if "logs" in self._state:
            return self._state["logs"]
        return [storage.read_json(self._old_dir / records.INGEST_REPORT_NAME)["source"]]

    def _add_split_facts(self) -> None:
        split = self._state["split"]
        for shard in split_users.read_facts(self._files):
            split = facts.add(facts.add(split, shard[BEFORE], -1), shard[NOW])
        self._state["split"] = split
        for part, changes in split_users.sum_parts(self._files, len(self._item_ids())).items():
            kept = kept_sequences.part_counts(part)
            self._stored.write_array(kept, 0, self._stored.read_array(kept, 0) + changes)

    def _counts(self) -> dict[Part, np.ndarray]:
        """Part -> `[num_items]` its events by item."""
        return {p: self._stored.read_array(kept_sequences.part_counts(p), 0) for p in Part}

    def _item_ids(self) -> pa.StringArray:
        return kept_sequences.read_catalogue(self._stored)

    def _add_written(self) -> None:
        """Files and targets of every split."""
        written, split = self._state["written"], self._state["split"]
        for shard in self._files.read_all_facts(steps.WRITTEN):
            for name in _SPLITS:
                counts = written[name]["files"]
                counts |= shard["old_files"].get(name, {})
                counts |= shard["new"][name]["files"]
            if IMPRESSION in self._kinds:
                self._state["shown"] = (self._state.get("shown") or 0) + shard["shown"]
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
        vocabulary = grown_items.write_vocabulary(
            self._old_dir, self._dir, self._catalogue, config, self._items
        )
        self._write_columns()
        statistics = ingest_report.build_statistics(config, vocabulary, split, [state["written"]])
        is_cold = counts[Part.TRAIN] == 0
        cold = {part.label: int(counts[part][is_cold].sum()) for part in HELD_OUT}
        statistics["split"] = split_report.describe(
            config.ingest, None, [state["sorted"]], [state["split"]], cold
        )
        statistics |= kinds.describe(
            self._kinds,
            has_weights=bool(state.get("weights")),
            config=config,
            shown=state.get("shown"),
            features=self._log_facts,
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
        report["user_features"] = self._describe_users()
        report["similar_ids"]["items"] = old_report["similar_ids"]["items"]
        report["lines"] = [
            line,
            *ingest_report.report_lines(report),
            *warning_lines.lines_of_clicks(statistics),
        ]
        tables = event_statistics.tables_of(self._item_ids(), counts)
        event_statistics.write_all(self._dir, tables, statistics, report)
        columns = ColumnsFound.of_statistics(statistics)
        schema.write_for(self._dir, config, vocabulary.num_items, columns)
        storage.write_json(self._dir / records.STATISTICS_NAME, statistics)
        storage.write_json(self._dir / records.INGEST_REPORT_NAME, report)
        state["generations"] += 1
        kept_sequences.write_state(self._dir, state)
        shutil.rmtree(self._dir / _WORK)
        return report

    def _describe_users(self) -> dict[str, Any] | None:
        """What the report says of the users file; None where no feature needs one."""
        if self._users is None:
            return None
        return grown_users.describe(self._stored, self._users, self._config)

    def _write_columns(self) -> None:
        """What was learnt of features of users and of events, beside the vocabulary."""
        if self._users is not None:
            grown_users.write(self._dir, self._users)
        records.write_log_columns(self._dir, self._log_columns)

    def _match_items(
        self, old_report: Mapping[str, Any], vocabulary: grown_items.GrownItems
    ) -> dict[str, Any]:
        """How the items file matches: the new one, or that from before."""
        if self._items is None:
            match = grown_items.match_grown(
                old_report, self._catalogue, self._num_found, vocabulary.first_new
            )
        else:
            match = grown_items.match_file(self._items, self._catalogue)
            item_rows.check_match(match, self._config)
        return match | item_rows.describe(
            vocabulary.features, vocabulary.num_unclicked, self._config
        )


def _join_names(names: Sequence[str]) -> str:
    """What logs are called together.

    >>> _join_names(["may.csv", "monday.csv", "tuesday.csv"])
    'may.csv and 2 more'
    """
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
