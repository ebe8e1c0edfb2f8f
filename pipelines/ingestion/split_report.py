"""The split of a log in checks, statistics and lines: its clock, its sessions, what is cold.

Imports no TensorFlow, no Beam.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np

from pipelines.ingestion import splits
from pipelines.ingestion.sequences import Part
from pipelines.ingestion.splits import HELD_OUT, Clock
from pipelines.sources.events import EventSource
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.ingest import IngestConfig

_NAMES = {Part.VALID.label: "validation", Part.TEST.label: "the test"}


def find_clock(
    spec: str, config: IngestConfig, sorted_facts: Sequence[Mapping[str, Any]]
) -> Clock | None:
    """The clock of protocol `temporal`, None under another one.

    Raises:
        InputError: See `splits.choose_clock`.
    """
    if config.protocol != "temporal":
        return None
    return splits.choose_clock(spec, config, sorted_facts)


def check_columns(source: EventSource, config: IngestConfig) -> None:
    """Refuses a log without the columns that the settings need.

    Raises:
        InputError: It has no split, or no times.
    """
    if config.protocol == "provided" and not source.has_split:
        raise InputError(
            f"{source.spec} has no split column, which ingest.protocol=provided needs. Add the "
            "column, name it with --split_column, or choose another protocol."
        )
    for name in ("max_age_days", "session_gap_minutes"):
        if getattr(config, name) is not None and not source.columns.has_time:
            raise InputError(
                f"{source.spec} is read without times, which ingest.{name} needs. Name their "
                "column with --timestamp_column, or leave the setting out."
            )


def check_conflicts(spec: str, sorted_facts: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a split column that puts one event into training and among the targets.

    Raises:
        InputError: It does.
    """
    found = [fact["conflicts"] for fact in sorted_facts if "conflicts" in fact]
    number = sum(conflict["events"] for conflict in found)
    if number == 0:
        return
    first = min(
        (row for conflict in found for row in conflict["first"]),
        key=lambda row: (row["user_id"], row["item_id"]),
    )
    raise InputError(
        f"{spec} has {number:,} events in several parts of its split (the same user, item and "
        f"time), for example user {first['user_id']!r}, item {first['item_id']!r} in "
        f"{' and '.join(map(repr, first['split_distinct']))}: a target would leak. Keep each "
        "event once."
    )


def check_times(spec: str, config: RecallConfig, split_facts: Sequence[Mapping[str, Any]]) -> None:
    """Refuses numbers that only give an order where a model is to learn from times.

    Raises:
        InputError: There are such.
    """
    timed = sum(events for fact in split_facts for _, events in fact["days"])
    total = sum(sum(fact["events"].values()) for fact in split_facts)
    if config.needs_times and timed < total:
        need, remedy = "model.time_bias needs", "setting"
        if not config.model.time_bias:
            need, remedy = "features of kind timestamp need", "features"
        raise InputError(
            f"{spec} has no times, which {need}: {total - timed:,} of its "
            f"timestamps only give an order. Leave the {remedy} out."
        )


def check_leaks(spec: str, split_facts: Sequence[Mapping[str, Any]]) -> None:
    """Refuses parts that the clock forbids, before anything of them is written.

    Raises:
        InputError: A target leaks.
    """
    leaks = [row for fact in split_facts for row in fact.get("leak", ())]
    if leaks:
        row = min(leaks, key=lambda row: row["row"])
        raise InputError(
            f"{spec}: the split leaks. Data row {row['row'] + 1} (user {row['user_id']!r}, item "
            f"{row['item_id']!r}, {show_time(row['timestamp'])}) is on the wrong side of the clock."
        )


def count_cold(counts: Mapping[Part, np.ndarray]) -> dict[str, int]:
    """Held-out part -> targets on items that training never saw."""
    is_cold = counts[Part.TRAIN] == 0
    return {part.label: int(counts[part][is_cold].sum()) for part in HELD_OUT}


