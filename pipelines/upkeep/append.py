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

    The examples are then those of one log that holds the old events and, after them,
    the new ones, but for the numbers of items: old items keep their dense ids, new ones
    follow. Of the old events only the sequences of users who change are read.

    Args:
        source: The new events.
        examples_dir: What ingest made with `ingest.keep_sequences`.
        config: The settings that it was made with.
        items_file: Categories, titles and features of all items, old and new; None leaves the
            old ones as they are, and new items without.
        max_bad_rows: Rows of the new log that may be unusable.
        beam_args: Flags for Beam's `PipelineOptions`.

    Returns:
        The report. When these events are there already it is the stored one.

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


def _warn_of_files_left_out(
    wanted: dict[str, str], items_file: ItemsFile | None, examples_dir: Path, known: dict[str, str]
) -> None:
    """Says that another items or users file than the examples have is not taken in."""
    given = {"users": wanted.get("users")}
    given["items"] = None if items_file is None else items_file.fingerprint()
    for name, fingerprint in sorted(given.items()):
        if fingerprint not in (None, known.get(name)):
            _log.warning(
                "%s keeps the %s file it has: another one is only taken in with new events. "
                "Give --%s with the next day, or make all examples again.",
                examples_dir,
                name,
                name,
            )


def _append(
    source: EventSource,
    items_file: ItemsFile | None,
    examples_dir: Path,
    record: dict[str, Any],
    config: RecallConfig,
    max_bad_rows: int,
    beam_args: Sequence[str],
) -> dict[str, Any] | None:
    """The report, None where the events are there already."""
    wanted = ingest.ingest_record(source, None, config)
    if not source.columns.has_time:
        raise InputError(
            f"{source.spec} has no times: nothing tells that its events come after the old ones."
        )
    # Settings that came with a later version were as they are by default.
    defaults = ingest.ingest_record(source, None, RecallConfig())["settings"]["ingest"]
    record["settings"]["ingest"] = {**defaults, **record["settings"]["ingest"]}
    same_settings.check(examples_dir, record["settings"], wanted["settings"])
    split_report.check_columns(source, config.ingest)
    source = log_features.open_with(source, config)
    if wanted["inputs"]["events"] in record["inputs"].values():
        _warn_of_files_left_out(wanted["inputs"], items_file, examples_dir, record["inputs"])
        return None
    source = copy.copy(source)
    source.use_split = config.ingest.protocol == "provided"
    name = f"events_{sum(name.startswith('events') for name in record['inputs']) + 1}"
    record["inputs"][name] = wanted["inputs"]["events"]
    if "users" in wanted["inputs"]:
        record["inputs"]["users"] = wanted["inputs"]["users"]
    items = None
    if items_file is not None:
        record["inputs"]["items"] = items_file.fingerprint()
        items = item_rows.items_of(source, items_file, config)
    with folders.atomic_directory(examples_dir, links_are_flushed=True) as staging:
        report = Change(examples_dir, staging, config, beam_args).append(
            source, max_bad_rows, items
        )
        records.write_record(staging, record)
    return report
