"""`recall ingest --append`: the days of a new log, added to examples that are there."""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.artifacts import provenance, records
from pipelines.ingestion import ingest, split_report, warning_lines
from pipelines.ingestion.events import log_features
from pipelines.sources import item_rows
from pipelines.sources.events import EventSource
from pipelines.sources.items import ItemsFile
from pipelines.upkeep import same_settings
from pipelines.upkeep.change import Change
from pipelines.upkeep.examples_folder import locked_examples
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import folders, storage

_log = logging.getLogger(__name__)


@provenance.measured
def append_events(
    source: EventSource,
    examples_dir: str | Path,
    config: RecallConfig,
    *,
    items_file: ItemsFile | str | None = None,
    max_bad_rows: int = 0,
    beam_args: Sequence[str] = (),
) -> dict[str, Any]:
    """Adds events to the examples of a log, whole or not at all.

    Events that are there already bring in what other files of items and users say.

    The examples are then those of one log that holds the old events and, after them,
    the new ones, but for the numbers of items: old items keep their dense ids, new ones
    follow. Of the old events only the sequences of users who change are read.

    Args:
        source: The new events.
        examples_dir: What ingest made with `ingest.keep_sequences`.
        config: The settings that it was made with.
        items_file: Categories, titles and features of all items, old and new; None leaves the
            old ones as they are, and new items without. With one the settings may declare other
            features and attributes of items than before.
        max_bad_rows: Rows of the new log that may be unusable.
        beam_args: Flags for Beam's `PipelineOptions`.

    Returns:
        The report. When all of it is there already it is the stored one.

    Raises:
        InputError: The log or the folder is not usable, or was made with other settings.
    """
    examples_dir = Path(examples_dir)
    with locked_examples(examples_dir) as record:
        items_file = ItemsFile.of(items_file)
        report = _append(source, items_file, examples_dir, record, config, max_bad_rows, beam_args)
    if report is None:
        _log.info("%s has the events of %s already: nothing is added.", examples_dir, source.spec)
        return storage.read_json(examples_dir / records.INGEST_REPORT_NAME)
    warning_lines.log_lines(report["lines"], _log)
    _log.info("Wrote %s", examples_dir)
    return report


def _append(
    source: EventSource,
    items_file: ItemsFile | None,
    examples_dir: Path,
    record: dict[str, Any],
    config: RecallConfig,
    max_bad_rows: int,
    beam_args: Sequence[str],
) -> dict[str, Any] | None:
    """The report, None where all of it is there already."""
    wanted = ingest.ingest_record(source, items_file, config)
    if not source.columns.has_time:
        raise InputError(
            f"{source.spec} has no times: nothing tells that its events come after the old ones."
        )
    # Settings that came with a later version were as they are by default.
    defaults = ingest.ingest_record(source, None, RecallConfig())["settings"]["ingest"]
    record["settings"]["ingest"] = {**defaults, **record["settings"]["ingest"]}
    as_it_was = copy.deepcopy(record)
    if items_file is None:
        same_settings.check_items(examples_dir, record["settings"], wanted["settings"])
    else:
        record["settings"] = same_settings.with_items_of(record["settings"], wanted["settings"])
    same_settings.check(examples_dir, record["settings"], wanted["settings"])
    split_report.check_columns(source, config.ingest)
    source = log_features.open_with(source, config)
    is_known = wanted["inputs"]["events"] in record["inputs"].values()
    for name in sorted({"users", "items"} & wanted["inputs"].keys()):
        record["inputs"][name] = wanted["inputs"][name]
    if is_known and record == as_it_was:
        return None
    if not is_known:
        name = f"events_{sum(name.startswith('events') for name in record['inputs']) + 1}"
        record["inputs"][name] = wanted["inputs"]["events"]
    source = copy.copy(source)
    source.use_split = config.ingest.protocol == "provided"
    items = None if items_file is None else item_rows.items_of(source, items_file, config)
    with folders.atomic_directory(examples_dir, links_are_flushed=True) as staging:
        change = Change(examples_dir, staging, config, beam_args)
        if is_known:
            report = change.take_files(source, items)
        else:
            report = change.append(source, max_bad_rows, items)
        records.write_record(staging, record)
    return report
