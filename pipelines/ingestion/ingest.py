"""The ingest job: an interaction log -> training examples and held-out targets.

Runs the steps (`reading.py`, `steps.py`) and, between them, what needs the whole
catalogue but not the whole log. `python -m pipelines.ingest` is `recall ingest`.
"""

import copy
import functools
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.artifacts import item_attributes, provenance, records
from pipelines.artifacts.event_columns import ColumnsFound
from pipelines.ingestion import (
    event_statistics,
    kept_sequences,
    reading,
    schema,
    split_report,
    splitting,
    warning_lines,
)
from pipelines.ingestion import report as ingest_report
from pipelines.ingestion import steps as ingest_steps
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import kept_columns, kinds, log_features, user_rows
from pipelines.ingestion.reading import LogRuns
from pipelines.ingestion.sequences import Part
from pipelines.ingestion.splits import Clock
from pipelines.ingestion.step_runner import StepRunner
from pipelines.progress import tasks
from pipelines.sources import item_rows
from pipelines.sources.columns import id_checks
from pipelines.sources.events import EventSource
from pipelines.sources.items import ItemsFile
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.fitting import FittedColumn
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary
from serving.release import folders, storage

JOB = "ingest"
WRITTEN_SPLITS = ("train", "valid", "test")
_WORK_NAME = "work"

_log = logging.getLogger(__name__)


def ingest_record(
    source: EventSource, items_file: ItemsFile | str | None, config: RecallConfig
) -> dict[str, Any]:
    """The record of the examples that `run_ingest` would make of these inputs."""
    inputs = {"events": source.fingerprint()}
    items_file = ItemsFile.of(items_file)
    if items_file is not None:
        inputs["items"] = items_file.fingerprint()
    settings = config.to_dict(["ingest"])
    settings["reading"] = {
        **source.options.to_dict(),
        "has_time": source.columns.has_time,
        **{name: getattr(source.columns, name) for name in source.columns.optional_fields.names},
    }
    settings["model"] = {"max_history_length": config.model.max_history_length}
    settings["model"] |= {"time_bias": True} if config.model.time_bias else {}
    of_items = config.features.attributes
    for key, declared in {"features": config.features.columns, "attributes": of_items}.items():
        settings |= {key: [one.to_dict() for one in declared]} if declared else {}
    inputs |= user_rows.inputs_of(source, config)
    return records.build_record(JOB, settings, inputs)


@provenance.measured
def run_ingest(
    source: EventSource,
    items_file: ItemsFile | str | None,
    output_dir: str | Path,
    config: RecallConfig,
    *,
    max_bad_rows: int = 0,
    beam_args: Sequence[str] = (),
    overwrite: bool = False,
) -> dict[str, Any]:
    """Reads a log and writes the folder of examples, whole or not at all.

    Events are ordered by (user, timestamp, row of the input). Then, in this
    order and each once: repeated (user, item, timestamp) are dropped, items
    with fewer than `min_item_events` events, users with fewer than
    `min_user_events` of the events left. Dropping users may bring an item
    below its minimum again; it stays.

    Args:
        source: The log.
        items_file: Items file, or its path; None takes what the source itself brings.
        output_dir: The folder to create; on a remote runner every worker must
            reach it under this path.
        config: Sections `ingest` and `model.max_history_length` are used.
        max_bad_rows: Rows that may be unusable; they are counted.
        beam_args: Flags for Beam's `PipelineOptions`, `--runner` among them.
        overwrite: Whether examples of another log may be replaced. A folder with
            anything else in it is never touched.

    Returns:
        The report, also stored as `ingest_report.json`. When the folder is up
        to date it is the stored report, and nothing is done.

    Raises:
        InputError: The log, the items file, a flag or the folder is not usable.
    """
    output_dir = Path(output_dir)
    runner = StepRunner(beam_args)
    split_report.check_columns(source, config.ingest)
    user_rows.check_file(source, config)
    kinds.check_source(source, config)
    with_features = log_features.open_with(source, config)
    record = ingest_record(source, items_file, config)
    if records.is_current(output_dir, record):
        _log.info("%s is up to date.", output_dir)
        return storage.read_json(output_dir / records.INGEST_REPORT_NAME)
    _check_output_dir(output_dir, record, overwrite)
    source = copy.copy(with_features)
    source.use_split = config.ingest.protocol == "provided"
    items = item_rows.items_of(source, ItemsFile.of(items_file), config)
    with folders.atomic_directory(output_dir) as staging:
        report = _Ingest(source, items, staging, config, runner).run(max_bad_rows)
        records.write_record(staging, record)
    warning_lines.log_lines(report["lines"], _log)
    return report


