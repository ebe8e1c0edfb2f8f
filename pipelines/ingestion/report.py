"""What ingest read, dropped and kept: checks, statistics, report, log lines.

Adds up the facts that the steps left per shard. Imports no TensorFlow, no Beam.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipelines.ingestion import split_report, splits
from pipelines.ingestion.sequences import Part, events_needed
from pipelines.ingestion.warning_lines import warning_lines
from pipelines.ingestion.windows import bucket_boundaries
from pipelines.sources.columns import id_checks
from pipelines.sources.columns.time_findings import time_lines
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.ingest import IngestConfig
from recall.vocabulary import ItemVocabulary

_SHOWN_ROWS = 3


def add_dropped(facts: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Adds up one kind of dropped events; the first rows of the input are shown."""
    kinds = [fact[name] for fact in facts if name in fact]
    numbers = sorted({key for kind in kinds for key in kind if key != "first"})
    total = {key: sum(kind[key] for kind in kinds) for key in numbers}
    rows = [row for kind in kinds for row in kind["first"]]
    rows.sort(key=lambda row: (row["row"] is None, row["row"]))  # Of appended days none is known.
    return {"events": 0, **total, "first": rows[:_SHOWN_ROWS]}


def add_split_facts(facts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds up what `SplitShard` left."""
    lengths: dict[int, int] = {}
    for length, users in (pair for fact in facts for pair in fact["lengths"]):
        lengths[length] = lengths.get(length, 0) + users
    numbers = ("training_only_users", "training_sequences", "training_events_after_targets")
    return {
        "lengths": dict(sorted(lengths.items())),
        "users": sum(lengths.values()),
        "events": _add_maps(fact["events"] for fact in facts),
        "targets": _add_maps(fact["targets"] for fact in facts),
        "spans": splits.add_spans(facts),
        **{name: sum(fact[name] for fact in facts) for name in numbers},
    }


def add_capped_users(facts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds up whose early events are history only; the most capped are shown."""
    parts = [fact["capped_users"] for fact in facts if "capped_users" in fact]
    shown = [user for part in parts for user in part["first"]]
    shown.sort(key=lambda user: (-user["history_only"], user["user_id"]))
    return {
        "users": sum(part["users"] for part in parts),
        "events": sum(part["events"] for part in parts),
        "first": shown[:_SHOWN_ROWS],
    }


def find_largest_user(
    facts: Iterable[Mapping[str, Any]], statistics: Mapping[str, Any]
) -> dict[str, Any]:
    """The user with the most training targets, and what share of all they are."""
    largest = max(
        (fact["largest_user"] for fact in facts if "largest_user" in fact),
        key=lambda user: (user["targets"], user["user_id"]),
    )
    return {
        **largest,
        "share": round(largest["targets"] / statistics["splits"]["train"]["targets"], 4),
    }


def add_days(facts: Iterable[Mapping[str, Any]]) -> list[list[int]]:
    """Adds up the events of each day, in order; empty where the log has no times."""
    total: dict[int, int] = {}
    for day, events in (pair for fact in facts for pair in fact["days"]):
        total[day] = total.get(day, 0) + events
    return [list(pair) for pair in sorted(total.items())]


def _add_maps(maps: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for values in maps:
        for key, value in values.items():
            total[key] = total.get(key, 0) + value
    return total


def check_read(spec: str, events_read: int, sorted_facts: list[Mapping[str, Any]]) -> None:
    """Refuses a log that cannot be learnt from whatever the settings.

    Raises:
        InputError: There are no events, or only one user has any.
    """
    if events_read == 0:
        raise InputError(f"{spec} has no events. Give a log with at least two users.")
    if sum(fact["users"] for fact in sorted_facts) == 1:
        raise InputError(
            f"{spec} has events of one user only. Recall learns from what other users did: "
            "give a log of several users and check --user_column."
        )


def check_split(spec: str, config: IngestConfig, split: Mapping[str, Any]) -> None:
    """Refuses a split that cannot be trained on or evaluated.

    Args:
        spec: The log, for messages.
        config: The settings of ingest.
        split: From `add_split_facts`.

    Raises:
        InputError: Fewer than two users are left, or a split has no example.
    """
    if split["users"] < 2:
        raise InputError(
            f"{spec}: {split['users']} users are left with at least {config.min_user_events} "
            f"events on items with at least {config.min_item_events}. Lower "
            "ingest.min_user_events or ingest.min_item_events, or raise ingest.max_age_days."
        )
    for part in (Part.VALID, Part.TEST):
        if split["targets"][part.label] == 0:
            raise InputError(f"{spec}: {_why_no_target(config, split, part)}")
    if split["training_sequences"] == 0:
        raise InputError(
            f"{spec}: no user has two training events left under protocol {config.protocol}, "
            "so there is nothing to learn from. Give longer sequences or another ingest.protocol."
        )


def _why_no_target(config: IngestConfig, split: Mapping[str, Any], part: Part) -> str:
    if config.protocol == "temporal":
        return split_report.why_no_target(config, part, split["spans"])
    if config.protocol != "provided":
        num_targets = 1 if config.protocol == "leave_one_out" else config.num_targets
        remedy = "Lower ingest.num_targets" if num_targets > 1 else "Choose another protocol"
        return (
            f"all sequences are too short for protocol {config.protocol}: it needs "
            f"{events_needed(num_targets)} events of a user, the longest has "
            f"{max(split['lengths'])}. {remedy} or give a longer log."
        )
    if split["events"][part.label] == 0:
        return (
            f"no event has split {part.label!r}. Mark targets with it, or choose "
            "ingest.protocol=leave_one_out."
        )
    return (
        f"every event with split {part.label!r} is the first of its user, so there is no "
        "history to predict it from. Mark later events."
    )


def build_statistics(
    config: RecallConfig,
    vocabulary: ItemVocabulary,
    split: Mapping[str, Any],
    written: list[Mapping[str, Any]],
) -> dict[str, Any]:
    """`statistics.json`: sizes of the log and of every split and file.

    Args:
        config: All settings.
        vocabulary: The items.
        split: From `add_split_facts`.
        written: What `WriteShard` left, shard by shard.
    """
    lengths = np.fromiter(split["lengths"], np.int64)
    users = np.fromiter(split["lengths"].values(), np.int64)
    max_history_length = config.model.max_history_length
    return {
        "num_users": split["users"],
        "num_items": vocabulary.num_items,
        "num_events": int(lengths @ users),
        "events_per_user": {
            "mean": round(float(lengths @ users / users.sum()), 4),
            "median": _weighted_median(lengths, users),
            "min": int(lengths.min()),
            "max": int(lengths.max()),
        },
        "lengths": [list(pair) for pair in split["lengths"].items()],
        "training_only_users": split["training_only_users"],
        "context_events": split["events"][Part.CONTEXT.label],
        "unknowns": {
            "items_never_in_training": int((vocabulary.counts == 0).sum()),
            "items_without_category": sum(not names for names in vocabulary.categories),
        },
        "max_history_length": max_history_length,
        "bucket_boundaries": list(bucket_boundaries(max_history_length)),
        "splits": {
            part.label: _split_statistics(part, split, [shard[part.label] for shard in written])
            for part in (Part.TRAIN, Part.VALID, Part.TEST)
        },
    }


def _split_statistics(part: Part, split: Mapping[str, Any], written: list) -> dict[str, Any]:
    files = {name: count for shard in written for name, count in shard["files"].items()}
    return {
        "examples": sum(files.values()),
        "events": split["events"][part.label],
        "targets": sum(shard["targets"] for shard in written),
        "files": dict(sorted(files.items())),
    }


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Median of `values`, ascending, each present `weights` times.

    >>> float(_weighted_median(np.array([2, 5]), np.array([2, 2])))
    3.5
    """
    cumulative = np.cumsum(weights)
    middle = [(cumulative[-1] - 1) // 2, cumulative[-1] // 2]
    return float(values[np.searchsorted(cumulative, middle, side="right")].mean())


def build_ingest_report(
    source_name: str,
    read: Mapping[str, Any],
    sorted_facts: list[Mapping[str, Any]],
    split_facts: list[Mapping[str, Any]],
    rare_items: int,
    statistics: Mapping[str, Any],
    items: Mapping[str, Any],
) -> dict[str, Any]:
    """`ingest_report.json`: events read = events dropped + events kept."""
    split = add_split_facts(split_facts)
    return {
        "source": source_name,
        "events_read": read["events_read"],
        "left_out_by_where": read.get("left_out_by_where", 0),
        "times": read["times"],
        "dropped": {
            "bad_rows": read["bad_rows"],
            "duplicates": add_dropped(sorted_facts, "duplicates"),
            "old_events": add_dropped(sorted_facts, "old_events"),
            "rare_items": {"items": rare_items, **add_dropped(split_facts, "rare_items")},
            "short_users": {"users": 0, **add_dropped(split_facts, "short_users")},
            "cold_items": add_dropped(split_facts, "cold_items"),
        },
        "clicks_by_day": add_days(split_facts),
        "median_events_per_user": statistics["events_per_user"]["median"],
        "kept": {name: statistics[f"num_{name}"] for name in ("users", "items", "events")},
        "items_file": {name: items.get(name, 0) for name in ("items", "matched")},
        "unmatched_items": {
            name: items[name] for name in id_checks.UNMATCHED_FACTS if items.get("unmatched")
        },
        "item_features": items.get("features"),
        "marked_categories": items.get("marked_categories", {"items": 0, "example": None}),
        "similar_ids": {
            "users": id_checks.add_look_alikes(fact["look_alikes"] for fact in sorted_facts)
        },
        "capped_users": add_capped_users(split_facts),
        "largest_user": find_largest_user(split_facts, statistics),
        "training_only_users": split["training_only_users"],
        "training_events_after_targets": split["training_events_after_targets"],
        "targets_without_history": sum(
            split["events"][name] - split["targets"][name] for name in ("valid", "test")
        ),
        "splits": {
            name: {key: values[key] for key in ("examples", "events", "targets")}
            for name, values in statistics["splits"].items()
        },
    }


def name_log(value: Any, spec: str, name: str) -> Any:
    """Plain values in which a log has its name in the place of its path.

    >>> name_log({"first": [{"file": "a.csv", "row": 3}]}, "a.csv", "Shop")
    {'first': [{'file': 'Shop', 'row': 3}]}
    """
    if isinstance(value, dict):
        return {key: name_log(one, spec, name) for key, one in value.items()}
    if isinstance(value, list):
        return [name_log(one, spec, name) for one in value]
    return name if value == spec else value


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The report in a few lines for people."""
    kept, dropped = report["kept"], report["dropped"]
    lines = [
        f"Read {report['events_read']:,} events from {report['source']}; kept "
        f"{kept['events']:,} of {kept['users']:,} users on {kept['items']:,} items."
    ]
    if report["left_out_by_where"]:
        lines.append(f"Left out {report['left_out_by_where']:,} rows by --where.")
    for reason, bad in dropped["bad_rows"]["reasons"].items():
        lines.append(
            f"Skipped {bad['count']:,} bad rows ({reason}), the first is data row {bad['row']} "
            f"of {bad['file']}: {bad['value']!r}."
        )
    lines += time_lines(report["times"]) + warning_lines(report)
    for name in ("duplicates", "old_events", "rare_items", "short_users", "cold_items"):
        if dropped[name]["events"]:
            first = dropped[name]["first"][0]
            lines.append(
                f"Dropped {dropped[name]['events']:,} events as {name.replace('_', ' ')}, for "
                f"example user {first['user_id']!r}, item {first['item_id']!r}."
            )
    if report["training_events_after_targets"]:
        lines.append(
            f"{report['training_events_after_targets']:,} training events are later than a "
            "target of the same user: the metrics look into the future."
        )
    parts = (
        f"{name} {values['examples']:,} examples ({values['targets']:,} targets)"
        for name, values in report["splits"].items()
    )
    lines.append(f"Wrote {', '.join(parts)}.")
    return lines
