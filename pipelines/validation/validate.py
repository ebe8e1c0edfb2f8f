"""The validation job: a log's examples beside those of an earlier run, within limits.

It reads what ingest left of both, not the events. Imports no TensorFlow.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import provenance, records
from pipelines.validation import measures, tables
from pipelines.validation.measures import Counts
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import folders, storage

JOB = "validate"
_SHOWN_ITEMS = 10
_SHOWN_GAPS = 5

_log = logging.getLogger(__name__)


def find_examples(path: str | Path) -> Path | None:
    """The folder of examples of a run, or that folder itself; None where there is none."""
    for folder in (records.RunPaths.under(path).examples, Path(path)):
        record = records.read_record(folder)
        if record is not None and record.get("job") == "ingest":
            return folder
    return None


def require_examples(previous: str | Path, but: Path | None = None) -> Path:
    """The examples of the earlier run that a log is compared with.

    Args:
        previous: The run, or its examples.
        but: Where the examples of the log itself will be, or are.

    Raises:
        InputError: There are none, or they are the log's own.
    """
    found = find_examples(previous)
    if found is None:
        raise InputError(
            f"--previous={previous} has no finished examples. Name the folder of an earlier run, "
            "or of its examples."
        )
    if but is not None and found.resolve() == but.resolve():
        raise InputError(
            f"--previous={previous} is the run that is to be written. Choose another --output."
        )
    return found


def validation_record(
    config: RecallConfig, examples_dir: str | Path, previous: str | Path | None
) -> dict[str, Any]:
    """The record of what makes a validation.

    Raises:
        InputError: An input is not finished.
    """
    inputs = {"examples": records.checksum_of_record(examples_dir, "ingest")}
    if previous is not None:
        earlier = require_examples(previous)
        inputs["previous"] = records.checksum_of_record(earlier, "ingest")
    return records.build_record(JOB, config.to_dict(["validation"]), inputs)


@provenance.measured
def run_validation(
    examples_dir: str | Path,
    output_dir: str | Path,
    config: RecallConfig,
    previous: str | Path | None = None,
) -> dict[str, Any]:
    """Measures a log, compares it with an earlier one, and holds both against the limits.

    Args:
        examples_dir: Folder of a finished `recall ingest`.
        output_dir: Folder to write. It appears whole, or stays as it was; also where a limit
            is broken.
        config: Its section `validation` has the limits.
        previous: Folder of an earlier run, or of its examples; None measures what needs none.

    Returns:
        The content of validation.json.

    Raises:
        InputError: A limit is broken, or a folder is missing or damaged.
    """
    record = validation_record(config, examples_dir, previous)
    earlier = None if previous is None else require_examples(previous)
    limits = config.to_dict(["validation"])["validation"]
    measured, changes, gaps = measure(Path(examples_dir), earlier)
    checks = measures.judge(measured, limits)
    result = {
        "previous": None if previous is None else str(previous),
        "passed": all(check["holds"] for check in checks),
        "checks": checks,
        "not_checked": _warn_of_unmeasured(limits, measured),
        "gaps": gaps,
        "largest_changes": changes,
    }
    with folders.atomic_directory(output_dir) as staging:
        storage.write_json(staging / records.VALIDATION_NAME, result)
        records.write_record(staging, record)
    require_passed(result)
    return result


def passed(output_dir: str | Path) -> bool:
    """Whether there is a finished validation in a folder, in which all limits held."""
    if records.read_record(output_dir) is None:
        return False
    return bool(storage.read_json(Path(output_dir) / records.VALIDATION_NAME)["passed"])


def require_passed(result: Mapping[str, Any]) -> None:
    """Refuses a log that breaks a limit.

    Raises:
        InputError: It does.
    """
    broken = {check["name"]: describe(check) for check in result["checks"] if not check["holds"]}
    if "missing_days" in broken:
        broken["missing_days"] += f": {tables.show_gaps(result['gaps'])}"
    if broken:
        beside = f" beside {result['previous']}" if result["previous"] else ""
        raise InputError(
            f"The log is not fit to be trained on{beside}: {'; '.join(broken.values())}. Look at "
            "the section about it in the report, mend the log, or change the limit."
        )


def describe(check: Mapping[str, Any]) -> str:
    """A check in words.

    >>> describe({"name": "new_items", "value": 0.25, "limit": ["max", 0.1], "holds": False})
    'new_items is 0.25 (validation.max_new_items=0.1)'
    """
    kind, bound = check["limit"]
    value = measures.show_measure(check["value"])
    return f"{check['name']} is {value} (validation.{kind}_{check['name']}={bound:g})"


def measure(
    examples_dir: Path, earlier_dir: Path | None
) -> tuple[dict[str, float], list[dict[str, Any]], dict[str, Any] | None]:
    """Measures of a log, the items whose share of the clicks changed most, and missing days.

    Args:
        examples_dir: Folder of its examples.
        earlier_dir: Folder of those of an earlier log; None leaves out what compares.
    """
    now = _Log(examples_dir)
    dropped = now.report["dropped"]
    read = now.report["events_read"] + dropped["bad_rows"]["rows"]
    clicks = now.statistics["splits"]["test"]["events"]
    cold = now.statistics.get("split", {}).get("cold_targets", {}).get("test", 0)
    measured: dict[str, float] = {
        "bad_rows": measures.share(dropped["bad_rows"]["rows"], read),
        "duplicates": measures.share(dropped["duplicates"]["events"], now.report["events_read"]),
        "cold_targets": measures.share(cold, clicks),
    }
    gaps = None
    if now.days:
        measured["missing_days"] = measures.count_missing_days(now.days)
        gaps = _name_gaps(now.days)
    if earlier_dir is None:
        return measured, [], gaps
    before = _Log(earlier_dir)
    measured |= measures.compare_items(now.counts, before.counts)
    measured["length_jensen_shannon"] = measures.compare_lengths(now.lengths, before.lengths)
    lost = before.statistics["num_events"] - now.statistics["num_events"]
    measured["event_loss"] = max(0.0, measures.share(lost, before.statistics["num_events"]))
    if now.days and before.days:
        measured["new_days"] = measures.count_new_days(now.days, before.days)
    return measured, measures.largest_changes(now.counts, before.counts, _SHOWN_ITEMS), gaps


def _name_gaps(days: list[list[int]]) -> dict[str, Any]:
    """How many gaps of days without an event there are, and the dates of the longest ones."""
    gaps = measures.find_gaps(days)
    named = [[str(np.datetime64(day, "D")) for day in gap] for gap in gaps[:_SHOWN_GAPS]]
    return {"number": len(gaps), "longest": named}


def _warn_of_unmeasured(limits: Mapping[str, Any], measured: Mapping[str, float]) -> list[str]:
    """The limits that hold nobody back, because there was nothing to measure."""
    idle = [
        f"validation.{key}"
        for key, bound in limits.items()
        if bound is not None and key.partition("_")[2] not in measured
    ]
    if idle:
        _log.warning(
            "Not checked: %s. What compares needs an earlier run (--previous), what is about days "
            "needs times.",
            ", ".join(idle),
        )
    return idle


class _Log:
    """What ingest left of a log."""

    def __init__(self, examples_dir: Path):
        records.require(examples_dir, "ingest")
        self.report = storage.read_json(examples_dir / records.INGEST_REPORT_NAME)
        self.statistics = storage.read_json(examples_dir / records.STATISTICS_NAME)
        vocabulary = records.read_vocabulary(examples_dir)
        self.counts = Counts(vocabulary.item_ids, vocabulary.counts)
        self.lengths = self.statistics["lengths"]
        self.days = self.report["clicks_by_day"]
