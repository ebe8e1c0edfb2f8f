"""Lines about what is odd in a log although it could be read.

Imports no TensorFlow, no Beam.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.artifacts.event_columns import COLUMNS
from pipelines.ingestion.events import kinds
from pipelines.progress.words import number_of
from recall.feature_columns import unknown_values
from recall.feature_columns.declaration import OWNERS_OF_LOG

PREFIX = "Warning: "
"""Begins the lines that ask for a look at the log."""

_FEW = 0.5
"""A smaller share of the log's items in the items file is a warning."""

_LARGE_SHARE = 0.05
_MANY_TIMES = 20
"""One user is named who makes more than this share of the training targets, and more than
this many times the events of a usual user: in a tiny log everyone has a large share."""


def log_lines(lines: Iterable[str], log: logging.Logger) -> None:
    """Logs the lines of a report; those that ask for a look as warnings."""
    for line in lines:
        log.log(logging.WARNING if line.startswith(PREFIX) else logging.INFO, "%s", line)


def warning_lines(report: Mapping[str, Any]) -> list[str]:
    """What people should know of a report besides what was dropped and kept.

    Args:
        report: From `report.build_ingest_report`.
    """
    return [
        *_lines_of_ids(report["similar_ids"]),
        *_lines_of_items(report),
        *_lines_of_categories(report["marked_categories"]),
        *_lines_of_features(report),
        *_lines_of_split(report),
        *_lines_of_users(report),
    ]


def _lines_of_ids(similar_ids: Mapping[str, Any]) -> list[str]:
    return [
        f"{PREFIX}{found['ids']:,} {kind[:-1]} ids would be {found['groups']:,} without spaces "
        f"around them, zeros before a number and '.0' after it, for example "
        f"{' and '.join(map(repr, found['example']))}. They count as different {kind}."
        for kind, found in similar_ids.items()
        if found["ids"]
    ]


def _lines_of_categories(marked: Mapping[str, Any]) -> list[str]:
    if not marked["items"]:
        return []
    return [
        f"{PREFIX}{number_of(marked['items'], 'item')} of the items file with a marker of a "
        f"missing value as category, for example {marked['example']!r}. It counts as a category: "
        "leave the cell empty where there is none."
    ]


def _lines_of_features(report: Mapping[str, Any]) -> list[str]:
    """What is known of declared features of items and users; earlier reports have none."""
    lines = []
    if of_items := report.get("item_features"):
        if of_items["unclicked_items"]:
            lines.append(
                f"{number_of(of_items['unclicked_items'], 'item')} of the items file that nobody "
                "clicked are in the catalogue by their features."
            )
        why = "they are rare, or only items without clicks have them"
        lines += _lines_of_values(of_items, "item", why)
    if of_users := report.get("user_features"):
        lines.append(
            f"{number_of(of_users['matched'], 'user')} of the log are among the "
            f"{of_users['users']:,} of the users file; of others nothing is known."
        )
        lines += _lines_of_values(of_users, "user", "they are rare")
    return lines


def lines_of_clicks(statistics: Mapping[str, Any]) -> list[str]:
    """What is known of kinds of events, and of features of clicks and requests.

    Args:
        statistics: Of the examples.
    """
    found, lines = statistics.get(COLUMNS, {}), kinds.lines(statistics)
    lines += [PREFIX + line for line in kinds.look_alikes(statistics)]
    for owner in OWNERS_OF_LOG:
        own = {
            name: facts
            for name, facts in found.get("features", {}).items()
            if facts["owner"] == owner and "num_values" in facts
        }
        features = {"columns": own, "max_unknown_share": found.get("max_unknown_share")}
        lines += _lines_of_values(features, owner, "they are rare")
    return lines


def _lines_of_values(features: Mapping[str, Any], owner: str, why: str) -> list[str]:
    """A warning for each feature of which too many values are unknown."""
    limit, lines = features["max_unknown_share"], []
    for name, found in features["columns"].items():
        share = found["num_unknown"] / max(found["num_values"], 1)
        if share > limit:
            told = unknown_values.describe_share(share, owner, name, limit)
            lines.append(f"{PREFIX}{told}: {why}. Nothing is learnt of them.")
    return lines


def _lines_of_items(report: Mapping[str, Any]) -> list[str]:
    match, rest = report["items_file"], report["unmatched_items"]
    if not rest:
        return []
    total = match["matched"] + rest["unmatched"]
    share = match["matched"] / total
    percent = 100 * match["matched"] // total  # Rounded down: 100 % are all of them.
    line = (
        f"{match['matched']:,} of the log's {total:,} items ({percent}%) are in the items file; "
        f"the others have no category and no title, for example {rest['only_in_log']!r}."
    )
    if share >= _FEW or rest["only_in_file"] is None:
        return [line]
    line = f"{PREFIX}{line[:-1]}, while the file has {rest['only_in_file']!r}."
    if rest["matched_plain"] > match["matched"]:
        line += (
            f" {rest['matched_plain']:,} would match without spaces around ids, zeros before "
            "numbers and '.0' after them."
        )
    return [line]


def _lines_of_split(report: Mapping[str, Any]) -> list[str]:
    if "ignored_split_column" not in report:
        return []
    return [
        f"The column {report['ignored_split_column']!r} of the log is not used; "
        "--set=ingest.protocol=provided takes the split from it."
    ]


def _lines_of_users(report: Mapping[str, Any]) -> list[str]:
    lines, capped, largest = [], report["capped_users"], report["largest_user"]
    events = report["kept"]["events"]
    if capped["users"]:
        first = capped["first"][0]
        lines.append(
            f"{PREFIX}{number_of(capped['users'], 'user')} with more events than training learns "
            f"from (ingest.max_user_events): {capped['events']:,} events are history only. User "
            f"{first['user_id']!r} has {first['events']:,} of the log's {events:,} events "
            f"({first['events'] / events:.1%}): the earliest {first['history_only']:,} are not "
            "learnt from, the latest are."
        )
    usual = max(report["median_events_per_user"], 1)
    if largest["share"] > _LARGE_SHARE and largest["targets"] > _MANY_TIMES * usual:
        lines.append(
            f"{PREFIX}user {largest['user_id']!r} makes {largest['share']:.1%} of the training "
            f"targets ({largest['targets']:,}). If it is a robot, take it out of the log, or lower "
            "ingest.max_user_events."
        )
    return lines