def _check_output_dir(output_dir: Path, record: dict[str, Any], overwrite: bool) -> None:
    """Refuses to replace another dataset, and always what no job of ours made."""
    records.check_output(output_dir, JOB, overwrite=overwrite)
    old = records.read_record(output_dir)
    if old is not None and old.get("inputs") != record["inputs"] and not overwrite:
        raise InputError(
            f"{output_dir} belongs to another dataset. "
            "Choose another folder, or pass --overwrite to replace it."
        )


class _Ingest:
    """One run of the job in a staging folder."""

    def __init__(
        self,
        source: EventSource,
        items: pa.Table | None,
        staging: Path,
        config: RecallConfig,
        runner: StepRunner,
    ):
        self._source, self._items, self._config = source, items, config
        self._runner = runner
        self._examples_dir = staging.absolute()
        self._work_dir = self._examples_dir / _WORK_NAME
        self._files = ShardFiles(self._work_dir)

    def run(self, max_bad_rows: int) -> dict[str, Any]:
        """Runs the steps and writes every file but `artifact.json`."""
        self._work_dir.mkdir()
        read, runs = reading.read_log(
            self._source, max_bad_rows, self._config.ingest, self._files, self._runner
        )
        runs.kinds.check_clicks(self._source, self._config)
        sorted_facts = self._sort(runs, read["events_read"])
        rare_items, item_look_alikes = self._choose_items()
        clock, split_facts = self._split(sorted_facts)
        split = ingest_report.add_split_facts(split_facts)
        ingest_report.check_split(self._source.spec, self._config.ingest, split)
        counts = {part: self._sum(name) for part, name in ingest_steps.PART_COUNTS.items()}
        vocabulary, items = self._number_items(counts)
        vocabulary = user_rows.add_users(vocabulary, self._source, self._config, self._files)
        of_log = self._config.features.of_log
        log_columns, value_counts = log_features.fit_shards(of_log, self._files, self._shards)
        written = self._write(log_columns)
        keeps = self._config.ingest.keep_sequences
        of_examples = log_columns if keeps else [c.with_numbers(()) for c in log_columns]
        vocabulary = vocabulary.with_log_columns(of_examples)
        statistics = ingest_report.build_statistics(self._config, vocabulary, split, written)
        statistics["split"] = split_report.describe(
            self._config.ingest, clock, sorted_facts, split_facts, split_report.count_cold(counts)
        )
        statistics |= kinds.describe(
            kinds.count_all(runs.kinds.names, sorted_facts),
            has_weights=runs.has_weights,
            config=self._config,
            shown=kinds.count_shown(written),
            features=log_features.describe(log_columns, value_counts, self._config),
        )
        report = ingest_report.build_ingest_report(
            self._source.name, read, sorted_facts, split_facts, rare_items, statistics, items
        )
        report["similar_ids"]["items"] = item_look_alikes
        report["user_features"] = user_rows.describe(vocabulary, self._config, written)
        report["dropped"]["cold_items"]["items"] = self._num_cold
        split_report.add_ignored_column(report, self._source)
        report = ingest_report.name_log(report, self._source.spec, self._source.name)
        report["lines"] = [
            *ingest_report.report_lines(report),
            *split_report.lines(statistics["split"]),
            *warning_lines.lines_of_clicks(statistics),
        ]
        tables = event_statistics.tables_of(self._item_ids(), counts)
        event_statistics.write_all(self._examples_dir, tables, statistics, report)
        if keeps:
            self._keep(runs, read, sorted_facts, split_facts, counts, statistics)
        self._finish(vocabulary, statistics, report)
        return report

    @property
    def _shards(self) -> range:
        return range(self._config.ingest.num_shards)

    def _sort(self, runs: LogRuns, num_events: int) -> list[dict]:
        """Events by shard -> ordered logs; facts of every shard."""
        step = ingest_steps.SortShard(self._config.ingest, runs, self._work_dir)
        with tasks.open_task(ingest_steps.SORTING, total=len(self._shards), unit="shards"):
            self._runner.run(step, self._shards)
        reading.remove_runs(self._files)
        found = self._files.read_all_facts(ingest_steps.SORTED)
        ingest_report.check_read(self._source.spec, num_events, found)
        return found

    def _sum(self, step: str) -> np.ndarray:
        """`[num_items]`, the sum of what a step has counted in all shards."""
        return functools.reduce(np.add, self._files.read_all_arrays(step))

    def _item_ids(self) -> pa.StringArray:
        """Ids of all items, by their numbers."""
        return self._files.read_batch(reading.ITEMS, 0)["item_id"]

    def _choose_items(self) -> tuple[int, dict[str, Any]]:
        """Stores which items are frequent enough.

        Returns:
            How many are not, and ids of items that are probably one.
        """
        counts = self._sum(ingest_steps.ITEM_COUNTS)
        frequent = counts >= self._config.ingest.min_item_events
        self._files.write_array(ingest_steps.FREQUENT_ITEMS, 0, frequent)
        cold = splitting.choose_cold_items(self._config.ingest, self._item_ids(), counts > 0)
        self._files.write_array(ingest_steps.COLD_ITEMS, 0, cold)
        self._num_cold = int(cold.sum())
        look_alikes = id_checks.find_look_alikes(self._item_ids().filter(pa.array(counts > 0)))
        return int(((counts > 0) & ~frequent).sum()), look_alikes

    def _split(self, sorted_facts: Sequence[Mapping]) -> tuple[Clock | None, list[dict]]:
        """Gives every event its part; the clock, and facts of every shard."""
        spec = self._source.spec
        split_report.check_conflicts(spec, sorted_facts)
        clock = split_report.find_clock(spec, self._config.ingest, sorted_facts)
        step = ingest_steps.SplitShard(self._config, clock, self._work_dir)
        with tasks.open_task(ingest_steps.SPLITTING, total=len(self._shards), unit="shards"):
            self._runner.run(step, self._shards)
        if not self._config.ingest.keep_sequences:
            ingest_steps.remove_sequences(self._files, ingest_steps.SORTED)
        found = self._files.read_all_facts(ingest_steps.SPLIT)
        split_report.check_leaks(spec, found)
        split_report.check_times(spec, self._config, found)
        return clock, found

    def _number_items(
        self, counts: Mapping[Part, np.ndarray]
    ) -> tuple[ItemVocabulary, dict[str, Any]]:
        """Orders the items by training count and adds what the items file says."""
        kept = np.flatnonzero(functools.reduce(np.add, counts.values()))
        clicks = counts[Part.TRAIN][kept]
        order = np.argsort(-clicks, kind="stable")  # items of one count: by id as text
        kept, clicks = kept[order], clicks[order]
        dense = np.zeros(int(kept.max(initial=0)) + 1, np.int64)
        dense[kept] = np.arange(len(kept)) + FIRST_ITEM_ID
        self._files.write_array(ingest_steps.DENSE_IDS, 0, dense)
        log_ids = self._item_ids().take(pa.array(kept))
        item_ids = log_ids.to_pylist()
        if self._items is None:
            return ItemVocabulary(item_ids, clicks), {}
        found = item_rows.join_log(self._items, log_ids, clicks, self._config)
        kept = item_rows.attribute_rows(self._items, found[0], self._config.features.attributes)
        item_attributes.write(self._examples_dir, kept)
        return found

    def _write(self, log_columns: Sequence[FittedColumn]) -> list[dict]:
        """Writes the TFRecord files; facts of every shard."""
        folder = self._examples_dir
        for split in WRITTEN_SPLITS:
            (folder / f"Split-{split}").mkdir()
        if self._config.ingest.keep_sequences:
            (folder / kept_sequences.FOLDER).mkdir()
        step = ingest_steps.WriteShard(self._config, folder, self._work_dir, log_columns)
        with tasks.open_task(ingest_steps.WRITING, total=len(self._shards), unit="shards"):
            self._runner.run(step, self._shards)
        return self._files.read_all_facts(ingest_steps.WRITTEN)

    def _keep(
        self,
        runs: LogRuns,
        read: dict[str, Any],
        sorted_facts: list[dict],
        split_facts: list[dict],
        counts: Mapping[Part, np.ndarray],
        statistics: Mapping[str, Any],
    ) -> None:
        """Stores what a later change of the examples begins with, beside the sequences."""
        item_ids, folder = self._item_ids(), self._examples_dir
        dense = np.zeros(len(item_ids), np.int64)
        numbered = self._files.read_array(ingest_steps.DENSE_IDS, 0)
        dense[: len(numbered)] = numbered
        in_log = self._sum(ingest_steps.ITEM_COUNTS)
        kept_sequences.write_items(folder, item_ids, dense, in_log, counts)
        state = kept_sequences.first_state(statistics, sorted_facts, split_facts)
        kept_sequences.write_state(folder, state | {"latest_s": runs.latest_s, "read": read})
        stored, features = kept_sequences.open_files(folder), self._config.features.of_log
        kept_columns.keep(stored, self._files, features, self._shards)

    def _finish(
        self, vocabulary: ItemVocabulary, statistics: dict[str, Any], report: dict[str, Any]
    ) -> None:
        """Writes what describes the examples and removes the work files."""
        columns = ColumnsFound.of_statistics(statistics)
        schema.write_for(self._examples_dir, self._config, vocabulary.num_items, columns)
        records.write_vocabulary(self._examples_dir, vocabulary)
        storage.write_json(self._examples_dir / records.STATISTICS_NAME, statistics)
        storage.write_json(self._examples_dir / records.INGEST_REPORT_NAME, report)
        shutil.rmtree(self._work_dir)