def why_no_target(config: IngestConfig, part: Part, spans: Mapping[str, Sequence[float]]) -> str:
    """Why a held-out part of protocol `temporal` is empty, and what to do."""
    first = min(first for first, _ in spans.values())
    last = max(last for _, last in spans.values())
    setting = "ingest.valid_from" if part == Part.VALID else "ingest.test_from"
    wanted = getattr(config, setting.removeprefix("ingest."))
    by = f"{setting}={wanted}" if wanted else f"ingest.{part.label}_share"
    return (
        f"no user has a click for {_NAMES[part.label]} with one before it ({by}, "
        f"ingest.embargo_days={config.embargo_days:g}). The log goes from {show_time(first)} to "
        f"{show_time(last)}: choose another time, a larger share or a shorter embargo."
    )


def add_ignored_column(report: dict[str, Any], source: EventSource) -> None:
    """Says in a report which column of splits the log has and the protocol does not use."""
    if source.has_split and not source.use_split:
        report["ignored_split_column"] = source.columns.split


def describe(
    config: IngestConfig,
    clock: Clock | None,
    sorted_facts: Sequence[Mapping[str, Any]],
    split_facts: Sequence[Mapping[str, Any]],
    cold_targets: Mapping[str, int],
) -> dict[str, Any]:
    """The part `split` of `statistics.json`.

    Args:
        config: The settings of ingest.
        clock: From `find_clock`.
        sorted_facts: What `SortShard` left.
        split_facts: What `SplitShard` left.
        cold_targets: Held-out part -> targets on items without a training event.

    Returns:
        `protocol`; `clock` and how it was chosen; `sessions_of_users`, where sequences are
        sessions; `spans`, part -> first and last time; `cold_users`, held-out part -> users
        with targets but without a training event; `cold_targets`.
    """
    users = sum(fact["users"] for fact in sorted_facts)
    return {
        "protocol": config.protocol,
        "clock": None
        if clock is None
        else {
            "valid_from": show_time(clock.valid_from),
            "test_from": show_time(clock.test_from),
            "embargo_days": config.embargo_days,
            "chosen_by": "share" if config.test_from is None else "date",
            "targets_of_a_user": config.num_targets,
        },
        "sessions_of_users": None if config.session_gap_minutes is None else users,
        "session_gap_minutes": config.session_gap_minutes,
        "spans": {
            part: [show_time(time) for time in span]
            for part, span in splits.add_spans(split_facts).items()
        },
        "cold_users": {
            part.label: sum(fact["cold_users"][part.label] for fact in split_facts)
            for part in HELD_OUT
        },
        "cold_targets": dict(cold_targets),
    }


def lines(split: Mapping[str, Any]) -> list[str]:
    """The split in a few lines for people; none of what every log has.

    Args:
        split: From `describe`.
    """
    told = []
    if split["sessions_of_users"] is not None:
        told.append(
            f"Users stand for sessions: those of {split['sessions_of_users']:,} users, with gaps "
            f"of at most {split['session_gap_minutes']:g} minutes."
        )
    clock = split["clock"]
    if clock is not None:
        embargo = clock["embargo_days"]
        told.append(
            f"Training ends and validation begins at {clock['valid_from']}, the test at "
            f"{clock['test_from']}"
            + (f"; the {_days(embargo)} before either are history only." if embargo else ".")
        )
        cold, targets = split["cold_users"], split["cold_targets"]
        told.append(
            f"Of the test users {cold['test']:,} are new after training's end (validation: "
            f"{cold['valid']:,}); {targets['test']:,} clicks of the test are on items that it "
            f"never saw (validation: {targets['valid']:,})."
        )
    return told


def _days(number: float) -> str:
    """
    >>> _days(1.0), _days(0.5)
    ('24 hours', '12 hours')
    """
    return f"{24 * number:g} hours"


def show_time(seconds: float) -> str:
    """A time in UTC, ISO 8601 without what is zero.

    >>> show_time(0.0), show_time(90061.5)
    ('1970-01-01', '1970-01-02T01:01:01')
    """
    time = datetime.fromtimestamp(int(seconds), timezone.utc)
    return time.strftime("%Y-%m-%d" if seconds % splits.DAY_S == 0 else "%Y-%m-%dT%H:%M:%S")
