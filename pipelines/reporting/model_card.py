"""The card of a published model: use, data, metrics with slices, limits, provenance.

The same values as JSON for programs and as Markdown for people. A function of what the jobs
left alone: the same run has the same card. Imports no TensorFlow.

Reference:
    Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation import slices
from pipelines.evaluation.intervals import Interval
from pipelines.evaluation.slices import SliceResult
from pipelines.reporting.page import pages, texts
from pipelines.reporting.sections import findings, quality
from pipelines.reporting.sections.run_folder import RunFolder

JSON_NAME, MARKDOWN_NAME = "model_card.json", "model_card.md"
NAMES = (JSON_NAME, MARKDOWN_NAME)

FORMAT = 1

_DIGITS = 6
"""Decimals of a number in the card."""

_USE = {
    "intended": "The first stage of a recommender: from a user's latest clicks, the few hundred "
    "items of the catalogue that the user may want next. A later stage ranks them.",
    "not_intended": "Decisions about people; items that are not in its catalogue; users of "
    "another shop than that of the log. It has learnt what was clicked, not what is good.",
}

_LIMITS = (
    "Clicks were collected under whatever was shown before: what was never shown was never "
    "clicked, and the metrics share that bias.",
    "Metrics are of past clicks (offline). They order models; they do not foretell sales.",
    "Item vectors are of the day of training: new items need an upsert or another run.",
)


def build(run: RunFolder) -> dict[str, Any]:
    """The card as plain values; a part that the run lacks is None or empty."""
    report, index = run.evaluation or {}, run.index or {}
    return {
        "format": FORMAT,
        "model": _describe_model(run),
        "use": dict(_USE),
        "data": _describe_data(run),
        "evaluation": {
            "protocol": report.get("protocol"),
            "users": report.get("num_users"),
            "metrics": _metrics(run),
            "slices": _slices(run),
            "index_recall@100": index.get("recall@100"),
            "conditions": report.get("blessing", {}).get("thresholds", []),
        },
        "limits": [*findings.find(run), *_LIMITS],
        "provenance": {
            "fingerprint": index.get("fingerprint"),
            "jobs": {
                job: {name: record.get(name) for name in ("settings", "inputs", "versions")}
                for job, record in run.records.items()
            },
        },
    }


def texts_of(run_dir: str | Path) -> dict[str, str]:
    """The files of a card by name.

    Raises:
        InputError: The folder is none of a run.
    """
    card = build(RunFolder.read(run_dir))
    markdown = pages.environment().get_template("model_card.md.j2").render(card=card, texts=texts)
    return {
        JSON_NAME: json.dumps(card, indent=2, ensure_ascii=False) + "\n",
        MARKDOWN_NAME: markdown,
    }


def _describe_model(run: RunFolder) -> dict[str, Any] | None:
    if run.config is None:
        return None
    model = run.config["model"]
    return {
        "extractor": model["extractor"],
        "num_interests": run.num_interests,
        "dim": model["dim"],
        "max_history_length": model["max_history_length"],
        "epochs": len(run.epochs),
    }


def _describe_data(run: RunFolder) -> dict[str, Any] | None:
    facts = run.statistics
    if facts is None or "num_users" not in facts:
        return None
    days = (run.ingest_report or {}).get("clicks_by_day") or []
    return {
        "source": run.ingest_report["source"] if run.ingest_report else None,
        "users": facts["num_users"],
        "items": facts["num_items"],
        "clicks": facts["num_events"],
        "first_day": texts.day(days[0][0]) if days else None,
        "last_day": texts.day(days[-1][0]) if days else None,
    }


def _metrics(run: RunFolder) -> dict[str, dict[str, Any]]:
    """Metrics by ranker and name: a value, and where it is known an interval."""
    report = run.evaluation
    if report is None or "test" not in report:
        return {}
    intervals = quality.find_intervals(run, None)
    columns = {"model": report["test"], **report["baselines"]}
    return {
        ranker: {
            name: _number(values[name], intervals.get(ranker, {}).get(name))
            for name in quality.metric_names(report)
            if name in values
        }
        for ranker, values in columns.items()
    }


def _slices(run: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """Hit rates of groups by what makes the groups."""
    if run.users is None:
        return {}
    groups = {
        "history_length": slices.by_history_length(run.users),
        "novelty": slices.by_novelty(run.users),
        "kind_of_event": slices.by_kind(run.users),
    }
    if run.vocabulary is not None:
        groups["popularity_of_the_item"] = slices.by_popularity(run.users, run.vocabulary)
        groups["category_of_the_item"] = slices.by_category(run.users, run.vocabulary)
    measured = {name: slices.measure(run.users, members, run.k) for name, members in groups.items()}
    return {name: _plain(results, run.k) for name, results in measured.items() if results}


def _plain(results: Sequence[SliceResult], k: int) -> list[dict[str, Any]]:
    return [
        {
            "group": result.name,
            "clicks": result.num_clicks,
            "users": result.num_users,
            f"hit_rate@{k}": {
                ranker: _number(interval.value, interval)
                for ranker, interval in result.hit_rates.metrics.items()
            },
        }
        for result in results
    ]


def _number(value: float, interval: Interval | None) -> Mapping[str, float]:
    rounded = {"value": round(value, _DIGITS)}
    if interval is not None:
        rounded |= {"low": round(interval.low, _DIGITS), "high": round(interval.high, _DIGITS)}
    return rounded
